package restore_test

import (
	"context"
	"errors"
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
	"tutela/device/login"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

func TestRestoreWithCode_PutsTheNewInstallationInThePlaceOfTheOld(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "ciphertext")
		asked, err := h.logins.Begin(ctx, login.Request{
			Client: "vpn",
			UserID: "ada",
			Scope:  "openid",
			Life:   time.Minute,
		})
		must(t, err)
		s := h.start(t, old.handle)
		o := s.restored(t, old.code)

		// The new installation gets all that it needs, and the backup.
		if o.UserID != "ada" || o.ID == old.Enrolled.ID || o.Token == "" || o.TOTP == nil || o.RestoreHandle == old.handle {
			t.Errorf("the answer is %+v", o)
		}
		if o.Backup.Generation != 1 || o.Backup.Items != 5 || o.Backup.Digest != hexDigest("ciphertext") {
			t.Errorf("its backup is %+v", o.Backup)
		}
		s.expect(t, restore.StepDone, "")
		// The old one is nobody any more, by key and by token.
		if _, err := old.Call(); !errors.Is(err, device.ErrNoEnrollment) {
			t.Errorf("the old installation's call: %v", err)
		}
		if _, err := h.devices.Prove(ctx, old.Enrolled.ID, old.Enrolled.Token, false); !errors.Is(err, device.ErrNoEnrollment) {
			t.Errorf("the old installation's token: %v", err)
		}
		// Backup and pending approvals are the new one's.
		proof := s.phone.Proof()
		if v, body, err := h.backups.Latest(ctx, proof); err != nil || string(body) != "ciphertext" || v.Enrollment != old.Enrolled.ID {
			t.Errorf("the new installation reads %q: %v", body, err)
		}
		pending, err := h.logins.Approvals(ctx, proof, nil, 0)
		if err != nil || len(pending) != 1 {
			t.Errorf("%d approvals are asked of the new installation for %s: %v", len(pending), asked.ID, err)
		}
		if n := strings.Count(strings.Join(h.Rows("enrollment"), ""), `"backup_id"`); n != 1 {
			t.Errorf("%d enrollments write to the backup", n)
		}
		checkNotices(t, h, old, s)
		h.start(t, old.handle).expect(t, restore.StepRecoveryCode, restore.BackupFound) // as an earlier one
		h.start(t, o.RestoreHandle).expect(t, restore.StepRecoveryCode, restore.BackupFound)
	})
}

// checkNotices fails the test unless the phones are notified of a restore that is done.
func checkNotices(t *testing.T, h *house, old *phone, s *started) {
	t.Helper()
	if h.notices(t, "restored", s.ID, old.Enrolled.ID) != 1 {
		t.Error("the old phone is not told")
	}
	if h.notices(t, "restored", s.ID) != 2 || h.notices(t, "code_changed") != 1 {
		t.Error("the user's phones are not told")
	}
	done := h.events(t, audit.RestoreDone)
	moved := h.events(t, audit.DeviceMoved)
	if len(done) != 1 || done[0].Detail.Enrollment != s.phone.Enrolled.ID {
		t.Errorf("events of the restore: %+v", done)
	}
	if len(moved) != 1 || moved[0].Detail.Enrollment != old.Enrolled.ID || moved[0].Detail.Successor != s.phone.Enrolled.ID {
		t.Errorf("events of the move: %+v", moved)
	}
}

func TestRestoreWithCode_RotatesTheCode(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		first := h.start(t, old.handle)
		first.restored(t, old.code)
		first.phone.Proof()
		second := h.start(t, first.phone.handle)
		if _, err := second.redeem(old.code); !errors.Is(err, recovery.ErrWrongCode) {
			t.Errorf("the spent code: %v", err)
		}
		second.restored(t, first.phone.code)
		manifests, err := h.backups.Generations(context.Background(), second.phone.Proof())
		must(t, err)
		if len(manifests) != 1 || !manifests[0].Key.Same(old.In.Key) {
			t.Error("a backup that moved does not say which key signed its manifest")
		}
	})
}

func TestRestoreWithCode_ChainsTheNextVersionOfABackupThatMoved(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		s.restored(t, old.code)
		list, err := h.backups.Generations(ctx, s.phone.Proof())
		must(t, err)
		one := int64(1)
		manifest := s.phone.Sign(map[string]any{
			"iss": s.phone.Enrolled.ID, "generation": 2, "parent": hexDigest(list[0].Manifest), "digest": hexDigest("next"),
			"size": 4, "items": 5, "provider": "server",
		})
		req := backup.PutRequest{Manifest: manifest, Body: []byte("next"), Precondition: backup.Precondition{Match: &one}}
		stored, err := h.backups.Put(ctx, s.phone.Proof(), req, from)
		if err != nil || stored.Generation != 2 || stored.Handle != "" {
			t.Errorf("the next version: %+v, %v", stored, err)
		}
	})
}

