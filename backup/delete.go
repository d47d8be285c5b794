package backup

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/audit"
)

// UndeleteFor is how long a deleted backup can be undeleted.
const UndeleteFor = 7 * day

func (b *Backup) deleted() bool { return !b.Deleted.IsZero() }

// over returns when a deleted backup is gone for good; zero while it is not deleted.
func (b *Backup) over() time.Time {
	if !b.deleted() {
		return time.Time{}
	}
	return b.Deleted.Add(UndeleteFor)
}

// Delete deletes the caller's backup. Its handles are then unknown, like handles that never existed, and the phone may begin
// another backup. The versions stay, hidden, for UndeleteFor.
//
// Errors: those of device.Service.Check; ErrNone.
func (s *Service) Delete(ctx context.Context, p device.Proof, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := s.check(tx, p)
		if err != nil {
			return err
		}
		b, _, err := Of(tx, p.UID, e)
		if err != nil {
			return err
		}
		e.Push.BackupID = ""
		b.Deleted = tx.Now()
		b.DeletedBy = e.ID
		b.Undeleted = false
		return errors.Join(
			device.Put(tx, p.UID, e),
			freshHandles.Delete(tx, p.UID, b.ID),
			backups.Put(tx, p.UID, b.ID, b),
			boundDeleted(tx, p.UID, b),
			audit.Record(tx, actor, audit.Event{Type: audit.BackupDeleted, UID: p.UID}, b.detail(e)))
	})
}

// boundDeleted makes room for a backup that was just deleted. The backup with the shortest life goes first: a thief of a phone's
// key can make and delete many backups, but none that lived as long as the owner's.
func boundDeleted(tx *storage.Tx, uid storage.UID, just *Backup) error {
	others, err := deletedOf(tx, uid)
	if err != nil {
		return err
	}
	others = slices.DeleteFunc(others, func(b *Backup) bool { return b.ID == just.ID })
	lived := func(b *Backup) time.Duration { return b.Deleted.Sub(b.Created) }
	slices.SortStableFunc(others, func(a, b *Backup) int { return cmp.Compare(lived(b), lived(a)) })
	for _, b := range others[min(len(others), MostOrphans-1):] {
		err = errors.Join(err, b.drop(tx, uid))
	}
	return err
}

// deletedOf returns a user's deleted backups, the latest deletion first.
func deletedOf(tx *storage.Tx, uid storage.UID) (list []*Backup, err error) {
	all, err := backups.All(tx, uid)
	for _, row := range all {
		if row.Record.deleted() {
			list = append(list, row.Record)
		}
	}
	slices.SortFunc(list, func(a, b *Backup) int { return b.Deleted.Compare(a.Deleted) })
	return list, err
}

// Undelete undeletes the backup that the caller's phone deleted last, with its handles. A repeat of the call does nothing, as
// long as nothing was put meanwhile.
//
// Errors: those of device.Service.Check; ErrNone; ErrAnother, when the phone has begun another backup since.
func (s *Service) Undelete(ctx context.Context, p device.Proof, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := s.check(tx, p)
		if err != nil {
			return err
		}
		now, _, err := Of(tx, p.UID, e)
		if err == nil && now.Undeleted {
			return nil // its first answer was lost
		}
		if err == nil {
			return ErrAnother
		}
		if !errors.Is(err, ErrNone) {
			return err
		}
		list, err := deletedOf(tx, p.UID)
		if err != nil {
			return err
		}
		mine := slices.IndexFunc(list, func(b *Backup) bool { return b.DeletedBy == e.ID })
		if mine < 0 {
			return ErrNone.With("this phone has deleted no backup in the last %d days", UndeleteFor/day)
		}
		b := list[mine]
		return errors.Join(
			b.undelete(tx, p.UID, e),
			audit.Record(tx, actor, audit.Event{Type: audit.BackupUndeleted, UID: p.UID}, b.detail(e)))
	})
}

// undelete undoes a deletion. From now on by writes to the backup; nil means that no phone does.
func (b *Backup) undelete(tx *storage.Tx, uid storage.UID, by *device.Enrollment) (err error) {
	b.Deleted = time.Time{}
	b.DeletedBy = ""
	b.Undeleted = true
	b.Changed = tx.Now()
	if by != nil {
		by.Push.BackupID = b.ID
		err = device.Put(tx, uid, by)
	}
	return errors.Join(err, backups.Put(tx, uid, b.ID, b))
}

// UndeleteByAdmin undeletes a user's backup, with its handles. The phone that deleted it writes to it again. If that phone is
// gone or has begun another backup, no phone writes to it, but it can be restored. A backup that is not deleted stays as it
// is, and undeleted is false.
//
// Errors: ErrNone.
func UndeleteByAdmin(tx *storage.Tx, uid storage.UID, id string) (undeleted bool, err error) {
	b, err := backups.Get(tx, uid, id)
	if errors.Is(err, storage.ErrNotFound) {
		return false, ErrNone.With("there is no such backup; a deleted one can be had back for %d days", UndeleteFor/day)
	}
	if err != nil || !b.deleted() {
		return false, err
	}
	e, err := device.Get(tx, uid, b.DeletedBy)
	if err != nil && !errors.Is(err, device.ErrNoEnrollment) {
		return false, err
	}
	if e != nil && (e.Status == device.Retired || e.Push.BackupID != "") {
		e = nil
	}
	return true, errors.Join(b.undelete(tx, uid, e), boundOrphans(tx, uid))
}
