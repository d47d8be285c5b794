package audit

import (
	"crypto/rand"
	"errors"

	"tutela/storage"
)

// logKeys holds 32 random bytes for each user, from creation to deletion. The openings of the user's events are made
// from them (see leaf.go). Once the key is deleted, nobody can tie a leaf to an event of that user. A uid that is no
// user's has no key.
var logKeys = storage.Declare(storage.Spec[[]byte]{
	Name:   "log_key",
	Class:  storage.Account,
	Most:   1,
	Raw:    true,
	Sealed: func(key *[]byte) []storage.Field { return []storage.Field{{Name: "key", Value: key}} },
})

// EnsureKey gives a user a log key, unless there is one. Call it where a user is created, and also where one is
// changed, since users of earlier releases have no key. A damaged key stays where it is, so that it may be repaired.
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

// hidesNothing reports whether everybody may check the event, because it has no user or reports the user's deletion.
func hidesNothing(e Event) bool { return e.UID.IsZero() || e.Type == UserDelete }

// foundKey is a user's log key as it was found.
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
