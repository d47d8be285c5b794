package admin

import (
	"context"
	"errors"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// Regenerate gives the user a new recovery code that an admin sees, and notifies her phones. The code is marked as seen by an
// admin, and is valid for 24 hours. The old code opens nothing any more.
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
