package restore

import (
	"context"
	"errors"
	"time"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/audit"
)

// vetoWindow is how long the vetoes of a phone on a restore that follow its first are counted, and recorded as one event.
const vetoWindow = time.Hour

// Veto stops a restore for any of the user's phones that is active, whose person says that it is not hers: for 24 hours no
// restore of that backup goes on, whatever the policy and whatever was allowed, unless an admin lifts the veto. It may come at
// any step before the code was right. Once more renews it. It stands when its phone is suspended later.
//
// Errors: those of device.Service.Check; ErrNone, also for a restore of another user; ErrNotReady, when it is done.
func (s *Service) Veto(ctx context.Context, p device.Proof, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, f, _, err := s.heard(tx, p, id)
		if err != nil {
			return err
		}
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

// Allow has the old installation, while it is active, end the wait of a restore: its person says that it is hers. The code is
// asked for all the same. Once more is no error.
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
		f.Record.Allowed = tx.Now()
		tx.Wake(f.UID)
		detail := audit.Detail{Device: e.Name, Enrollment: e.ID, Backup: f.Record.Backup}
		return errors.Join(put(tx, f), audit.Record(tx, actor, audit.Event{Type: audit.RestoreAllowed, UID: f.UID}, detail))
	})
}

// heard returns the phone that has its say about a restore of its user's, and that restore.
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
	// One that another restore has closed is over.
	sc, err := s.scene(tx, f.UID, f.Record.Backup)
	if err == nil && sc.closed(f.Record) {
		err = ErrNone
	}
	return e, f, sc, err
}

// check looks at a proof again and takes none by a device token alone.
func (s *Service) check(tx *storage.Tx, p device.Proof) (*device.Enrollment, error) {
	if p.ByToken {
		return nil, device.ErrToken
	}
	return s.devices.Check(tx, p)
}
