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
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestVeto_KeepsEveryRestoreOfTheBackupClosedForADay(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		open := h.start(t, old.handle)
		must(t, h.restores.Veto(ctx, old.Proof(), s.ID, from))
		s.expect(t, restore.StepAskAdmin, restore.Vetoed)
		open.expect(t, restore.StepAskAdmin, restore.Vetoed)
		if _, err := open.redeem(old.code); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("the right code: %v", err)
		}
		if n := len(h.events(t, audit.RestoreVetoed)); n != 1 {
			t.Errorf("%d events", n)
		}
		h.clock.Advance(24*time.Hour - 1)
		h.start(t, old.handle).expect(t, restore.StepAskAdmin, restore.Vetoed)
		h.clock.Advance(1)
		h.start(t, old.handle).restored(t, old.code)
	})
}

// Any of the user's phones may veto, and nobody else's. What was given stands when its phone is suspended later; the word of
// one that is suspended does not count.
func TestVeto_IsAnyActivePhonesOfTheUser(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		without := h.enroll(t, "ada")
		stranger := h.enroll(t, "bob").backUp(t, "y")
		s := h.start(t, old.handle)
		if err := h.restores.Veto(ctx, stranger.Proof(), s.ID, from); !errors.Is(err, restore.ErrNone) {
			t.Errorf("a phone of another user: %v", err)
		}
		stolen, err := h.devices.Prove(ctx, old.Enrolled.ID, old.Enrolled.Token, false)
		must(t, err)
		if err := h.restores.Veto(ctx, stolen, s.ID, from); !errors.Is(err, device.ErrToken) {
			t.Errorf("a device token: %v", err)
		}
		if err := h.restores.Veto(ctx, old.Proof(), h.start(t, "rh_made-up").ID, from); !errors.Is(err, restore.ErrNone) {
			t.Errorf("a stranger's restore: %v", err)
		}
		before := without.Proof()
		must(t, h.Admins.Suspend(ctx, without.Enrolled.ID, devicetest.Admin))
		if err := h.restores.Veto(ctx, before, s.ID, from); !errors.Is(err, device.ErrSuspended) {
			t.Errorf("a suspended phone: %v", err)
		}
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		must(t, h.Admins.Resume(ctx, without.Enrolled.ID, devicetest.Admin))
		must(t, h.restores.Veto(ctx, without.Proof(), s.ID, from))
		must(t, h.Admins.Suspend(ctx, without.Enrolled.ID, devicetest.Admin))
		s.expect(t, restore.StepAskAdmin, restore.Vetoed)
		must(t, h.Admins.Unlock(ctx, "ada", devicetest.Admin))
		s.restored(t, old.code)
		if err := h.restores.Veto(ctx, s.phone.Proof(), s.ID, from); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("after the code was right: %v", err)
		}
	})
}

// A second veto renews the first, and is told in the log too: at once when another phone gave it, else with those that follow
// within the hour.
func TestVeto_IsAnEventAlsoTheSecondTime(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		other := h.enroll(t, "ada")
		s := h.start(t, old.handle)
		for range 3 {
			must(t, h.restores.Veto(ctx, old.Proof(), s.ID, from))
			h.clock.Advance(time.Minute)
		}
		must(t, h.restores.Veto(ctx, other.Proof(), s.ID, from))
		if n := len(h.events(t, audit.RestoreVetoed)); n != 2 {
			t.Errorf("%d events at once, want one of each phone", n)
		}
		h.clock.Advance(23*time.Hour + 59*time.Minute)
		for n := 1; n > 0; {
			var err error
			n, _, err = audit.CloseFolds(ctx, h.store)
			must(t, err)
		}
		events := h.events(t, audit.RestoreVetoed)
		if len(events) != 3 || events[0].Folded.Count != 2 {
			t.Errorf("later: %+v", events)
		}
		// The last one counts: it came 24 hours and 59 minutes ago, less a minute.
		h.start(t, old.handle).expect(t, restore.StepAskAdmin, restore.Vetoed)
	})
}

func TestVeto_IsTakenInAnyStepBeforeTheCodeWasRight(t *testing.T) {
	cases := map[string]func(t *testing.T, h *house, old *phone, s *started){
		"recovery_code": func(*testing.T, *house, *phone, *started) {},
		"allowed": func(t *testing.T, h *house, old *phone, s *started) {
			must(t, h.restores.Allow(context.Background(), old.Proof(), s.ID, from))
		},
		"ask_admin": func(t *testing.T, h *house, _ *phone, _ *started) { h.block(t, "ada", true) },
		"first_time_setup": func(t *testing.T, h *house, _ *phone, s *started) {
			_, err := h.restores.FirstTimeSetup(context.Background(), s.ID, s.Token, from)
			must(t, err)
		},
	}
	for name, happen := range cases {
		t.Run(name, func(t *testing.T) {
			h := openHouse(t, ground.Options{})
			old := h.enroll(t, "ada").backUp(t, "body")
			s := h.start(t, old.handle)
			happen(t, h, old, s)
			must(t, h.restores.Veto(context.Background(), old.Proof(), s.ID, from))
			h.block(t, "ada", false)
			h.start(t, old.handle).expect(t, restore.StepAskAdmin, restore.Vetoed)
		})
	}
}

