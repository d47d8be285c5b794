package restore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

const day = 24 * time.Hour

// onAsking runs a test in houses that ask the old installation, as restore.veto says.
func onAsking(t *testing.T, policy string, test func(t *testing.T, h *house)) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		h.Set("restore.veto", policy)
		test(t, h)
	})
}

// expectWait fails the test unless the restore's code waits until a time after its start.
func (s *started) expectWait(t *testing.T, begun time.Time, want time.Duration) {
	t.Helper()
	state := s.state(t)
	if state.Step != restore.StepRecoveryCode || state.Reason != restore.OldDeviceAsked || !state.WaitUntil.Equal(begun.Add(want)) {
		t.Errorf("it is %+v, want a wait until %v", state, begun.Add(want))
	}
}

// By default an installation is asked of which something signed came within thirty days.
func TestWait_IsForAnOldInstallationThatIsAlive(t *testing.T) {
	cases := map[string]struct {
		policy string
		happen func(t *testing.T, h *house, old *phone)
		asked  bool
	}{
		"used lately":                   {"alive", func(*testing.T, *house, *phone) {}, true},
		"silent for 29 days":            {"alive", func(_ *testing.T, h *house, _ *phone) { h.clock.Advance(29 * day) }, true},
		"silent for 30 days":            {"alive", func(_ *testing.T, h *house, _ *phone) { h.clock.Advance(31 * day) }, false},
		"silent for 31 days, by policy": {"on", func(_ *testing.T, h *house, _ *phone) { h.clock.Advance(31 * day) }, true},
		"used lately, by policy":        {"off", func(*testing.T, *house, *phone) {}, false},
		"it has answered": {"alive", func(t *testing.T, h *house, old *phone) {
			h.clock.Advance(31 * day)
			old.answer(t, h.ask(t, "192.0.2.7"), false)
		}, true},
		"retired": {"alive", func(t *testing.T, h *house, old *phone) {
			h.enroll(t, "ada")
			must(t, h.devices.Leave(context.Background(), old.Proof(), from))
		}, false},
		"retired, by policy": {"on", func(t *testing.T, h *house, old *phone) {
			h.enroll(t, "ada")
			must(t, h.devices.Leave(context.Background(), old.Proof(), from))
		}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			onAsking(t, c.policy, func(t *testing.T, h *house) {
				old := h.enroll(t, "ada").backUp(t, "body")
				c.happen(t, h, old)
				s := h.start(t, old.handle)
				if asked := !s.WaitUntil.IsZero(); asked != c.asked {
					t.Errorf("asked: %t; the start answers %+v", asked, s)
				}
			})
		})
	}
}

// The code is asked for at once. Sent too early it is not looked at, right, wrong or mistyped: nothing is counted, and the
// answer says when to come back.
func TestWait_LooksAtNoCodeBeforeItsTime(t *testing.T) {
	onAsking(t, "alive", func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		s.expectWait(t, h.store.Now(), time.Minute)
		before := h.Dump()
		for _, code := range []string{old.code, wrongCode, typo} {
			_, err := s.redeem(code)
			if !errors.Is(err, restore.ErrNotReady) || storage.RetryAfter(err) != time.Minute {
				t.Errorf("%q while waiting: %v, to wait %v", code, err, storage.RetryAfter(err))
			}
		}
		if !cmp.Equal(h.Dump(), before) {
			t.Error("a code that came too early has changed something")
		}
		h.clock.Advance(time.Minute)
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		old.Proof() // too late to move it
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		s.restored(t, old.code)
	})
}

