package restore

import (
	"context"
	"errors"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Veto is the old installation's word that a restore of its backup is not the user's doing: for 24 hours no restore of
// that backup goes on, whatever the policy, until an admin lifts the veto. It may come at any step before the code was
// right. Once more is no error.
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
		if !f.Vetoed.IsZero() {
			return vetoes.Put(tx, f.uid, f.Backup, &veto{At: tx.Now()})
		}
		f.Vetoed, f.Kept = tx.Now(), tx.Now().Add(keptDecided)
		tx.Wake(f.uid)
		detail := audit.Detail{Enrollment: e.ID, Backup: f.Backup}
		return errors.Join(
			vetoes.Put(tx, f.uid, f.Backup, &veto{At: tx.Now()}),
			f.put(tx),
			audit.Record(tx, actor, audit.Event{Type: audit.RestoreVetoed, UID: f.uid}, detail))
	})
}

// vetoable returns a restore of the backup that the enrollment writes to.
func (s *Service) vetoable(tx *storage.Tx, uid storage.UID, e *device.Enrollment, id string) (*found, error) {
	f, err := s.byID(tx, id)
	if err != nil {
		return nil, err
	}
	if f.uid != uid || e.Push.BackupID == "" || f.Backup != e.Push.BackupID {
		return nil, ErrNone
	}
	if !f.Done.IsZero() {
		return nil, ErrNotReady.With("the restore is done already")
	}
	sc, err := s.scene(tx, uid, f.Backup)
	if err == nil && sc.closed(f.restore) {
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

// LiftVetoes takes back all vetoes on restores of the user.
func LiftVetoes(tx *storage.Tx, uid storage.UID) error {
	rows, err := vetoes.All(tx, uid)
	for _, row := range rows {
		err = errors.Join(err, vetoes.Delete(tx, uid, row.Key))
	}
	tx.Wake(uid)
	return err
}

// Unblock opens all the user's channels that are closed or waiting by the limits on guessing, and lifts the vetoes on
// restores.
//
// Errors: user.ErrUnknown; user.ErrRefused.
func (s *Service) Unblock(ctx context.Context, userID string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		uid, _, err := user.FindFor(tx, actor, user.Unlock, userID)
		if err != nil {
			return err
		}
		event := audit.Event{Type: audit.ManagementCall, UID: uid, Facts: audit.Facts{audit.FactCall: audit.CallUnlock}}
		return errors.Join(
			recovery.OpenAll(tx, uid),
			LiftVetoes(tx, uid),
			audit.Record(tx, actor, event, audit.Detail{}))
	})
}
