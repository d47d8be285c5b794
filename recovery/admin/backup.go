package admin

import (
	"context"
	"errors"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Backups returns the user's backups, oldest first.
//
// Errors: user.ErrUnknown.
func (s *Service) Backups(ctx context.Context, userID string) (list []backup.Tracked, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err == nil {
			list, err = backup.List(tx, u.UID)
		}
		return err
	})
	return list, err
}

// Undelete undeletes a backup that the user's phone deleted in the last seven days; see backup.UndeleteByAdmin.
//
// Errors: user.ErrUnknown; ErrRefused; backup.ErrNone.
func (s *Service) Undelete(ctx context.Context, userID, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := find(tx, actor, ChangeFactors, userID)
		if err != nil {
			return err
		}
		undeleted, err := backup.UndeleteByAdmin(tx, u.UID, id)
		if err != nil || !undeleted {
			return err
		}
		event := audit.Event{Type: audit.BackupUndeleted, UID: u.UID, Facts: audit.Facts{audit.FactWhy: audit.WhyAdmin}}
		return errors.Join(
			audit.Record(tx, actor, event, audit.Detail{Backup: id}),
			audit.RecordCall(tx, actor, u.UID))
	})
}

// Restores returns the user's restores of the last day, and the done or vetoed ones of the last thirty days: newest first, at
// most 100.
//
// Errors: user.ErrUnknown.
func (s *Service) Restores(ctx context.Context, userID string) (list []restore.Listed, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err == nil {
			list, err = s.restores.List(tx, u.UID)
		}
		return err
	})
	return list, err
}
