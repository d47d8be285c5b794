package restore

import (
	"context"
	"errors"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/audit"
)

// Veto stops a restore for the old installation, whose person says that it is not hers: for 24 hours no restore of that
// backup goes on, whatever the policy, unless an admin lifts the veto. It may come at any step before the code was right.
// Once more renews it.
//
// Errors: those of device.Service.Check; ErrNone, also for a restore of another backup; ErrNotReady, when it is done.
func (s *Service) Veto(ctx context.Context, p device.Proof, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := s.check(tx, p)
		if err != nil {
			return err
		}
		f, err := s.vetoable(tx, p.UID, e, id)
		if err != nil {
			return err
		}
		// Once more: it is stopped already, and counts from now.
		if !f.Record.Vetoed.IsZero() {
			return vetoes.Put(tx, f.UID, f.Record.Backup, &veto{At: tx.Now()})
		}
		f.Record.Vetoed = tx.Now()
		f.Record.Kept = tx.Now().Add(keptDecided)
		tx.Wake(f.UID)
		detail := audit.Detail{Enrollment: e.ID, Backup: f.Record.Backup}
		return errors.Join(
			vetoes.Put(tx, f.UID, f.Record.Backup, &veto{At: tx.Now()}),
			put(tx, f),
			audit.Record(tx, actor, audit.Event{Type: audit.RestoreVetoed, UID: f.UID}, detail))
	})
}

// vetoable returns a restore of the backup that the enrollment writes to.
func (s *Service) vetoable(tx *storage.Tx, uid storage.UID, e *device.Enrollment, id string) (row, error) {
	f, err := s.byID(tx, id)
	if err != nil {
		return row{}, err
	}
	if f.UID != uid || e.Push.BackupID == "" || f.Record.Backup != e.Push.BackupID {
		return row{}, ErrNone
	}
	if !f.Record.Done.IsZero() {
		return row{}, ErrNotReady.With("the restore is done already")
	}
	// One that another restore has closed is over.
	sc, err := s.scene(tx, uid, f.Record.Backup)
	if err == nil && sc.closed(f.Record) {
		err = ErrNone
	}
	return f, err
}

// check looks at a proof again and takes none by a device token alone.
func (s *Service) check(tx *storage.Tx, p device.Proof) (*device.Enrollment, error) {
	if p.ByToken {
		return nil, device.ErrToken
	}
	return s.devices.Check(tx, p)
}

// LiftVetoes removes all vetoes on restores of the user, and wakes who waits.
func LiftVetoes(tx *storage.Tx, uid storage.UID) error {
	rows, err := vetoes.All(tx, uid)
	for _, row := range rows {
		err = errors.Join(err, vetoes.Delete(tx, uid, row.Key))
	}
	tx.Wake(uid)
	return err
}
