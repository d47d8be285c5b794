package audit

import (
	"crypto/rand"
	"errors"

	"tutela/storage"
)

// logKeys are the keys from which the openings of users' events are made: 32 random bytes a user, from the user's creation
// to the deletion. From then on nobody can tie a leaf to an event of theirs. A uid that is no user's has no key.
var logKeys = storage.Declare(storage.Spec[[]byte]{
	Name:   "log_key",
	Class:  storage.Account,
	Most:   1,
	Raw:    true,
	Sealed: func(key *[]byte) []storage.Field { return []storage.Field{{Name: "key", Value: key}} },
})

// EnsureKey gives a user a log key, unless there is one. Whoever makes a user calls it, and whoever changes one, for users
// who are older than their keys. One that is damaged stays where it is, for whoever may repair it.
func EnsureKey(tx *storage.Tx, uid storage.UID) error {
	has, err := logKeys.Has(tx, uid, "")
	if has || errors.Is(err, storage.ErrDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	key := newKey()
	return logKeys.Add(tx, uid, "", &key)
}

func newKey() []byte {
	key := make([]byte, hashBytes)
	_, _ = rand.Read(key) // never fails: see crypto/rand
	return key
}

// openingFor returns the opening of a new event, and the format in which the event is stored with it.
func openingFor(tx *storage.Tx, e Event) (format byte, opening hash, err error) {
	if hidesNothing(e) {
		return storedOpen, openToAll, nil
	}
	key, err := keyOf(tx, e.UID)
	switch {
	case err != nil:
		return 0, hash{}, err
	case key.bytes == nil:
		return storedShut, hash(newKey()), nil
	default:
		return storedOpen, openingOf(key.bytes, e.ID), nil
	}
}

// hidesNothing reports whether everybody may check the event: there is no user, or none any more.
func hidesNothing(e Event) bool { return e.UID.IsZero() || e.Type == UserDelete }

// foundKey is what there is of a user's log key.
type foundKey struct {
	bytes   []byte // nil when there is none that can be read
	damaged bool
}

func keyOf(tx *storage.Tx, uid storage.UID) (foundKey, error) {
	key, err := logKeys.Get(tx, uid, "")
	switch {
	case err == nil:
		return foundKey{bytes: *key}, nil
	case errors.Is(err, storage.ErrNotFound):
		return foundKey{}, nil
	case errors.Is(err, storage.ErrDamaged):
		return foundKey{damaged: true}, nil
	default:
		return foundKey{}, err
	}
}
