package restore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/storage/audit"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

func TestStart_DecidesByEveryLineOfTheTable(t *testing.T) {
	check.WithoutRace(t)
	cases := []struct {
		name    string
		prepare func(t *testing.T, h *house, old *phone, req *restore.StartRequest)
		step    restore.Step
		reason  restore.Reason
	}{
		{"no handle", func(_ *testing.T, _ *house, _ *phone, r *restore.StartRequest) { r.Handle = "" }, restore.StepFirstTimeSetup, restore.NoBackupRestored},
		{"disabled", func(_ *testing.T, _ *house, _ *phone, r *restore.StartRequest) { r.Disabled = true }, restore.StepFirstTimeSetup, restore.Disabled},
		{"made up", func(_ *testing.T, _ *house, _ *phone, r *restore.StartRequest) { r.Handle = "rh_made-up" }, restore.StepFirstTimeSetup, restore.NoBackup},
		{"deleted", func(t *testing.T, h *house, old *phone, _ *restore.StartRequest) {
			must(t, h.backups.Delete(context.Background(), old.Proof(), from))
		}, restore.StepFirstTimeSetup, restore.NoBackup},
		{"reset", func(t *testing.T, h *house, _ *phone, _ *restore.StartRequest) { h.Reset("ada") }, restore.StepFirstTimeSetup, restore.NoBackup},
		{"another handle since", func(t *testing.T, h *house, old *phone, _ *restore.StartRequest) {
			_, err := h.backups.NewHandle(context.Background(), old.Proof(), false, from)
			must(t, err)
		}, restore.StepRecoveryCode, restore.BackupFound},
		{"revoked", func(t *testing.T, h *house, old *phone, _ *restore.StartRequest) {
			_, err := h.backups.NewHandle(context.Background(), old.Proof(), true, from)
			must(t, err)
		}, restore.StepFirstTimeSetup, restore.NoBackup},
		{"undeleted", func(t *testing.T, h *house, old *phone, _ *restore.StartRequest) {
			must(t, h.backups.Delete(context.Background(), old.Proof(), from))
			must(t, h.backups.Undelete(context.Background(), old.Proof(), from))
		}, restore.StepRecoveryCode, restore.BackupFound},
		{"blocked", func(t *testing.T, h *house, _ *phone, _ *restore.StartRequest) { h.block(t, "ada", true) }, restore.StepAskAdmin, restore.UserBlocked},
		{"vetoed", func(t *testing.T, h *house, old *phone, _ *restore.StartRequest) {
			s := h.start(t, old.handle)
			must(t, h.restores.Veto(context.Background(), old.Proof(), s.ID, from))
		}, restore.StepAskAdmin, restore.Vetoed},
		{"no code that counts", func(t *testing.T, h *house, _ *phone, _ *restore.StartRequest) {
			_, err := h.Admins.Regenerate(context.Background(), "ada", devicetest.Admin)
			must(t, err)
			h.clock.Advance(24 * time.Hour)
		}, restore.StepAskAdmin, restore.NoRecoveryCode},
		{"guessed", func(t *testing.T, h *house, old *phone, _ *restore.StartRequest) { h.guess(t, old, 100) }, restore.StepRecoveryCode, restore.BackupFound},
		{"the old phone is asked", func(t *testing.T, h *house, _ *phone, _ *restore.StartRequest) { h.Set("restore.veto", "on") }, restore.StepRecoveryCode, restore.OldDeviceAsked},
		{"else", func(*testing.T, *house, *phone, *restore.StartRequest) {}, restore.StepRecoveryCode, restore.BackupFound},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			onEveryEngine(t, func(t *testing.T, h *house) {
				old := h.enroll(t, "ada").backUp(t, "body")
				p := h.newPhone("new phone")
				req := p.request(t, old.handle)
				c.prepare(t, h, old, &req)
				s, err := h.restores.Start(context.Background(), req, from)
				must(t, err)
				if s.Step != c.step || s.Reason != c.reason {
					t.Errorf("the step is %s (%s), want %s (%s)", s.Step, s.Reason, c.step, c.reason)
				}
				if s.ID == "" || s.Token == "" || !s.Expires.Equal(h.store.Now().Add(15*time.Minute)) {
					t.Errorf("the answer is %+v", s)
				}
				(&started{s, p}).expect(t, c.step, c.reason)
			})
		})
	}
}

