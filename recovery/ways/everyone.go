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
// has nothing to count, so a store without users is done at once. A user with a row that is damaged is stepped past, and is not counted
// until something of her changes that can be read; damage to what is kept of all users ends it.
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
		if err == nil && all != nil {
			err = checkReadable(tx, uids[i])
		}
		if errors.Is(err, user.ErrUnknown) || errors.Is(err, storage.ErrDamaged) || err == nil && all == nil {
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

// checkReadable reads what Write changes of a user alone: so damage that Write meets is not hers.
//
// Errors: storage.ErrDamaged.
func checkReadable(tx *storage.Tx, uid storage.UID) error {
	_, _, err := read(tx, uid)
	if err != nil {
		return err
	}
	_, err = dues.Get(tx, uid, record)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}