func TestRestoreWithCode_GivesALostAnswerAgain(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		h.clock.Advance(14 * time.Minute)
		first, err := s.redeem(old.code)
		must(t, err)
		h.clock.Advance(14 * time.Minute) // past the restore's own time
		again, err := s.redeem(" " + old.code[:12] + "-" + old.code[12:])
		must(t, err)
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("the same call got another answer: %s", diff)
		}
		proof := s.phone.Sign(map[string]any{"restore": s.ID, "iat": 12345.5})
		state, err := h.restores.State(ctx, s.ID, s.Token, proof, from)
		must(t, err)
		if diff := cmp.Diff(first, state.Result); diff != "" {
			t.Errorf("the proof got another answer: %s", diff)
		}
		if state := s.state(t); state.Step != restore.StepDone || state.Result != nil {
			t.Errorf("without the proof it is %+v", state)
		}
		for name, claims := range map[string]map[string]any{
			"another restore's": {"restore": "rst_x", "iat": 1}, "no iat": {"restore": s.ID}, "a start's": {"handle": s.ID, "iat": 1},
		} {
			if _, err := h.restores.State(ctx, s.ID, s.Token, s.phone.Sign(claims), from); !errors.Is(err, restore.ErrProof) {
				t.Errorf("the proof is %s: %v", name, err)
			}
		}
		byOld := old.Sign(map[string]any{"restore": s.ID, "iat": 1})
		if _, err := h.restores.State(ctx, s.ID, s.Token, byOld, from); !errors.Is(err, restore.ErrProof) {
			t.Errorf("the old key's proof: %v", err)
		}
	})
}

func TestRestoreWithCode_WhenDoneTakesNoOtherCodeAndCountsNothing(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		o, err := s.redeem(old.code)
		must(t, err)
		before := h.Dump()
		for _, code := range []string{wrongCode, typo, o.RecoveryCode, ""} {
			if _, err := s.redeem(code); !errors.Is(err, restore.ErrNotReady) {
				t.Errorf("code %q: %v", code, err)
			}
		}
		if _, err := h.restores.FirstTimeSetup(context.Background(), s.ID, s.Token, from); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("first-time setup: %v", err)
		}
		if diff := cmp.Diff(before, h.Dump()); diff != "" {
			t.Errorf("something was written: %s", diff)
		}
	})
}

func TestRestoreWithCode_ForgetsItsAnswer(t *testing.T) {
	ctx := context.Background()
	// A proof of another time than ours gets a kept answer alone: for one that is made anew it must be fresh.
	cases := map[string]struct {
		happen func(t *testing.T, h *house, s *started)
		late   error
	}{
		"at the first call of the new installation": {
			func(t *testing.T, _ *house, s *started) { s.phone.Proof() }, restore.ErrNotReady,
		},
		"after a quarter of an hour": {
			func(_ *testing.T, h *house, _ *started) { h.clock.Advance(recovery.ReplyLife) }, device.ErrClockSkew,
		},
		"at a rotation of the code": {func(t *testing.T, h *house, _ *started) {
			_, err := h.Admins.Regenerate(ctx, "ada", devicetest.Admin)
			must(t, err)
		}, device.ErrClockSkew},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(t *testing.T, h *house) {
				old := h.enroll(t, "ada").backUp(t, "body")
				s := h.start(t, old.handle)
				s.restored(t, old.code)
				c.happen(t, h, s)
				if _, err := s.redeem(old.code); !errors.Is(err, restore.ErrNotReady) {
					t.Errorf("the same call: %v", err)
				}
				proof := s.phone.Sign(map[string]any{"restore": s.ID, "iat": 1})
				if _, err := h.restores.State(ctx, s.ID, s.Token, proof, from); !errors.Is(err, c.late) {
					t.Errorf("the proof: %v", err)
				}
				s.expect(t, restore.StepDone, "")
			})
		})
	}
}

func TestRestoreWithCode_CountsWrongCodesAndNoTypos(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		for range 20 {
			if _, err := s.redeem(typo); !errors.Is(err, recovery.ErrTypo) {
				t.Fatalf("a typo: %v", err)
			}
		}
		s.wrongCodes(t, 10)
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		if _, err := s.redeem(wrongCode); !errors.Is(err, recovery.ErrLimited) || storage.RetryAfter(err) != 30*time.Second {
			t.Errorf("a wrong code while the channel waits: %v", err)
		}
		if _, err := s.redeem(typo); !errors.Is(err, recovery.ErrTypo) {
			t.Errorf("a typo while the channel waits: %v", err)
		}
		s.restored(t, old.code) // a right one waits for nothing
		next := h.start(t, s.phone.handle)
		next.wrongCodes(t, 9) // it has cleared the channel
	})
}

