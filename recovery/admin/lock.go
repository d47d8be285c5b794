package admin

import (
	"context"
	"errors"

	"tutela/backup/restore"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// Unlock ends the waits of the user's wrong codes, brings back all her pushes and ends what she has muted, and lifts the
// vetoes on restores.
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
			login.Unmute(tx, u.UID),
			restore.LiftVetoes(tx, u.UID),
			audit.RecordAccount(tx, actor, e, audit.Detail{}))
	})
}
