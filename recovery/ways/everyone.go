package ways

import (
	"context"
	"errors"

	"tutela/recovery/user"
	"tutela/storage"
)

// everyone is written once all users are counted. Those of an earlier release were not.
type everyone struct{}

var everyones = storage.Declare(storage.Spec[everyone]{Name: "recoverability_index", Class: storage.Settings})

// EveryoneCounted reports whether all users are counted.
func EveryoneCounted(tx *storage.Tx) (bool, error) {
	return everyones.Has(tx, storage.House, record)
}

// CountEveryone writes down what is known of all users, once. known returns that for one of them, nil when she is new. A user who is new
// has nothing to count, so a store without users is done at once.
func CountEveryone(ctx context.Context, s *storage.Store, known func(tx *storage.Tx, uid storage.UID) (*All, error)) error {
	done := false
	err := s.View(ctx, func(tx *storage.Tx) (err error) {
		done, err = EveryoneCounted(tx)
		return err
	})
	if err != nil || done {
		return err
	}
	uids, err := user.UIDs(ctx, s)
	if err != nil {
		return err
	}
	err = s.UpdateEach(ctx, len(uids), func(tx *storage.Tx, i int) error {
		all, err := known(tx, uids[i])
		if errors.Is(err, user.ErrUnknown) || err == nil && all == nil {
			return nil
		}
		if err != nil {
			return err
		}
		return Write(tx, uids[i], *all)
	})
	if err != nil {
		return err
	}
	return s.Update(ctx, func(tx *storage.Tx) error { return everyones.Put(tx, storage.House, record, &everyone{}) })
}