// A call or an answer in the first wait makes it the long one.
func TestWait_IsTenMinutesWhenTheOldInstallationIsThere(t *testing.T) {
	show := map[string]func(t *testing.T, old *phone, asked question){
		"a call":    func(_ *testing.T, old *phone, _ question) { old.Proof() },
		"an answer": func(t *testing.T, old *phone, asked question) { old.answer(t, asked, false) },
	}
	for name, appear := range show {
		t.Run(name, func(t *testing.T) {
			onAsking(t, "alive", func(t *testing.T, h *house) {
				old := h.enroll(t, "ada").backUp(t, "body")
				old.Proof()
				asked := h.ask(t, "192.0.2.7")
				s := h.start(t, old.handle)
				begun := h.store.Now()
				h.clock.Advance(59 * time.Second)
				appear(t, old, asked)
				s.expectWait(t, begun, 10*time.Minute)
				h.clock.Advance(10*time.Minute - 59*time.Second)
				s.restored(t, old.code)
			})
		})
	}
}

// An admin who has just suspended the old installation as lost has no phone of it that could speak: there is time for the
// user's others.
func TestWait_IsTenMinutesAfterAnAdminsSuspension(t *testing.T) {
	onAsking(t, "alive", func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		begun := h.store.Now()
		must(t, h.Admins.Suspend(context.Background(), old.Enrolled.ID, devicetest.Admin))
		s.expectWait(t, begun, 10*time.Minute)
		h.clock.Advance(10 * time.Minute)
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		h.clock.Advance(day - 10*time.Minute)
		later := h.start(t, old.handle)
		later.expectWait(t, h.store.Now(), time.Minute)
	})
}

// Whether the old installation is asked, and for how long, is settled at the start.
func TestWait_IsSettledAtTheStart(t *testing.T) {
	onAsking(t, "alive", func(t *testing.T, h *house) {
		h.Set("restore.first_wait", "5s")
		h.Set("restore.wait", "2m")
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		begun := h.store.Now()
		h.Set("restore.veto", "off")
		h.Set("restore.first_wait", "10m")
		h.Set("restore.wait", "14m")
		s.expectWait(t, begun, 5*time.Second)
		old.Proof()
		s.expectWait(t, begun, 2*time.Minute)
		// One of before the policy asks nobody.
		silent := h.start(t, old.handle)
		h.Set("restore.veto", "on")
		silent.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		// The longer of the two waits is the long one.
		h.Set("restore.wait", "1m")
		longest := h.start(t, old.handle)
		old.Proof()
		longest.expectWait(t, begun, 10*time.Minute)
	})
}

// A restore that an earlier release began had neither wait in its row.
func TestWait_OfARowOfAnEarlierRelease(t *testing.T) {
	h := openHouse(t, ground.Options{})
	h.Set("restore.veto", "on")
	old := h.enroll(t, "ada").backUp(t, "body")
	s := h.start(t, old.handle)
	begun := h.store.Now()
	rows := ground.Rewrite(t, h.store.Engine(), "restore", func(r map[string]any) {
		delete(r, "first_wait")
		delete(r, "long_wait")
		r["first"] = map[string]any{"step": "wait", "reason": "old_device_asked"}
	})
	if rows != 1 {
		t.Fatalf("%d restores", rows)
	}
	s.expectWait(t, begun, time.Minute)
	old.Proof()
	s.expectWait(t, begun, 10*time.Minute)
	h.clock.Advance(time.Hour)
	list, err := h.Admins.Restores(context.Background(), "ada")
	must(t, err)
	if len(list) != 1 || list[0].Step != restore.StepRecoveryCode || list[0].Reason != restore.OldDeviceAsked {
		t.Errorf("an admin sees %+v", list)
	}
}

// A restore whose old installation was retired meanwhile waits for nobody, as one that is begun now would.
func TestWait_EndsWhenTheOldInstallationIsRetired(t *testing.T) {
	onAsking(t, "alive", func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		h.enroll(t, "ada")
		s := h.start(t, old.handle)
		must(t, h.Admins.RemoveEnrollment(context.Background(), old.Enrolled.ID, devicetest.Admin))
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
	})
}

