package admin

import (
	"context"
	"errors"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// AddUser makes a user. It acts on no existing user, so every actor may.
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
// Errors: user.ErrUnknown; ErrRefused.
func (s *Service) SetRole(ctx context.Context, userID string, role user.Role, actor audit.Actor) error {
	facts := audit.Facts{
		audit.FactCall: audit.CallSetRole,
		audit.FactRole: audit.Word(role),
	}
	return s.changeUser(ctx, userID, actor, SetRole, facts, UserChange{Role: &role})
}

// GiveRole is SetRole in an open transaction, for a user whom the caller has read in it. It returns the user as she is then.
//
// Errors: ErrRefused.
func GiveRole(tx *storage.Tx, actor audit.Actor, u *user.User, role user.Role) (*user.User, error) {
	change := UserChange{Role: &role}
	if err := change.may(tx, actor, u); err != nil {
		return nil, err
	}
	after, err := user.Change(tx, u.UID, func(u *user.User) error {
		change.apply(u)
		return nil
	})
	tx.Wake(u.UID)
	facts := audit.Facts{audit.FactCall: audit.CallSetRole, audit.FactRole: audit.Word(role)}
	e := audit.Event{Type: audit.ManagementCall, UID: u.UID, Facts: facts}
	return after, errors.Join(err, audit.RecordAccount(tx, actor, e, audit.Detail{}))
}

// SetBlocked blocks or unblocks a user. A blocked user is asked for nothing and let in nowhere.
//
// Errors: user.ErrUnknown; ErrRefused.
func (s *Service) SetBlocked(ctx context.Context, userID string, blocked bool, actor audit.Actor) error {
	facts := audit.Facts{audit.FactCall: audit.CallUnblock}
	if blocked {
		facts[audit.FactCall] = audit.CallBlock
	}
	return s.changeUser(ctx, userID, actor, Block, facts, UserChange{Blocked: &blocked})
}

func (s *Service) changeUser(ctx context.Context, userID string, actor audit.Actor, action Action, facts audit.Facts, c UserChange) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		target, err := find(tx, actor, action, userID)
		if err != nil {
			return err
		}
		if err := c.keepsOwner(tx, actor, target); err != nil {
			return err
		}
		_, err = user.Change(tx, target.UID, func(u *user.User) error {
			c.apply(u)
			return nil
		})
		if action == Block {
			_, forgotten := recovery.ForgetBrowsers(tx, target.UID)
			err = errors.Join(err, forgotten)
		}
		tx.Wake(target.UID) // callers that wait for a login of the user look again
		e := audit.Event{Type: audit.ManagementCall, UID: target.UID, Facts: facts}
		return errors.Join(err, audit.RecordAccount(tx, actor, e, audit.Detail{}))
	})
}

// Delete removes a user with all her rows except evidence. For an unknown id it does nothing.
//
// Errors: ErrRefused.
func (s *Service) Delete(ctx context.Context, userID string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := find(tx, actor, Remove, userID)
		if errors.Is(err, user.ErrUnknown) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := KeepsOwner(tx, actor, u); err != nil {
			return err
		}
		if err := user.Delete(tx, u.UID); err != nil {
			return err
		}
		// Nothing of the user stays, so the events have no detail.
		bare := actor.WithoutOrigin()
		return errors.Join(
			audit.Record(tx, bare, audit.Event{Type: audit.UserDelete, UID: u.UID}, audit.Detail{}),
			audit.RecordCall(tx, bare, u.UID))
	})
}