func TestRestoreWithCode_ShowsNoKeptReplyOfABlockedUser(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		first, err := s.redeem(old.code)
		must(t, err)
		h.block(t, "ada", true)
		if _, err := s.redeem(old.code); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("the same call while the user is blocked: %v", err)
		}
		if _, err := h.restores.State(context.Background(), s.ID, s.Token, s.phone.Sign(map[string]any{"restore": s.ID, "iat": 1}), from); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("the state with a proof while the user is blocked: %v", err)
		}
		h.block(t, "ada", false)
		again, err := s.redeem(old.code)
		must(t, err)
		if again.RecoveryCode != first.RecoveryCode {
			t.Error("the block has cost the owner her answer")
		}
	})
}

// A thief of a platform backup has the handle alone. His guesses must not send the owner to an admin.
func TestRestoreWithCode_AFloodOfWrongCodesKeepsNoOwnerOut(t *testing.T) {
	check.WithoutRace(t)
	h := openHouse(t, ground.Options{})
	old := h.enroll(t, "ada").backUp(t, "body")
	h.guess(t, old, 120)
	s := h.start(t, old.handle)
	s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
	s.restored(t, old.code)
}

func TestRestoreWithCode_SpendsNothingOnAKeyThatIsInUse(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		other := h.enroll(t, "ada")
		s := other.start(t, old.handle)
		before := h.Dump()
		if _, err := s.redeem(old.code); !errors.Is(err, device.ErrKeyInUse) {
			t.Fatalf("another phone's key: %v", err)
		}
		if diff := cmp.Diff(before, h.Dump()); diff != "" {
			t.Errorf("something was written: %s", diff)
		}
		own := old.start(t, old.handle) // the old installation's own key is allowed
		own.restored(t, old.code)
	})
}

func TestRestoreWithCode_ClosesTheOtherRestoresOfTheBackup(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		second := h.enroll(t, "ada").backUp(t, "other")
		s := h.start(t, old.handle)
		closed := h.start(t, old.handle)
		elsewhere := h.start(t, second.handle)
		s.restored(t, old.code)
		if _, err := closed.redeem(wrongCode); !errors.Is(err, restore.ErrNone) {
			t.Errorf("a code: %v", err)
		}
		if _, err := h.restores.State(ctx, closed.ID, closed.Token, "", from); !errors.Is(err, restore.ErrNone) {
			t.Errorf("its state: %v", err)
		}
		if _, err := h.restores.FirstTimeSetup(ctx, closed.ID, closed.Token, from); !errors.Is(err, restore.ErrNone) {
			t.Errorf("first-time setup: %v", err)
		}
		if err := h.restores.Veto(ctx, s.phone.Proof(), closed.ID, from); !errors.Is(err, restore.ErrNone) {
			t.Errorf("a veto: %v", err)
		}
		if n := len(h.Rows("limit")); n != 0 {
			t.Errorf("%d wrong codes were counted", n)
		}
		elsewhere.expect(t, restore.StepRecoveryCode, restore.BackupFound)
	})
}

func TestRestoreWithCode_BySixtyFourAtOnceHasOneOutcome(t *testing.T) {
	t.Run("of one restore", func(t *testing.T) {
		h := openHouse(t, ground.Options{})
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		outcomes := make([]*restore.Outcome, 64)
		var group sync.WaitGroup
		for i := range outcomes {
			group.Go(func() {
				o, err := s.redeem(old.code)
				if err != nil {
					t.Error(err)
				}
				outcomes[i] = o
			})
		}
		group.Wait()
		for _, o := range outcomes {
			if !cmp.Equal(o, outcomes[0]) {
				t.Fatal("two outcomes of one restore differ")
			}
		}
		h.expectOneInstallation(t)
	})
	t.Run("of 64 restores", func(t *testing.T) {
		h := openHouse(t, ground.Options{})
		old := h.enroll(t, "ada").backUp(t, "body")
		all := make([]*started, 64)
		for i := range all {
			all[i] = h.start(t, old.handle)
		}
		var won, closed atomic.Int32
		var group sync.WaitGroup
		for _, s := range all {
			group.Go(func() {
				switch _, err := s.redeem(old.code); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, restore.ErrNone):
					closed.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 || closed.Load() != 63 {
			t.Errorf("%d won and %d were closed", won.Load(), closed.Load())
		}
		h.expectOneInstallation(t)
	})
}

// expectOneInstallation reports whether the house's one user has been restored once.
func (h *house) expectOneInstallation(t *testing.T) {
	t.Helper()
	if n := len(h.events(t, audit.RestoreDone)); n != 1 {
		t.Errorf("%d restores are done", n)
	}
	if n := len(h.Rows("enrollment")); n != 2 { // the retired one stays as a row
		t.Errorf("%d enrollments were made", n)
	}
}

func TestRestoreWithCode_BringsBackTheBackupOfAnEnrollmentThatIsGone(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		must(t, h.devices.Leave(ctx, old.Proof(), from))
		later := h.enroll(t, "ada").backUp(t, "other")
		s := h.start(t, old.handle)
		if h.notices(t, "restore_started", s.ID) != 1 || h.notices(t, "restore_started", old.Enrolled.ID) != 0 {
			t.Error("the user's phones are not told where the old one is gone")
		}
		s.restored(t, old.code)
		if _, body, err := h.backups.Latest(ctx, s.phone.Proof()); err != nil || string(body) != "body" {
			t.Errorf("it reads %q: %v", body, err)
		}
		if _, body, err := h.backups.Latest(ctx, later.Proof()); err != nil || string(body) != "other" {
			t.Errorf("the later installation, which nobody retired, reads %q: %v", body, err)
		}
	})
}