func TestWait_IsNotShortenedByAFloodOfRestores(t *testing.T) {
	h := openHouse(t, ground.Options{})
	h.Set("restore.veto", "on")
	old := h.enroll(t, "ada").backUp(t, "body")
	old.answer(t, h.ask(t, "192.0.2.7"), true)
	s := h.start(t, old.handle)
	begun := h.store.Now()
	old.Proof()
	for range 100 {
		h.startFrom(t, old.handle, "198.51.100.7")
	}
	s.expectWait(t, begun, 10*time.Minute)
}

// The old installation, in the other hand, ends the wait. It still takes the code.
func TestAllow_ByTheOldInstallationEndsTheWait(t *testing.T) {
	onAsking(t, "alive", func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		another := h.start(t, old.handle)
		for range 2 {
			must(t, h.restores.Allow(ctx, old.Proof(), s.ID, from))
		}
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		another.expectWait(t, h.store.Now(), 10*time.Minute) // it allowed one, and no other
		if n := len(h.events(t, audit.RestoreAllowed)); n != 1 {
			t.Errorf("%d events", n)
		}
		s.wrongCodes(t, 1)
		s.restored(t, old.code)
		if err := h.restores.Allow(ctx, s.phone.Proof(), s.ID, from); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("after the code was right: %v", err)
		}
	})
}

func TestAllow_IsTheOldInstallationsAlone(t *testing.T) {
	onAsking(t, "alive", func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		without := h.enroll(t, "ada")
		another := h.enroll(t, "ada").backUp(t, "x")
		stranger := h.enroll(t, "bob").backUp(t, "y")
		s := h.start(t, old.handle)
		for name, p := range map[string]*phone{"without a backup": without, "of another backup": another, "of another user": stranger} {
			if err := h.restores.Allow(ctx, p.Proof(), s.ID, from); !errors.Is(err, restore.ErrNone) {
				t.Errorf("a phone %s: %v", name, err)
			}
		}
		stolen, err := h.devices.Prove(ctx, old.Enrolled.ID, old.Enrolled.Token, false)
		must(t, err)
		if err := h.restores.Allow(ctx, stolen, s.ID, from); !errors.Is(err, device.ErrToken) {
			t.Errorf("a device token: %v", err)
		}
		before := old.Proof()
		must(t, h.Admins.Suspend(ctx, old.Enrolled.ID, devicetest.Admin))
		if err := h.restores.Allow(ctx, before, s.ID, from); !errors.Is(err, device.ErrSuspended) {
			t.Errorf("a suspended phone: %v", err)
		}
		if s.state(t).WaitUntil.IsZero() {
			t.Error("one of them has ended the wait")
		}
	})
}

// A veto beats every allow, in whatever order they come.
func TestAllow_IsBeatenByAVeto(t *testing.T) {
	onAsking(t, "alive", func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		other := h.enroll(t, "ada")
		s := h.start(t, old.handle)
		must(t, h.restores.Allow(ctx, old.Proof(), s.ID, from))
		must(t, h.restores.Veto(ctx, other.Proof(), s.ID, from))
		s.expect(t, restore.StepAskAdmin, restore.Vetoed)
		if err := h.restores.Allow(ctx, old.Proof(), s.ID, from); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("after the veto: %v", err)
		}
		if _, err := s.redeem(old.code); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("the right code: %v", err)
		}
	})
}

// An app that waits for the old installation's word is woken by it.
func TestAllow_WakesWhoWaits(t *testing.T) {
	h := openHouse(t, ground.Options{})
	h.Set("restore.veto", "alive")
	old := h.enroll(t, "ada").backUp(t, "body")
	s := h.start(t, old.handle)
	proof := old.Proof()
	woken, stop := h.store.Watch(h.uid(t, "ada"))
	defer stop()
	must(t, h.restores.Allow(context.Background(), proof, s.ID, from))
	select {
	case <-woken:
	default:
		t.Error("nobody is woken")
	}
}
