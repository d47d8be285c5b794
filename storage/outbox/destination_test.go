package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
)

// hang is what a service does that takes a call and never answers.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// services are handlers of "work" entries whose payload is where they go: those that were told to hang do, and the
// others note when they were reached. They count how many are in hand.
type services struct {
	attempts
	hangs func(payload string) bool

	mu    sync.Mutex
	now   map[string]int
	most  map[string]int
	total int
	peak  int
}

func (s *services) enter(where string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		s.now = map[string]int{}
		s.most = map[string]int{}
	}
	s.now[where] += by
	s.total += by
	s.most[where] = max(s.most[where], s.now[where])
	s.peak = max(s.peak, s.total)
}

// mostOf returns how many that go to one place were in hand at once, at most.
func (s *services) mostOf(where string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most[where]
}

// atOnce returns how many were in hand at once, at most.
func (s *services) atOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

func (s *services) do(ctx context.Context, e entry) (outbox.Then, error) {
	s.enter(e.Payload, 1)
	defer s.enter(e.Payload, -1)
	if s.hangs(e.Payload) {
		return nil, hang(ctx)
	}
	s.note(e)
	return nil, nil
}

// addHanging adds n entries that go to a service, whose name they hold.
func (h *house) addHanging(n int, where string) {
	h.t.Helper()
	must(h.t, h.store.UpdateEach(context.Background(), n, func(tx *storage.Tx, i int) error {
		return work.AddTo(tx, storage.UID{byte(i), 1}, where, where, tx.Now().Add(time.Hour))
	}))
}

// expectAtOnce fails the test unless the healthy entry, which was added at that time, was done in no time at all.
func (s *services) expectAtOnce(t *testing.T, added time.Time) {
	t.Helper()
	synctest.Wait()
	all, at := s.list()
	i := slices.Index(all, "healthy")
	if i < 0 {
		t.Fatal("the healthy entry was not done")
	}
	if late := at[i].Sub(added); late != 0 {
		t.Errorf("the healthy entry was done %s late", late)
	}
}

func TestSender_200HangingEntriesOfADestinationHoldUpNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		s := &services{hangs: func(where string) bool { return where == "dead" }}
		h.addHanging(200, "dead")
		h.send(s.do)
		synctest.Wait()
		added := time.Now()
		h.addTo("healthy", storage.NewUID(), "healthy")
		s.expectAtOnce(t, added)
		if most := s.mostOf("dead"); most != 32 {
			t.Errorf("%d attempts of the dead destination at once, want its share", most)
		}
	})
}

// The entries of one kind may go to many places, and one place may be the way of many kinds.
func TestSender_200HangingEntriesOfAKindHoldUpNoOtherKind(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.addMany("", 200)
		var did classes
		h.sendAll(bill.Handler(did.bill.succeed), work.Handler(func(ctx context.Context, _ entry) (outbox.Then, error) {
			return nil, hang(ctx)
		}))
		synctest.Wait()
		added := time.Now()
		h.update(func(tx *storage.Tx) error { return bill.Add(tx, storage.NewUID(), "x", tx.Now().Add(time.Hour)) })
		expect(t, &did.bill, "x")
		if _, at := did.bill.list(); !at[0].Equal(added) {
			t.Errorf("done %s late", at[0].Sub(added))
		}
	})
}

// One that is great may have more at once than a small one. Its attempts are not counted with those of the small ones: neither
// keeps the other to one at a time.
func TestSender_AGreatServiceHasAShareOfItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		s := &services{hangs: func(string) bool { return true }}
		h.addHanging(200, "great")
		for i := range 4 {
			h.addHanging(40, fmt.Sprintf("small%d", i))
		}
		h.sender, h.stop = h.start(h.store, outbox.Options{
			Handlers: []outbox.Handler{work.Handler(s.do)},
			Great:    func(where string) bool { return where == "great" },
		})
		synctest.Wait()
		for where, want := range map[string]int{"great": 128, "small0": 32, "small1": 32, "small2": 32, "small3": 32} {
			if most := s.mostOf(where); most != want {
				t.Errorf("%d attempts of %s at once, want %d", most, where, want)
			}
		}
	})
}

