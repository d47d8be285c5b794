package backup

import (
	"context"
	"errors"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/storage"
)

const (
	handleCharacters = 43 // of 62: 256 bits
	handlePurpose    = "restore-handle"
)

// freshHandle is a handle in its plain form, kept for a phone that did not get the answer of its first Put.
type freshHandle struct {
	Handle  []byte    `json:"handle"` // sealed
	Expires time.Time `json:"expires"`
}

// freshHandles lie apart from the backups so that their expiry takes them away. They are no kept replies of package
// recovery: those the enrollment's next authenticated call erases, and a Put that is repeated is one.
var freshHandles = storage.Declare(storage.Spec[freshHandle]{
	Name:    "backup_handle",
	Class:   storage.MFA,
	Expires: func(h *freshHandle) time.Time { return h.Expires },
	Sealed:  func(h *freshHandle) []storage.Field { return []storage.Field{{Name: "handle", Value: &h.Handle}} },
})

// NewHandle draws a restore handle: what an app leaves in the phone's own platform backup, to be found by again.
func NewHandle() string { return storage.NewID("rh_", handleCharacters) }

func (s *Service) hash(handle string) string { return s.ring.Hash(handlePurpose, []byte(handle)) }

// Find returns the backup under a handle, its owner, and the keyed hash by which it is found. Without a backup b is nil, the
// owner is stranger, and the hash is that of the handle. It computes the same hashes and does the same on the store
// whether the handle is known, was known, or never was, so its time tells nothing.
func (s *Service) Find(tx *storage.Tx, handle string, stranger storage.UID) (owner storage.UID, b *Backup, hash string, err error) {
	hashes := s.ring.Hashes(handlePurpose, []byte(handle))
	owner = stranger
	hash = hashes[0]
	for _, h := range hashes {
		row, err := byHash.Find(tx, h)
		if errors.Is(err, storage.ErrNotFound) {
			_, err = backups.Has(tx, stranger, h) // the row that the index would have led to
		} else if err == nil {
			owner = row.UID
			b = row.Record
			hash = h
		}
		if err != nil {
			return owner, nil, "", err
		}
	}
	return owner, b, hash, nil
}

// NewHandle gives the caller's backup a new restore handle; the old one is dead from the commit on.
//
// Errors: those of device.Service.Check; ErrNone.
func (s *Service) NewHandle(ctx context.Context, p device.Proof) (string, error) {
	handle := NewHandle()
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := s.check(tx, p)
		if err != nil {
			return err
		}
		b, _, err := Of(tx, p.UID, e)
		if err != nil {
			return err
		}
		// A handle that is kept in plain form for a repeated Put is the old one.
		b.Handle = s.hash(handle)
		return errors.Join(freshHandles.Delete(tx, p.UID, b.ID), backups.Put(tx, p.UID, b.ID, b))
	})
	if err != nil {
		return "", err
	}
	return handle, nil
}

// keepFresh keeps a new handle for the Put that is repeated.
func (b *Backup) keepFresh(tx *storage.Tx, uid storage.UID, handle string) error {
	h := &freshHandle{Handle: []byte(handle), Expires: tx.Now().Add(recovery.ReplyLife)}
	return freshHandles.Put(tx, uid, b.ID, h)
}

// fresh returns the handle that keepFresh kept, or "".
func (b *Backup) fresh(tx *storage.Tx, uid storage.UID) (string, error) {
	h, err := freshHandles.Get(tx, uid, b.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return string(h.Handle), nil
}
