package restore

import (
	"context"
	"errors"
	"time"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/audit"
)

// vetoWindow is how long, after its first, a phone's vetoes on a restore are counted and recorded as one event.
const vetoWindow = time.Hour

// Veto stops a restore because the person says, on any active phone of the user, that the restore is not hers. For 24
// hours no restore of that backup can go on, regardless of the policy and of the old installation's allowance, unless
// an admin lifts the veto. A veto is possible until the restore is done. Another call renews it. It still holds when
// its phone is suspended later.
//
// Errors: those of device.Service.Check; ErrNone, also for a restore of another user; ErrNotReady, when the restore is done.
func (s *Service) Veto(ctx context.Context, p device.Proof, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, f, _, err := s.heard(tx, p, id)
		if err != nil {
			return err
		}
		tx.Count(WentOn, wentVetoed)
		f.Record.Vetoed = tx.Now()
		f.Record.Kept = tx.Now().Add(keptDecided)
		tx.Wake(f.UID)
		event := audit.Event{Type: audit.RestoreVetoed, UID: f.UID}
		detail := audit.Detail{Device: e.Name, Enrollment: e.ID, Backup: f.Record.Backup}
		return errors.Join(
			raise(tx, f, e.ID),
			put(tx, f),
			audit.FoldRepeats(tx, actor, event, detail, e.ID+f.Key, vetoWindow))
	})
}

// Allow ends the wait of a restore because the person says, on the old installation, that the restore is hers. That
// installation must be active. The restore still asks for the code. Calling it again is no error.
//
// Errors: those of device.Service.Check; ErrNone, also for a restore of another backup than the caller's; ErrNotReady, when
// the restore asks for no code: it is done, or was vetoed.
func (s *Service) Allow(ctx context.Context, p device.Proof, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, f, sc, err := s.heard(tx, p, id)
		if err != nil {
			return err
		}
		if e.Push.BackupID == "" || f.Record.Backup != e.Push.BackupID {
			return ErrNone
		}
		if d := Decide(sc.of(f.Record)); d.Step != StepRecoveryCode {
			return ErrNotReady.With("the restore's step is %s: %s", d.Step, d.Reason)
		}
		if !f.Record.Allowed.IsZero() {
			return nil
		}
		tx.Count(WentOn, wentAllowed)
		f.Record.Allowed = tx.Now()
		tx.Wake(f.UID)
		detail := audit.Detail{Device: e.Name, Enrollment: e.ID, Backup: f.Record.Backup}
		return errors.Join(put(tx, f), audit.Record(tx, actor, audit.Event{Type: audit.RestoreAllowed, UID: f.UID}, detail))
	})
}

// heard returns the phone that a veto or an allowance comes from, and the restore, which must be of the same user.
//
// Errors: those of device.Service.Check; ErrNone; ErrNotReady, when it is done.
func (s *Service) heard(tx *storage.Tx, p device.Proof, id string) (*device.Enrollment, row, *scene, error) {
	e, err := s.check(tx, p)
	if err != nil {
		return nil, row{}, nil, err
	}
	f, err := s.byID(tx, id)
	if err == nil && f.UID != p.UID {
		err = ErrNone
	}
	if err != nil {
		return nil, row{}, nil, err
	}
	if !f.Record.Done.IsZero() {
		return nil, row{}, nil, ErrNotReady.With("the restore is done already")
	}
	// A restore is over when another one has closed it.
	sc, err := s.scene(tx, f.UID, f.Record.Backup)
	if err == nil && sc.closed(f.Record) {
		err = ErrNone
	}
	return e, f, sc, err
}

// check checks a proof again, and refuses one by a device token alone.
func (s *Service) check(tx *storage.Tx, p device.Proof) (*device.Enrollment, error) {
	if p.ByToken {
		return nil, device.ErrToken
	}
	return s.devices.Check(tx, p)
}
