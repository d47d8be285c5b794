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
		for range 2 {
			must(t, h.restores.Veto(ctx, old.Proof(), s.ID, from))
		}
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

func TestVeto_IsTheOldInstallationsAlone(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		without := h.enroll(t, "ada")
		another := h.enroll(t, "ada").backUp(t, "x")
		stranger := h.enroll(t, "bob").backUp(t, "y")
		s := h.start(t, old.handle)
		for name, p := range map[string]*phone{"without a backup": without, "of another backup": another, "of another user": stranger} {
			if err := h.restores.Veto(ctx, p.Proof(), s.ID, from); !errors.Is(err, restore.ErrNone) {
				t.Errorf("a phone %s: %v", name, err)
			}
		}
		stolen, err := h.devices.Prove(ctx, old.Enrolled.ID, old.Enrolled.Token, false)
		must(t, err)
		if err := h.restores.Veto(ctx, stolen, s.ID, from); !errors.Is(err, device.ErrToken) {
			t.Errorf("a device token: %v", err)
		}
		if err := h.restores.Veto(ctx, old.Proof(), h.start(t, "rh_made-up").ID, from); !errors.Is(err, restore.ErrNone) {
			t.Errorf("a stranger's restore: %v", err)
		}
		s.restored(t, old.code)
		if err := h.restores.Veto(ctx, s.phone.Proof(), s.ID, from); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("after the code was right: %v", err)
		}
	})
}

func TestVeto_IsTakenInAnyStepBeforeTheCodeWasRight(t *testing.T) {
	cases := map[string]func(t *testing.T, h *house, s *started){
		"recovery_code": func(*testing.T, *house, *started) {},
		"wait":          func(t *testing.T, h *house, _ *started) { h.Set("restore.veto", "on") },
		"ask_admin":     func(t *testing.T, h *house, _ *started) { h.block(t, "ada", true) },
		"first_time_setup": func(t *testing.T, h *house, s *started) {
			_, err := h.restores.FirstTimeSetup(context.Background(), s.ID, s.Token)
			must(t, err)
		},
	}
	for name, happen := range cases {
		t.Run(name, func(t *testing.T) {
			h := openHouse(t, ground.Options{})
			old := h.enroll(t, "ada").backUp(t, "body")
			s := h.start(t, old.handle)
			happen(t, h, s)
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

func TestWait_IsAMinuteWhenTheOldInstallationIsSilent(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		h.Set("restore.veto", "on")
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		if want := h.store.Now().Add(time.Minute); !s.WaitUntil.Equal(want) {
			t.Errorf("the wait ends at %v, want %v", s.WaitUntil, want)
		}
		if _, err := s.redeem(old.code); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("a code while waiting: %v", err)
		}
		h.clock.Advance(time.Minute)
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		old.Proof() // too late to move it
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		s.restored(t, old.code)
	})
}

func TestWait_IsTenMinutesWhenTheOldInstallationCalls(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		h.Set("restore.veto", "on")
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		begun := h.store.Now()
		h.clock.Advance(59 * time.Second)
		old.Proof()
		if state := s.state(t); state.Step != restore.StepWait || !state.WaitUntil.Equal(begun.Add(10*time.Minute)) {
			t.Errorf("it is %+v", state)
		}
		h.Set("restore.wait", "2m")
		if state := s.state(t); !state.WaitUntil.Equal(begun.Add(2 * time.Minute)) {
			t.Errorf("by another policy it is %+v", state)
		}
		h.Set("restore.veto", "off")
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
	})
}

func TestWait_IsAMinuteForARestoreOfBeforeThePolicy(t *testing.T) {
	h := openHouse(t, ground.Options{})
	old := h.enroll(t, "ada").backUp(t, "body")
	s := h.start(t, old.handle)
	begun := h.store.Now()
	h.Set("restore.veto", "on")
	old.Proof()
	if state := s.state(t); state.Step != restore.StepWait || !state.WaitUntil.Equal(begun.Add(time.Minute)) {
		t.Errorf("it is %+v", state)
	}
}

func TestWait_IsNotShortenedByAFloodOfRestores(t *testing.T) {
	h := openHouse(t, ground.Options{})
	h.Set("restore.veto", "on")
	old := h.enroll(t, "ada").backUp(t, "body")
	s := h.start(t, old.handle)
	begun := h.store.Now()
	old.Proof()
	for range 100 {
		h.start(t, old.handle)
	}
	if state := s.state(t); !state.WaitUntil.Equal(begun.Add(10 * time.Minute)) {
		t.Errorf("it is %+v", state)
	}
}

func TestWaiting_ListsTheRestoresOfTheCallersBackup(t *testing.T) {
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
		_, err := h.restores.FirstTimeSetup(ctx, gone.ID, gone.Token)
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
		}}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Error(diff)
		}
		// Neither are those of another phone's backup, nor those that are done.
		for _, p := range []*phone{without, other} {
			if list, err := h.restores.Await(ctx, p.Proof(), 0); err != nil || len(list) != 0 {
				t.Errorf("another phone's list is %v, %v", list, err)
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
		_, err := h.restores.FirstTimeSetup(ctx, chosen.ID, chosen.Token)
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
