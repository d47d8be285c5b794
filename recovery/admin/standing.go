package admin

import (
	"context"

	"tutela/backup/restore"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
)

// Standing is what an admin may see of a user's recovery.
type Standing struct {
	UserID   string
	Email    string
	HasCode  bool                   // the user has a valid recovery code
	Blocks   []recovery.Block       // channels that are closed or waiting by the limits on guessing
	Mutes    []login.Mute           // places whose logins ring no phone, since she said that it was not her
	Spent    []login.Spent          // buckets of pushes that are empty
	Vetoes   []restore.VetoedBackup // backups that a veto keeps from being restored
	Receipts []recovery.Receipt
}

// StandingOf returns the standing of a user.
//
// Errors: user.ErrUnknown.
func (s *Service) StandingOf(ctx context.Context, userID string) (standing Standing, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		standing = Standing{UserID: u.ID, Email: u.Email}
		standing.HasCode, err = recovery.HasCode(tx, u.UID)
		if err != nil {
			return err
		}
		standing.Blocks, err = recovery.Blocks(tx, u.UID)
		if err != nil {
			return err
		}
		standing.Mutes, err = login.Mutes(tx, u.UID)
		if err != nil {
			return err
		}
		standing.Spent, err = login.SpentBuckets(tx, u.UID)
		if err != nil {
			return err
		}
		standing.Vetoes, err = restore.Vetoes(tx, u.UID)
		if err != nil {
			return err
		}
		standing.Receipts, err = recovery.Receipts(tx, u.UID)
		return err
	})
	return standing, err
}