// guess tries n wrong codes for a phone's backup, an hour between them.
func (h *house) guess(t *testing.T, old *phone, n int) {
	t.Helper()
	for range n {
		h.clock.Advance(time.Hour)
		h.start(t, old.handle).wrongCodes(t, 1)
	}
}

func TestStart_DecidesAnewAtEveryCall(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		h.block(t, "ada", true)
		s.expect(t, restore.StepAskAdmin, restore.UserBlocked)
		if _, err := s.redeem(old.code); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("a blocked user's code: %v", err)
		}
		h.block(t, "ada", false)
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		_, err := h.backups.NewHandle(context.Background(), old.Proof(), true, from)
		must(t, err)
		s.expect(t, restore.StepFirstTimeSetup, restore.NoBackup)
		must(t, h.backups.Delete(context.Background(), old.Proof(), from))
		s.expect(t, restore.StepFirstTimeSetup, restore.NoBackup)
		if _, err := s.redeem(old.code); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("a code for a backup that is gone: %v", err)
		}
		h.Reset("ada")
		if _, err := h.restores.State(context.Background(), s.ID, s.Token, "", from); !errors.Is(err, restore.ErrNone) {
			t.Errorf("after a reset the restore is %v", err)
		}
	})
}

// The phones are told of every start, but of a key that they were told of within the hour. What counts is when they were told,
// so that one who starts every 59 minutes does not go unseen.
func TestStart_TellsThePhonesOfEveryKeyOnceAnHour(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		p := h.newPhone("new phone")
		first := p.start(t, old.handle)
		p.start(t, old.handle)
		if n := h.notices(t, "restore_started"); n != 1 || h.notices(t, "restore_started", first.ID) != 1 {
			t.Errorf("%d notices of two starts by one key", n)
		}
		other := h.start(t, old.handle)
		if n := h.notices(t, "restore_started"); n != 2 || h.notices(t, "restore_started", other.ID) != 1 {
			t.Errorf("%d notices when another key has started", n)
		}
		for range 3 {
			h.clock.Advance(59 * time.Minute)
			p.start(t, old.handle)
		}
		if n := h.notices(t, "restore_started"); n != 3 {
			t.Errorf("%d notices when a key has started every 59 minutes for three hours, want one more than 2", n)
		}
		if events := h.events(t, audit.RestoreStarted); len(events) == 0 || events[0].Facts["reason"] != "backup_found" {
			t.Errorf("events are %+v", events)
		}
	})
}

// Six starts an hour are told one by one, and then once that there are more.
func TestStart_TellsOfSixAnHourAndThenOnce(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		flood := func() (one, more int) {
			for range 12 {
				h.start(t, old.handle)
			}
			all := h.notices(t, "restore_started")
			return h.notices(t, "restore_started", "restore"), all - h.notices(t, "restore_started", "restore")
		}
		if one, more := flood(); one != 6 || more != 1 {
			t.Errorf("12 starts made %d notices and %d summaries", one, more)
		}
		if one, more := flood(); one != 6 || more != 1 {
			t.Errorf("24 starts made %d notices and %d summaries", one, more)
		}
		h.clock.Advance(time.Hour)
		if one, more := flood(); one != 12 || more != 2 {
			t.Errorf("12 starts an hour later made it %d notices and %d summaries", one, more)
		}
	})
}

// All of the user's phones are told, the old one and each other one.
func TestStart_TellsEveryPhoneOfTheUser(t *testing.T) {
	h := openHouse(t, ground.Options{})
	old := h.enroll(t, "ada").backUp(t, "body")
	other := h.enroll(t, "ada")
	h.deliver(t)
	s := h.start(t, old.handle)
	told := map[string]int{}
	for _, m := range h.deliver(t) {
		if m.Notice == "restore_started" && m.Restore == s.ID {
			told[m.Enrollment]++
		}
	}
	if want := (map[string]int{old.Enrolled.ID: 1, other.Enrolled.ID: 1}); !cmp.Equal(want, told) {
		t.Errorf("told are %v, want %v", told, want)
	}
}

