package restore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tutela/backup/restore"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// startFrom starts a restore of a handle on a new phone, from an address.
func (h *house) startFrom(t *testing.T, handle, address string) *started {
	t.Helper()
	h.clock.Advance(time.Millisecond) // no two begin at the same time
	p := h.newPhone("new phone")
	req := p.request(t, handle)
	req.Address = address
	s, err := h.restores.Start(context.Background(), req, from)
	must(t, err)
	return &started{s, p}
}

func (s *started) isThere(t *testing.T) bool {
	t.Helper()
	_, err := s.phone.h.restores.State(context.Background(), s.ID, s.Token, "", from)
	if err != nil && !errors.Is(err, restore.ErrNone) {
		t.Fatal(err)
	}
	return err == nil
}

// A flood of starts from one network evicts itself, the oldest first: what somebody else began stays, and comes through.
func TestStart_AFloodEvictsItselfAndNotTheOwner(t *testing.T) {
	check.WithoutRace(t)
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		owner := h.startFrom(t, old.handle, "203.0.113.5")
		first := h.startFrom(t, old.handle, "198.51.100.1")
		var last *started
		for i := range 100 {
			last = h.startFrom(t, old.handle, fmt.Sprintf("198.51.100.%d", i))
		}
		if n := len(h.Rows("restore")); n != 24 {
			t.Errorf("%d restores are kept, want 24", n)
		}
		if first.isThere(t) || !last.isThere(t) {
			t.Error("the newest of the flood is to stay, the oldest to go")
		}
		owner.restored(t, old.code)
	})
}

// A flood from many networks evicts neither what the old phone has allowed nor the latest of a network that is hers.
func TestStart_AFloodFromEverywhereEvictsNotWhatIsHers(t *testing.T) {
	h := openHouse(t, ground.Options{})
	old := h.enroll(t, "ada").backUp(t, "body")
	old.answer(t, h.ask(t, "203.0.113.77"), true)
	hers := h.startFrom(t, old.handle, "203.0.113.5")
	allowed := h.startFrom(t, old.handle, "192.0.2.200")
	must(t, h.restores.Allow(context.Background(), old.Proof(), allowed.ID, from))
	for i := range 100 {
		h.startFrom(t, old.handle, fmt.Sprintf("198.%d.100.7", i))
	}
	if !hers.isThere(t) || !allowed.isThere(t) {
		t.Errorf("hers is there: %t; what she allowed: %t", hers.isThere(t), allowed.isThere(t))
	}
	if n := len(h.Rows("restore")); n != 24 {
		t.Errorf("%d restores are kept, want 24", n)
	}
}

// What is kept for admins to see has a bound too, and one that was done goes last: it repeats its answer.
func TestStart_KeepsABoundedNumberOfRestoresThatAreOver(t *testing.T) {
	check.WithoutRace(t)
	h := openHouse(t, ground.Options{})
	old := h.enroll(t, "ada").backUp(t, "body")
	done := h.start(t, old.handle)
	done.restored(t, old.code)
	handle := done.phone.handle
	for range 40 { // five an hour are kept for a day
		for range 5 {
			h.start(t, handle)
		}
		h.clock.Advance(time.Hour)
	}
	if n := len(h.Rows("restore")); n > 24+48+1 {
		t.Errorf("%d restores are kept", n)
	}
	if !done.isThere(t) {
		t.Error("the one that was done is gone")
	}
}

// So have the keys that starts named.
func TestStart_RemembersABoundedNumberOfKeys(t *testing.T) {
	check.WithoutRace(t)
	h := openHouse(t, ground.Options{})
	old := h.enroll(t, "ada").backUp(t, "body")
	for range 150 {
		h.start(t, old.handle)
	}
	if n := len(h.Rows("restore_key")); n != 64 {
		t.Errorf("%d keys are remembered, want 64", n)
	}
}

// What is counted of starts has a bound for each user, also when many of her handles are used: each backup has four that find
// it, and of each the starts and the keys are counted apart.
func TestStart_OfManyHandlesIsCountedWithinABound(t *testing.T) {
	check.WithoutRace(t)
	h := openHouse(t, ground.Options{})
	newest := ""
	for range 5 {
		p := h.enroll(t, "ada").backUp(t, "body")
		for range 4 {
			for range 6 {
				h.start(t, p.handle)
			}
			newest = p.handle
			var err error
			p.handle, err = h.backups.NewHandle(context.Background(), p.Proof(), false, from)
			must(t, err)
		}
	}
	for table, most := range map[string]int{"restore_start": 16, "restore_key": 16 * 6} {
		if n := len(h.Rows(table)); n != most {
			t.Errorf("%d rows of %s, want %d", n, table, most)
		}
	}
	// The newest of them is counted still: its next start needs a proof.
	p := h.newPhone("new phone")
	req := p.request(t, newest)
	req.Proof = ""
	if _, err := h.restores.Start(context.Background(), req, from); !errors.Is(err, restore.ErrProof) {
		t.Errorf("got %v", err)
	}
}
