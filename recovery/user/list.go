package user

import (
	"context"
	"errors"

	"tutela/storage"
)

// Listed is a user with the uid.
type Listed struct {
	UID storage.UID
	User
}

// List calls fn for the users in the order of their ids, from the id from on, until fn returns false. It is no
// transaction: each user is read as it is when its turn comes.
func List(ctx context.Context, s *storage.Store, from string, fn func(Listed) bool) error {
	var failed error
	err := byID.Peek(ctx, s, from, func(_ string, uid storage.UID, _ string) bool {
		var u *User
		failed = s.View(ctx, func(tx *storage.Tx) (err error) {
			u, err = Get(tx, uid)
			return err
		})
		if errors.Is(failed, ErrUnknown) {
			failed = nil // deleted meanwhile
			return true
		}
		return failed == nil && fn(Listed{UID: uid, User: *u})
	})
	return errors.Join(err, failed)
}