func TestStart_FromTheSixthAnHourNeedsAProofByANewKey(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		for name, handle := range map[string]string{"known": old.handle, "made up": "rh_made-up"} {
			t.Run(name, func(t *testing.T) { testSixth(t, h, handle) })
		}
	})
}

func testSixth(t *testing.T, h *house, handle string) {
	ctx := context.Background()
	first := h.newPhone("new phone")
	for i := range 5 { // the same key, and no proof: these are free
		req := first.request(t, handle)
		req.Proof = ""
		req.Disabled = i%2 == 0 // those count alike
		if s, err := h.restores.Start(ctx, req, from); err != nil || s.Flooded {
			t.Fatalf("start %d: %+v, %v", i+1, s, err)
		}
	}
	p := h.newPhone("new phone")
	other := h.newPhone("new phone")
	signed := func(by *phone, claims map[string]any) restore.StartRequest {
		req := p.request(t, handle)
		req.Proof = by.Sign(claims)
		return req
	}
	none := p.request(t, handle)
	none.Proof = ""
	refused := map[string]restore.StartRequest{
		"no proof":                none,
		"by another key":          signed(other, map[string]any{"handle": hexDigest(handle), "iat": 1}),
		"of another handle":       signed(p, map[string]any{"handle": hexDigest("other"), "iat": 1}),
		"without iat":             signed(p, map[string]any{"handle": hexDigest(handle)}),
		"of a restore":            signed(p, map[string]any{"restore": hexDigest(handle), "iat": 1}),
		"by a key of an earlier":  first.request(t, handle),
		"no JWS":                  {Handle: handle, Installation: none.Installation, Proof: "x"},
		"with a handle of no use": signed(p, map[string]any{"handle": 7, "iat": 1}),
	}
	before := h.Dump()
	for name, req := range refused {
		if _, err := h.restores.Start(ctx, req, from); !errors.Is(err, restore.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff(before, h.Dump()); diff != "" {
		t.Errorf("refused starts wrote something: %s", diff)
	}
	if s := p.start(t, handle); !s.Flooded {
		t.Error("the sixth start is not said to count against the address")
	}
	if _, err := h.restores.Start(ctx, p.request(t, handle), from); !errors.Is(err, restore.ErrProof) {
		t.Errorf("the key once more: %v", err)
	}
	for range 20 {
		h.start(t, handle) // none is refused for the handle alone
	}
	h.clock.Advance(time.Hour)
	if _, err := h.restores.Start(ctx, none, from); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

// A start's proof is looked at only when it will be asked for, which others may change meanwhile: of many at once each with a
// proof is taken, and of those without one the free ones.
func TestStart_OfManyAtOnceAsksForEachProofThatItNeeds(t *testing.T) {
	for _, c := range []struct {
		name   string
		proven bool
		taken  int
	}{{"with proofs", true, 40}, {"without proofs", false, 5}} {
		t.Run(c.name, func(t *testing.T) {
			h := openHouse(t, ground.Options{})
			old := h.enroll(t, "ada").backUp(t, "body")
			requests := make([]restore.StartRequest, 40)
			for i := range requests {
				requests[i] = h.newPhone("new phone").request(t, old.handle)
				if !c.proven {
					requests[i].Proof = ""
				}
			}
			var group sync.WaitGroup
			var taken atomic.Int64
			for _, req := range requests {
				group.Go(func() {
					_, err := h.restores.Start(context.Background(), req, from)
					if err == nil {
						taken.Add(1)
					} else if !errors.Is(err, restore.ErrProof) {
						t.Error(err)
					}
				})
			}
			group.Wait()
			if n := int(taken.Load()); n != c.taken {
				t.Errorf("%d are taken, want %d", n, c.taken)
			}
		})
	}
}

func TestStart_RefusesAnInstallationThatCannotBe(t *testing.T) {
	h := openHouse(t, ground.Options{})
	req := h.newPhone("new phone").request(t, "rh_x")
	req.Installation.Name = ""
	if _, err := h.restores.Start(context.Background(), req, from); !errors.Is(err, device.ErrInstallation) {
		t.Errorf("got %v", err)
	}
}

// TestStart_CostsTheSameWhetherTheHandleIsKnown counts what a start does in the store. With automatic_restore false the
// answer is the same too, so the work must not tell what the answer does not.
func TestStart_CostsTheSameWhetherTheHandleIsKnown(t *testing.T) {
	h := openHouse(t, ground.Options{})
	ctx := context.Background()
	known := h.enroll(t, "ada").backUp(t, "body")
	deleted := h.enroll(t, "bob").backUp(t, "body")
	must(t, h.backups.Delete(ctx, deleted.Proof(), from))
	wiped := h.enroll(t, "eve").backUp(t, "body")
	h.Reset("eve")
	_, err := h.ring.Rotate(ctx) // a look-up tries every version
	must(t, err)
	h.start(t, "rh_first") // the first of all makes the key of the house's folds
	madeUp := backup.NewHandle()
	for _, disabled := range []bool{false, true} {
		if disabled { // an installation that could be asked is not: it would show
			h.Set("restore.veto", "alive")
			known.Proof()
		}
		var want storagetest.Work
		for i, handle := range []string{known.handle, deleted.handle, wiped.handle, madeUp} {
			for n := range 6 {
				req := h.newPhone("new phone").request(t, handle)
				req.Disabled = disabled
				s, err := h.restores.Start(ctx, req, from)
				must(t, err)
				if h.engine.Last().Gets == 0 || s.Token == "" {
					t.Fatal("nothing was counted")
				}
				if n > 0 {
					continue // the first is told to the phone; the rest are alike
				}
				got := h.engine.Last()
				if i == 0 {
					want = got
				}
				// Ids of enrollments in the notice, and of the words of the decision, differ by a few bytes.
				if d := got.Bytes - want.Bytes; d < -80 || d > 80 {
					t.Errorf("handle %d, disabled %v: wrote %d bytes, the known one %d", i, disabled, got.Bytes, want.Bytes)
				}
				got.Bytes = want.Bytes
				if got != want {
					t.Errorf("handle %d, disabled %v: %+v, the known one %+v", i, disabled, got, want)
				}
			}
		}
		h.clock.Advance(2 * time.Hour)
	}
}

func TestStart_OfAHandleThatIsNobodysIsARowOfTheSameSizeWithoutThePhonesData(t *testing.T) {
	h := openHouse(t, ground.Options{})
	old := h.enroll(t, "ada").backUp(t, "body")
	p := h.newPhone("new phone")
	sizes := map[int]bool{}
	for _, handle := range []string{old.handle, "rh_" + old.handle[4:] + "x"} {
		req := p.request(t, handle)
		req.Installation.Name = `Ada's "<phone>" ☎`
		req.Installation.Identifier = "planted-identifier-of-a-phone"
		_, err := h.restores.Start(context.Background(), req, from)
		must(t, err)
		if handle == old.handle {
			continue
		}
		for _, row := range h.Rows("restore") {
			sizes[len(row)] = true
		}
	}
	if len(sizes) != 1 {
		t.Errorf("the rows' sizes are %v", sizes)
	}
	h.Reset("ada") // takes the known one away
	if rows := h.Rows("restore"); len(rows) != 1 {
		t.Fatalf("%d rows are left", len(rows))
	}
	for _, planted := range []string{"planted-identifier-of-a-phone", "Ada's", p.In.Key.X} {
		if h.Holds(planted) {
			t.Errorf("the store holds %q", planted)
		}
	}
}

// What strangers start is in no log, and what holds it is gone with it. What starts under a handle that is somebody's is.
func TestStart_OfStrangersWritesNoEvents(t *testing.T) {
	h := openHouse(t, ground.Options{})
	old := h.enroll(t, "ada").backUp(t, "body")
	all := func() int { return len(h.events(t)) }
	before := all()
	p := h.newPhone("new phone")
	starts := 2000
	if testing.Short() {
		starts = 50
	}
	for i := range starts {
		_, err := h.restores.Start(context.Background(), p.request(t, fmt.Sprintf("rh_made-up-%d", i)), from)
		must(t, err)
	}
	if n := all() - before; n != 0 {
		t.Errorf("%d starts by strangers made %d events", starts, n)
	}
	for range 5 {
		h.start(t, old.handle)
	}
	if events := h.events(t, audit.RestoreStarted); len(events) != 1 || events[0].Folded.Count != 0 {
		t.Errorf("of a handle that is known: %+v", events)
	}
	h.clock.Advance(time.Hour)
	for n := 1; n > 0; {
		var err error
		n, _, err = audit.CloseFolds(context.Background(), h.store)
		must(t, err)
	}
	if events := h.events(t, audit.RestoreStarted); len(events) != 2 || events[0].Folded.Count+events[1].Folded.Count != 4 {
		t.Errorf("after an hour: %+v", events)
	}
	if n := all() - before; n != 2 {
		t.Errorf("%d events in all", n)
	}
	if rows := h.Rows("fold"); len(rows) != 0 {
		t.Errorf("%d folds stay", len(rows))
	}
	h.Scan(func(key, _ string) {
		if strings.Contains(key, "event_passing") {
			t.Errorf("stays: %q", key)
		}
	})
	// What points from a user to an event points to one that is there.
	if rows := len(h.Rows("event")); rows > all() {
		t.Errorf("%d pointers to %d events", rows, all())
	}
}

// TestStart_LeavesNothingOfAFlood looks at what stays of starts that a thief of a handle, or anybody, can make at will.
func TestStart_LeavesNothingOfAFlood(t *testing.T) {
	h := openHouse(t, ground.Options{})
	ctx := context.Background()
	old := h.enroll(t, "ada").backUp(t, "body")
	for range 20 {
		h.start(t, old.handle)
		h.start(t, "rh_made-up")
		h.start(t, "")
	}
	h.clock.Advance(15 * time.Minute)
	for n := 1; n > 0; {
		var err error
		n, err = h.store.Sweep(ctx)
		must(t, err)
	}
	if n := len(h.Rows("restore")); n != 5 {
		t.Errorf("%d restores stay for an admin to see, want the first 5", n)
	}
	h.clock.Advance(24 * time.Hour)
	for n := 1; n > 0; {
		var err error
		n, err = h.store.Sweep(ctx)
		must(t, err)
	}
	for _, table := range []string{"restore", "restore_start", "restore_key"} {
		if n := len(h.Rows(table)); n != 0 {
			t.Errorf("%d rows of %s stay", n, table)
		}
	}
}

func TestStart_KeepsNeitherHandleNorTokenInPlainForm(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		u := h.start(t, "rh_made-up-and-looked-for")
		o := s.restored(t, old.code)
		for name, secret := range map[string]string{
			"the old handle": old.handle, "the new handle": o.RestoreHandle, "a made-up handle": "rh_made-up-and-looked-for",
			"the restore token": s.Token, "a stranger's token": u.Token, "the device token": o.Token,
			"the spent code": old.code, "the next code": o.RecoveryCode, "a push token": "push-token-new phone",
		} {
			if h.Holds(secret) {
				t.Errorf("the store holds %s", name)
			}
		}
	})
}

func TestRestore_OfAStrangerCanBeAskedAboutLikeAnyOther(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		for _, handle := range []string{"", "rh_made-up"} {
			s := h.start(t, handle)
			if _, err := s.redeem(wrongCode); !errors.Is(err, restore.ErrNotReady) {
				t.Errorf("a code: %v", err)
			}
			if _, err := h.restores.State(ctx, s.ID, "rt_wrong", "", from); !errors.Is(err, restore.ErrToken) {
				t.Errorf("another token: %v", err)
			}
			state, err := h.restores.FirstTimeSetup(ctx, s.ID, s.Token, from)
			must(t, err)
			if state.Step != restore.StepFirstTimeSetup || state.Reason != restore.Chosen {
				t.Errorf("first-time setup answers %+v", state)
			}
			h.clock.Advance(15 * time.Minute)
			if _, err := h.restores.State(ctx, s.ID, s.Token, "", from); !errors.Is(err, restore.ErrNone) {
				t.Errorf("after 15 minutes: %v", err)
			}
		}
		if _, err := h.restores.State(ctx, "rst_made-up", "rt_x", "", from); !errors.Is(err, restore.ErrNone) {
			t.Errorf("a made-up id: %v", err)
		}
	})
}
