package recovery

import (
	"context"
	"errors"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// AddUser makes a user.
//
// Errors: user.ErrID; user.ErrProfile; user.ErrExists.
func (s *Service) AddUser(ctx context.Context, u user.User, actor audit.Actor) (added user.User, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		made, err := user.Create(tx, u)
		if err != nil {
			return err
		}
		added = *made
		return audit.RecordCall(tx, actor, made.UID)
	})
	return added, err
}

// SetRole gives a user a role.
//
// Errors: user.ErrUnknown; user.ErrRefused.
func (s *Service) SetRole(ctx context.Context, userID string, role user.Role, actor audit.Actor) error {
	facts := audit.Facts{audit.FactCall: audit.CallSetRole, audit.FactRole: audit.Word(role)}
	return s.changeUser(ctx, userID, actor, user.SetRole, facts, func(u *user.User) { u.Role = role })
}

// SetBlocked blocks a user, who is then asked for nothing and let in nowhere, or takes the block back.
//
// Errors: user.ErrUnknown; user.ErrRefused.
func (s *Service) SetBlocked(ctx context.Context, userID string, blocked bool, actor audit.Actor) error {
	facts := audit.Facts{audit.FactCall: audit.CallUnblock}
	if blocked {
		facts[audit.FactCall] = audit.CallBlock
	}
	return s.changeUser(ctx, userID, actor, user.Block, facts, func(u *user.User) { u.Blocked = blocked })
}

func (s *Service) changeUser(ctx context.Context, userID string, actor audit.Actor, action user.Action, facts audit.Facts, change func(*user.User)) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		target, err := user.FindFor(tx, actor, action, userID)
		if err != nil {
			return err
		}
		_, err = user.Change(tx, target.UID, func(u *user.User) error {
			change(u)
			return nil
		})
		tx.Wake(target.UID) // who waits for a login of the user looks again
		e := audit.Event{Type: audit.ManagementCall, UID: target.UID, Facts: facts}
		return errors.Join(err, audit.RecordAccount(tx, actor, e, audit.Detail{}))
	})
}

// Standing is what of a user's recovery an admin may see.
type Standing struct {
	UserID   string
	Email    string
	HasCode  bool    // a recovery code that counts
	Blocks   []Block // channels that are closed or waiting by the limits on guessing
	Receipts []Receipt
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
		if standing.HasCode, err = HasCode(tx, u.UID); err != nil {
			return err
		}
		if standing.Blocks, err = Blocks(tx, u.UID); err != nil {
			return err
		}
		standing.Receipts, err = Receipts(tx, u.UID)
		return err
	})
	return standing, err
}