func TestSender_AHundredHangingDestinationsHoldUpNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		s := &services{hangs: func(where string) bool { return where != "healthy" }}
		for i := range 100 {
			h.addHanging(10, fmt.Sprintf("dead%d", i))
		}
		h.send(s.do)
		synctest.Wait()
		added := time.Now()
		h.addTo("healthy", storage.NewUID(), "healthy")
		s.expectAtOnce(t, added)
		if peak := s.atOnce(); peak > 512 {
			t.Errorf("%d attempts at once", peak)
		}
	})
}

// With more destinations that hang than there are attempts, a healthy one waits for an attempt to end, and no longer:
// each destination has its turn.
func TestSender_NoDestinationStarves(t *testing.T) {
	check.WithoutRace(t)
	inBubble(t, func(t *testing.T, h *house) {
		s := &services{hangs: func(where string) bool { return !strings.HasPrefix(where, "healthy") }}
		for i := range 600 {
			h.addHanging(2, fmt.Sprintf("dead%d", i))
		}
		h.addTo("a-healthy", storage.NewUID(), "healthy first")
		h.addTo("z-healthy", storage.NewUID(), "healthy last")
		h.send(s.do)
		pass(2 * outbox.AttemptTime)
		synctest.Wait()
		all, _ := s.list()
		slices.Sort(all)
		if got := strings.Join(all, ", "); got != "healthy first, healthy last" {
			t.Errorf("done: %s", got)
		}
		if peak := s.atOnce(); peak > 512 {
			t.Errorf("%d attempts at once", peak)
		}
	})
}

// Each entry of a slow destination is done, whatever comes in behind it.
func TestSender_NoEntryStarvesBehindNewerOnes(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			a.note(e)
			pass(time.Second) // 32 a second, and as many come in
			return nil, nil
		})
		h.addMany("slow", 100)
		h.addTo("slow", storage.NewUID(), "the one")
		for range 10 {
			h.addMany("slow", 32)
			pass(time.Second)
		}
		synctest.Wait()
		if all, _ := a.list(); !slices.Contains(all, "the one") {
			t.Errorf("not among the %d that were done", len(all))
		}
	})
}

// Entries that always fail come back again and again, and hold up no other of their destination.
func TestSender_EntriesThatAlwaysFailHoldUpNoOtherOfTheirDestination(t *testing.T) {
	check.WithoutRace(t)
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			if e.Payload != "good" {
				return nil, errors.New("this entry is refused")
			}
			a.note(e)
			return nil, nil
		})
		refused := 200
		if testing.Short() {
			refused = 50 // still more than the share of a destination
		}
		h.addMany("picky", refused)
		pass(time.Minute)
		added := time.Now()
		h.addTo("picky", storage.NewUID(), "good")
		expect(t, &a, "good")
		if _, at := a.list(); !at[0].Equal(added) {
			t.Errorf("done %s late", at[0].Sub(added))
		}
		for _, d := range h.status().Destinations {
			if d.State != outbox.Closed {
				t.Errorf("errors of entries have opened the breaker: %+v", d)
			}
		}
	})
}

func TestSender_ReadsABoundedPartOfABacklog(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		s := &services{hangs: func(where string) bool { return where == "dead" }}
		h.addHanging(5000, "dead")
		h.send(s.do)
		synctest.Wait()
		h.engine.peeked.Store(0)
		added := time.Now()
		h.addTo("healthy", storage.NewUID(), "healthy")
		s.expectAtOnce(t, added)
		// One look for the wake and one for the attempt that ended; with shards each is read ahead by a key.
		if n := h.engine.peeked.Load(); n > 500 {
			t.Errorf("%d keys were read for one entry behind 5000", n)
		}
		if peak := s.atOnce(); peak != 33 {
			t.Errorf("%d attempts at once", peak)
		}
	})
}