func TestRestoreWithCode_RetiresAnOldInstallationThatIsSuspendedOrLeft(t *testing.T) {
	ctx := context.Background()
	cases := map[string]func(t *testing.T, h *house, old *phone){
		"suspended": func(t *testing.T, h *house, old *phone) {
			h.Update(func(tx *storage.Tx) error {
				uid, e, err := device.Find(tx, old.Enrolled.ID)
				if err != nil {
					return err
				}
				e.Status = device.Suspended
				return device.Put(tx, uid, e)
			})
		},
		"left by its token": func(t *testing.T, h *house, old *phone) {
			stolen, err := h.devices.Prove(ctx, old.Enrolled.ID, old.Enrolled.Token, false)
			must(t, err)
			must(t, h.devices.Leave(ctx, stolen, from))
		},
	}
	for name, happen := range cases {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(t *testing.T, h *house) {
				old := h.enroll(t, "ada").backUp(t, "body")
				happen(t, h, old)
				h.start(t, old.handle).restored(t, old.code)
				if _, err := old.Call(); !errors.Is(err, device.ErrNoEnrollment) {
					t.Errorf("the old installation's call: %v", err)
				}
			})
		})
	}
}

func TestFirstTimeSetup_ChangesNothingOfTheOldInstallation(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		for range 2 {
			state, err := h.restores.FirstTimeSetup(ctx, s.ID, s.Token, from)
			must(t, err)
			if state.ID != s.ID || state.Step != restore.StepFirstTimeSetup || state.Reason != restore.Chosen {
				t.Errorf("the answer is %+v", state)
			}
		}
		if _, err := s.redeem(old.code); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("a code after it: %v", err)
		}
		if _, _, err := h.backups.Latest(ctx, old.Proof()); err != nil {
			t.Errorf("the old installation's backup: %v", err)
		}
		h.start(t, old.handle).restored(t, old.code)
	})
}

func TestRestore_IsOverAfterAQuarterOfAnHour(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		old := h.enroll(t, "ada").backUp(t, "body")
		s := h.start(t, old.handle)
		h.clock.Advance(15*time.Minute - 1)
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		h.clock.Advance(1)
		if _, err := s.redeem(old.code); !errors.Is(err, restore.ErrNone) {
			t.Errorf("a code: %v", err)
		}
		if _, err := h.restores.State(ctx, s.ID, s.Token, "", from); !errors.Is(err, restore.ErrNone) {
			t.Errorf("its state: %v", err)
		}
		if err := h.restores.Veto(ctx, old.Proof(), s.ID, from); !errors.Is(err, restore.ErrNone) {
			t.Errorf("a veto: %v", err)
		}
	})
}

func TestRestore_TakesNoOtherTokenThanItsOwn(t *testing.T) {
	h := openHouse(t, ground.Options{})
	old := h.enroll(t, "ada").backUp(t, "body")
	s := h.start(t, old.handle)
	other := h.start(t, old.handle)
	for _, token := range []string{"", other.Token, old.Enrolled.Token, s.Token + "x"} {
		if _, err := h.restores.RestoreWithCode(context.Background(), s.ID, token, old.code, from); !errors.Is(err, restore.ErrToken) {
			t.Errorf("got %v", err)
		}
	}
}

// The recovery code that is switched off is hidden at logins, and never from a restore.
func TestRestoreWithCode_TakesTheCodeThatLoginsDoNotTake(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		h.Set("factor.recovery_code", "off")
		s := h.start(t, old.handle)
		s.expect(t, restore.StepRecoveryCode, restore.BackupFound)
		s.restored(t, old.code)
	})
}
