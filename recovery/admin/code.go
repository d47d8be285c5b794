package admin

import (
	"context"
	"errors"

	"tutela/backup/restore"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Regenerate gives the user a new recovery code that an admin sees: it is marked so and counts for 24 hours. The old one
// opens nothing any more, and the user's phones are notified.
//
// Errors: user.ErrUnknown; ErrRefused.
func (s *Service) Regenerate(ctx context.Context, userID string, actor audit.Actor) (code recovery.Code, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := find(tx, actor, ChangeFactors, userID)
		if err != nil {
			return err
		}
		code, err = s.codes.IssueByAdmin(tx, u.UID)
		return errors.Join(err, audit.RecordCall(tx, actor, u.UID))
	})
	return code, err
}

// Unlock opens all the user's channels that are closed or waiting by the limits on guessing, and lifts the vetoes on
// restores.
//
// Errors: user.ErrUnknown; ErrRefused.
func (s *Service) Unlock(ctx context.Context, userID string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := find(tx, actor, Unlock, userID)
		if err != nil {
			return err
		}
		e := audit.Event{
			Type:  audit.ManagementCall,
			UID:   u.UID,
			Facts: audit.Facts{audit.FactCall: audit.CallUnlock},
		}
		return errors.Join(
			recovery.OpenAll(tx, u.UID),
			restore.LiftVetoes(tx, u.UID),
			audit.RecordAccount(tx, actor, e, audit.Detail{}))
	})
}

// Reset removes every record of a user's MFA in one transaction and leaves a receipt. A second reset removes nothing and
// its receipt says so.
//
// Errors: user.ErrUnknown; recovery.ErrReason; recovery.ErrCallerCheck; ErrRefused.
func (s *Service) Reset(ctx context.Context, userID string, req recovery.ResetRequest, actor audit.Actor) (receipt recovery.Receipt, err error) {
	err = req.Validate()
	if err != nil {
		return recovery.Receipt{}, err
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := find(tx, actor, ChangeFactors, userID)
		if err != nil {
			return err
		}
		receipt, err = s.codes.Reset(ctx, tx, u, req, actor)
		return err
	})
	return receipt, err
}

// Standing is what of a user's recovery an admin may see.
type Standing struct {
	UserID   string
	Email    string
	HasCode  bool             // a recovery code that counts
	Blocks   []recovery.Block // channels that are closed or waiting by the limits on guessing
	Receipts []recovery.Receipt
}

// StandingOf returns how a user stands.
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
		standing.Receipts, err = recovery.Receipts(tx, u.UID)
		return err
	})
	return standing, err
}