func TestUnlock_LiftsVetoesForWhomeverMay(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		must(t, h.restores.Veto(ctx, old.Proof(), s.ID, from))
		if err := h.Admins.Unlock(ctx, "ada", from); !errors.Is(err, admin.ErrRefused) {
			t.Errorf("the user herself: %v", err)
		}
		s.expect(t, restore.StepAskAdmin, restore.Vetoed)
		must(t, h.Admins.Unlock(ctx, "ada", devicetest.Admin))
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		if err := h.Admins.Unlock(ctx, "nobody", devicetest.Admin); !errors.Is(err, user.ErrUnknown) {
			t.Errorf("nobody: %v", err)
		}
		if events := h.events(t, audit.ManagementCall); len(events) != 1 || events[0].Facts["call"] != "user_blocks" {
			t.Errorf("events are %+v", events)
		}
	})
}

func TestWaiting_ListsTheOpenRestoresOfTheUser(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		without := h.enroll(t, "ada")
		other := h.enroll(t, "ada").backUp(t, "x")
		woken, stop := h.store.Watch(h.uid(t, "ada"))
		defer stop()
		s := h.start(t, old.handle)
		select {
		case <-woken:
		default:
			t.Error("the start wakes nobody")
		}
		// One that was given up is not listed.
		gone := h.start(t, old.handle)
		_, err := h.restores.FirstTimeSetup(ctx, gone.ID, gone.Token, from)
		must(t, err)
		list, err := h.restores.Await(ctx, old.Proof(), 0)
		must(t, err)
		want := []restore.Listed{{
			ID:      s.ID,
			Step:    restore.StepRecoveryCode,
			Reason:  restore.BackupFound,
			Name:    "new phone",
			Started: h.store.Now(),
			Expires: h.store.Now().Add(15 * time.Minute),
			Backup:  list[0].Backup,

			MayAllow: true,
		}}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Error(diff)
		}
		// Her other phones see it too, since they may veto it; they may not allow it.
		want[0].MayAllow = false
		for _, p := range []*phone{without, other} {
			list, err := h.restores.Await(ctx, p.Proof(), 0)
			must(t, err)
			if diff := cmp.Diff(want, list); diff != "" {
				t.Errorf("another phone's list: %s", diff)
			}
		}
		s.restored(t, old.code)
		if list, err := h.restores.Await(ctx, s.phone.Proof(), 0); err != nil || len(list) != 0 {
			t.Errorf("when one is done the list is %v, %v", list, err)
		}
	})
}

func (h *house) uid(t *testing.T, userID string) (uid storage.UID) {
	t.Helper()
	must(t, h.store.View(context.Background(), func(tx *storage.Tx) (err error) {
		u, err := user.Find(tx, userID)
		if err == nil {
			uid = u.UID
		}
		return err
	}))
	return uid
}

func TestRestores_ShowsAnAdminHowEachEnded(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		want := map[string]restore.End{}
		expired := h.start(t, old.handle)
		want[expired.ID] = restore.EndExpired
		vetoed := h.start(t, old.handle)
		want[vetoed.ID] = restore.EndVetoed
		must(t, h.restores.Veto(ctx, old.Proof(), vetoed.ID, from))
		must(t, h.Admins.Unlock(ctx, "ada", devicetest.Admin))
		h.clock.Advance(time.Hour)
		// Of those that follow one is done, which closes another.
		chosen := h.start(t, old.handle)
		closed := h.start(t, old.handle)
		done := h.start(t, old.handle)
		want[chosen.ID] = restore.EndChosen
		want[closed.ID] = restore.EndClosed
		want[done.ID] = restore.EndDone
		_, err := h.restores.FirstTimeSetup(ctx, chosen.ID, chosen.Token, from)
		must(t, err)
		done.restored(t, old.code)
		open := h.start(t, done.phone.handle)
		want[open.ID] = ""

		list, err := h.Admins.Restores(ctx, "ada")
		must(t, err)
		got := map[string]restore.End{}
		for _, l := range list {
			got[l.ID] = l.End
			if l.ID == done.ID && l.Enrollment != done.phone.Enrolled.ID {
				t.Errorf("the one that is done made %q", l.Enrollment)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		// After a day the one that is done and the vetoed one are kept.
		h.clock.Advance(24 * time.Hour)
		if list, err = h.Admins.Restores(ctx, "ada"); err != nil || len(list) != 2 {
			t.Errorf("a day later: %+v, %v", list, err)
		}
		if _, err := h.Admins.Restores(ctx, "nobody"); !errors.Is(err, user.ErrUnknown) {
			t.Errorf("nobody: %v", err)
		}
	})
}

// Whoever holds a phone can veto without end; of each phone the latest eight restores are known, for as long as its own word
// stands.
func TestVeto_KnowsTheLatestRestoresOfEachPhone(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		other := h.enroll(t, "ada")
		var ids []string
		for range 9 {
			s := h.start(t, old.handle)
			must(t, h.restores.Veto(ctx, old.Proof(), s.ID, from))
			ids = append(ids, s.ID)
		}
		h.clock.Advance(10 * time.Minute)
		must(t, h.restores.Veto(ctx, other.Proof(), ids[0], from))
		by := func(p *phone) []string {
			list, err := h.Admins.VetoedBy(ctx, p.Enrolled.ID)
			must(t, err)
			return list
		}
		if diff := cmp.Diff(ids[1:], by(old)); diff != "" {
			t.Error(diff)
		}
		h.clock.Advance(day - 10*time.Minute)
		if got := by(old); len(got) != 0 {
			t.Errorf("its word is over: %v", got)
		}
		if diff := cmp.Diff(ids[:1], by(other)); diff != "" {
			t.Error(diff)
		}
	})
}
