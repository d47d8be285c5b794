package admin

import (
	"context"
	"errors"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// ForgetBrowsers forgets the remembered browsers of a user: each is asked again at its next login.
//
// Errors: user.ErrUnknown; ErrRefused.
func (s *Service) ForgetBrowsers(ctx context.Context, userID string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := find(tx, actor, Unlock, userID)
		if err != nil {
			return err
		}
		_, err = recovery.ForgetBrowsers(tx, u.UID)
		e := audit.Event{
			Type:  audit.ManagementCall,
			UID:   u.UID,
			Facts: audit.Facts{audit.FactCall: audit.CallForgetBrowsers},
		}
		return errors.Join(err, audit.RecordAccount(tx, actor, e, audit.Detail{}))
	})
}
