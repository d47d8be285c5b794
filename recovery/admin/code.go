package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// ErrCodeChanged reports that the code to be replaced was already replaced by another one.
var ErrCodeChanged = storage.NewError(storage.Conflict, "the user has another recovery code since you looked; a code is shown once")

// Regenerate gives the user a new recovery code that an admin sees, and notifies her phones. The code is marked as seen by an
// admin, and is valid for 24 hours. The old code opens nothing any more. An admin who is signed in needs the scope
// issue:recovery_codes.
//
// Errors: user.ErrUnknown; ErrRefused.
func (s *Service) Regenerate(ctx context.Context, userID string, actor audit.Actor) (code recovery.Code, err error) {
	return s.regenerate(ctx, userID, actor, func(*storage.Tx, storage.UID) error { return nil })
}

// RegenerateOnce is Regenerate, but only while the user's code still has the given mark ([Seen], CodeMark). So a page
// that is sent twice makes one code.
//
// Errors: user.ErrUnknown; ErrRefused; ErrCodeChanged.
func (s *Service) RegenerateOnce(ctx context.Context, userID, mark string, actor audit.Actor) (code recovery.Code, err error) {
	return s.regenerate(ctx, userID, actor, func(tx *storage.Tx, uid storage.UID) error {
		is, err := codeMark(tx, uid)
		if err == nil && is != mark {
			err = ErrCodeChanged
		}
		return err
	})
}

func (s *Service) regenerate(
	ctx context.Context, userID string, actor audit.Actor, before func(*storage.Tx, storage.UID) error,
) (code recovery.Code, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := find(tx, actor, ChangeFactors, userID)
		if err != nil {
			return err
		}
		if actor.IsAdmin() && !actor.Has(ScopeIssueCodes) {
			return refusals[NoCodeScope]
		}
		if err := before(tx, u.UID); err != nil {
			return err
		}
		code, err = s.codes.IssueByAdmin(tx, u.UID)
		return errors.Join(err, audit.RecordCall(tx, actor, u.UID))
	})
	return code, err
}

// codeMark returns a mark that differs for each of the user's codes and opens nothing; "" when she has no valid code.
func codeMark(tx *storage.Tx, uid storage.UID) (string, error) {
	mark, err := recovery.MarkOf(tx, uid)
	if err != nil || mark == "" {
		return "", err
	}
	// The mark is a keyed hash; what is shown of it opens nothing.
	shown := sha256.Sum256([]byte(mark))
	return hex.EncodeToString(shown[:8]), nil
}
