package admin

import (
	"context"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/recovery/user"
	"tutela/storage"
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

// Restores returns the user's restores of the last day, and of the last thirty days those that were done or vetoed: newest
// first, at most 100.
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
