package restore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// late asks for the outcome by a proof that is signed off apart from the house's time.
func (s *started) late(off time.Duration) (*restore.Outcome, error) {
	iat := s.phone.h.clock.Wall().Add(off).Unix()
	return s.byProof(s.phone.Sign(map[string]any{"restore": s.ID, "iat": iat}))
}

func (s *started) byProof(proof string) (*restore.Outcome, error) {
	state, err := s.phone.h.restores.State(context.Background(), s.ID, s.Token, proof, from)
	if err != nil {
		return nil, err
	}
	return state.Result, nil
}

// lostAnswer is a restore that was done, whose answer got lost, past the time for which that is kept.
func (h *house) lostAnswer(t *testing.T) (*started, *restore.Outcome) {
	t.Helper()
	old := h.enroll(t, "ada").backUp(t, "body")
	s := h.start(t, old.handle)
	lost, err := s.redeem(old.code)
	must(t, err)
	h.clock.Advance(16 * time.Minute)
	return s, lost
}

// An answer that was lost for longer than a quarter of an hour locks nobody out: the new key gets a new one, with a new token,
// handle and code. What was lost opens nothing any more.
func TestRepeat_MakesALostAnswerAnewForThirtyDays(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		s, lost := h.lostAnswer(t)
		h.clock.Advance(30*day - 17*time.Minute)
		o, err := s.late(0)
		must(t, err)
		if o.ID != lost.ID || o.UserID != "ada" || o.TOTP.Secret != lost.TOTP.Secret || o.URL != lost.URL || o.Issuer != lost.Issuer {
			t.Errorf("it is another enrolment: %+v", o)
		}
		if o.Token == lost.Token || o.RestoreHandle == lost.RestoreHandle || o.RecoveryCode == lost.RecoveryCode || o.RecoveryCode == "" {
			t.Errorf("it repeats what was lost: %+v", o)
		}
		if o.Backup.Generation != 1 {
			t.Errorf("the backup is %+v", o.Backup)
		}
		if _, err := h.devices.Prove(ctx, o.ID, lost.Token, false); !errors.Is(err, device.ErrToken) {
			t.Errorf("the lost token: %v", err)
		}
		if events := h.events(t, audit.RestoreRepeated); len(events) != 1 || events[0].Facts[audit.FactCode] != audit.CodeFresh {
			t.Errorf("events are %+v", events)
		}
		if n := h.notices(t, "code_changed"); n != 2 { // of the restore, and of this
			t.Errorf("%d rows of notices of a changed code", n)
		}
		s.phone.Enrolled = &o.Enrolled
		if valid, err := h.devices.Practise(ctx, s.phone.Proof(), o.RecoveryCode, from); err != nil || !valid {
			t.Errorf("the new code: %v, %v", valid, err)
		}
		h.start(t, o.RestoreHandle).restored(t, o.RecoveryCode)
	})
}

// It can be lost again: each proof counts once, and the code is replaced each time, for nobody can have got it.
func TestRepeat_TakesEachProofOnceAndSixAnHour(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		s, _ := h.lostAnswer(t)
		codes := map[string]bool{}
		for i := range 6 {
			proof := s.phone.Sign(map[string]any{"restore": s.ID, "iat": h.clock.Wall().Unix()})
			o, err := s.byProof(proof)
			must(t, err)
			codes[o.RecoveryCode] = true
			if _, err := s.byProof(proof); !errors.Is(err, restore.ErrProof) {
				t.Errorf("proof %d once more: %v", i, err)
			}
			h.clock.Advance(time.Second)
		}
		if len(codes) != 6 {
			t.Errorf("%d codes", len(codes))
		}
		_, err := s.late(0)
		if !errors.Is(err, restore.ErrOften) || storage.RetryAfter(err) != time.Hour-6*time.Second {
			t.Errorf("the seventh of an hour: %v, to wait %v", err, storage.RetryAfter(err))
		}
		h.clock.Advance(time.Hour)
		_, err = s.late(0)
		must(t, err)
	})
}

func TestRepeat_WantsAFreshProof(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		s, _ := h.lostAnswer(t)
		for _, off := range []time.Duration{-5*time.Minute - time.Second, 5*time.Minute + 2*time.Second} {
			if _, err := s.late(off); !errors.Is(err, device.ErrClockSkew) {
				t.Errorf("a proof that is %v off: %v", off, err)
			}
		}
		other := h.newPhone("other")
		if _, err := s.byProof(other.Sign(map[string]any{"restore": s.ID, "iat": h.clock.Wall().Unix()})); !errors.Is(err, restore.ErrProof) {
			t.Errorf("another key's: %v", err)
		}
		_, err := s.late(4 * time.Minute)
		must(t, err)
	})
}

// The code is replaced only while it is the one that this restore issued: another may have arrived.
func TestRepeat_ReplacesNoCodeOfAnother(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		s, _ := h.lostAnswer(t)
		code, err := h.Admins.Regenerate(ctx, "ada", devicetest.Admin)
		must(t, err)
		o, err := s.late(0)
		must(t, err)
		if o.RecoveryCode != "" || o.Token == "" || o.RestoreHandle == "" {
			t.Errorf("got %+v", o)
		}
		s.phone.Enrolled = &o.Enrolled
		if valid, err := h.devices.Practise(ctx, s.phone.Proof(), string(code), from); err != nil || !valid {
			t.Errorf("the admin's code: %v, %v", valid, err)
		}
	})
}

// What has happened to the new installation since stands against it.
func TestRepeat_EndsWithTheFirstCallAndWithTheInstallation(t *testing.T) {
	ctx := context.Background()
	cases := map[string]struct {
		happen func(t *testing.T, h *house, s *started, lost *restore.Outcome)
		want   error
	}{
		"a signed call": {func(_ *testing.T, _ *house, s *started, lost *restore.Outcome) {
			s.phone.Enrolled = &lost.Enrolled
			s.phone.Proof()
		}, restore.ErrNotReady},
		"thirty days": {func(_ *testing.T, h *house, _ *started, _ *restore.Outcome) { h.clock.Advance(30 * day) }, restore.ErrNone},
		"retired": {func(t *testing.T, h *house, _ *started, lost *restore.Outcome) {
			h.enroll(t, "ada")
			must(t, h.Admins.RemoveEnrollment(ctx, lost.ID, devicetest.Admin))
		}, restore.ErrNone},
		"taken over": {func(t *testing.T, h *house, _ *started, lost *restore.Outcome) {
			h.start(t, lost.RestoreHandle).restored(t, lost.RecoveryCode)
		}, restore.ErrNone},
		"reset": {func(_ *testing.T, h *house, _ *started, _ *restore.Outcome) { h.Reset("ada") }, restore.ErrNone},
		"suspended": {func(t *testing.T, h *house, _ *started, lost *restore.Outcome) {
			must(t, h.Admins.Suspend(ctx, lost.ID, devicetest.Admin))
		}, device.ErrSuspended},
		"blocked": {func(t *testing.T, h *house, _ *started, _ *restore.Outcome) { h.block(t, "ada", true) }, restore.ErrNotReady},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(t *testing.T, h *house) {
				s, lost := h.lostAnswer(t)
				c.happen(t, h, s, lost)
				before := h.Dump()
				if _, err := s.late(0); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if len(before) != len(h.Dump()) {
					t.Error("it has written something")
				}
			})
		})
	}
}

// The fresh code is of the kind that a restore issues: an app that shows codes carries it.
func TestRepeat_TheFreshCodeArrivesWithTheFirstCall(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		old := h.enroll(t, "ada").backUp(t, "body")
		p := h.newPhone("new phone")
		p.In.Capabilities = append(p.In.Capabilities, device.ShowsCode)
		s := p.start(t, old.handle)
		_, err := s.redeem(old.code)
		must(t, err)
		h.clock.Advance(16 * time.Minute)
		o, err := s.late(0)
		must(t, err)
		arrived := func() (is bool) {
			h.View(func(tx *storage.Tx) error {
				holding, err := recovery.HoldingOf(tx, h.uid(t, "ada"))
				is = holding.Arrived
				return err
			})
			return is
		}
		if arrived() {
			t.Error("the code has arrived before the app called")
		}
		s.phone.Enrolled = &o.Enrolled
		s.phone.Proof()
		if !arrived() {
			t.Error("the code has not arrived with the app's first call")
		}
	})
}

// An admin who suspends a new installation may have found that it is a thief's: it is told nothing again, by no way, though its
// reply was kept a moment ago.
func TestState_OfASuspendedInstallationTellsNothingAgain(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, h *house) {
		h.Set("restore.veto", "off")
		old := h.enroll(t, "ada").backUp(t, "accounts")
		s := h.start(t, old.handle)
		s.restored(t, old.code)
		must(t, h.Admins.Suspend(t.Context(), s.phone.Enrolled.ID, devicetest.Admin))
		proof := s.phone.Sign(map[string]any{"restore": s.ID, "iat": h.clock.Wall().Unix()})
		if _, err := h.restores.State(t.Context(), s.ID, s.Token, proof, from); !errors.Is(err, device.ErrSuspended) {
			t.Errorf("by the proof: %v", err)
		}
		if _, err := s.redeem(old.code); !errors.Is(err, restore.ErrNotReady) {
			t.Errorf("by the code: %v", err)
		}
	})
}
