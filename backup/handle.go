package backup

import (
	"context"
	"errors"
	"slices"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

const (
	handleCharacters = 43 // of 62: 256 bits
	handlePurpose    = "restore-handle"
)

// freshHandle is a handle in plain form, kept for a phone that did not get the answer to its first Put.
type freshHandle struct {
	Handle  []byte    `json:"handle"` // sealed
	Expires time.Time `json:"expires"`
}

// freshHandles lie apart from the backups so that they expire by themselves. They cannot be kept replies of package
// recovery: the enrollment's next authenticated call erases those, and a repeated Put is such a call.
var freshHandles = storage.Declare(storage.Spec[freshHandle]{
	Name:    "backup_handle",
	Class:   storage.MFA,
	Most:    MostBackups,
	Expires: func(h *freshHandle) time.Time { return h.Expires },
	Sealed:  func(h *freshHandle) []storage.Field { return []storage.Field{{Name: "handle", Value: &h.Handle}} },
})

// NewHandle draws a restore handle. An app leaves it in the phone's own platform backup, and later finds its backup by it.
func NewHandle() string { return storage.NewID("rh_", handleCharacters) }

func (s *Service) hash(handle string) string { return s.ring.Hash(handlePurpose, []byte(handle)) }

// Find returns the backup under a handle, its owner, and the keyed hash under which the backup lies. When there is none, b is
// nil, the owner is stranger, and the hash is the handle's. Find computes the same hashes and makes the same reads whether
// the handle is known, was known, or never existed, so its time reveals nothing.
func (s *Service) Find(tx *storage.Tx, handle string, stranger storage.UID) (owner storage.UID, b *Backup, hash string, err error) {
	hashes := s.ring.Hashes(handlePurpose, []byte(handle))
	owner = stranger
	hash = hashes[0]
	for _, h := range hashes {
		row, err := byHash.Find(tx, h)
		if errors.Is(err, storage.ErrNotFound) {
			_, err = backups.Has(tx, stranger, h) // the row that the index would have led to
		} else if err == nil && row.Record.Finds(h, tx.Now()) {
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

// EarlierHandle is a handle that a newer one has replaced.
type EarlierHandle struct {
	Hash  string    `json:"hash"`  // keyed
	Until time.Time `json:"until"` // before that time it finds the backup
}

// How many earlier handles still find a backup, and for how long. A platform makes its backups when it likes: last night's
// holds yesterday's handle.
const (
	earlierFor  = 30 * 24 * time.Hour
	mostEarlier = 3
)

// renewHandle replaces the backup's handle. The old one still finds the backup for a time.
func (b *Backup) renewHandle(now time.Time, hash string) {
	earlier := append([]EarlierHandle{{b.Handle, now.Add(earlierFor)}}, b.Earlier...)
	over := func(h EarlierHandle) bool { return !now.Before(h.Until) }
	earlier = slices.DeleteFunc(earlier, over)
	b.Earlier = earlier[:min(len(earlier), mostEarlier)]
	b.Handle = hash
}

// hashes returns the hashes by which the index finds the backup; none when it is deleted.
func (b *Backup) hashes() []string {
	if b.deleted() {
		return nil
	}
	hashes := []string{b.Handle}
	for _, h := range b.Earlier {
		hashes = append(hashes, h.Hash)
	}
	return hashes
}

// Finds reports whether the backup is found under the handle with this keyed hash, as of now.
func (b *Backup) Finds(hash string, now time.Time) bool {
	if b.deleted() {
		return false
	}
	current := func(h EarlierHandle) bool { return h.Hash == hash && now.Before(h.Until) }
	return hash == b.Handle || slices.ContainsFunc(b.Earlier, current)
}

// NewHandle gives the caller's backup a new restore handle, and notifies the user's phones. Three earlier handles still find
// the backup, for 30 days each. With revoke, no earlier handle finds it after the commit.
//
// Errors: those of device.Service.Check; ErrNone; device.ErrTooOften.
func (s *Service) NewHandle(ctx context.Context, p device.Proof, revoke bool, actor audit.Actor) (string, error) {
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
		if err := device.CountCall(tx, p.UID, e, device.MakeHandle); err != nil {
			return err
		}
		b.renewHandle(tx.Now(), s.hash(handle))
		event := audit.Event{Type: audit.BackupHandle, UID: p.UID}
		if revoke {
			b.Earlier = nil
			event.Facts = audit.Facts{audit.FactEarlier: audit.EarlierRevoked}
		}
		// The handle that is kept in plain form for a repeated Put has just been replaced.
		return errors.Join(
			freshHandles.Delete(tx, p.UID, b.ID),
			backups.Put(tx, p.UID, b.ID, b),
			recovery.Notify(tx, p.UID, recovery.NoticePayload{Notice: recovery.NoticeHandleChanged}),
			audit.Record(tx, actor, event, b.detail(e)))
	})
	if err != nil {
		return "", err
	}
	return handle, nil
}

// Rehandle gives a backup another restore handle, as NewHandle does. The caller has checked that this is allowed.
func (s *Service) Rehandle(tx *storage.Tx, uid storage.UID, b *Backup, handle string) error {
	b.renewHandle(tx.Now(), s.hash(handle))
	return errors.Join(freshHandles.Delete(tx, uid, b.ID), backups.Put(tx, uid, b.ID, b))
}

// keepFresh keeps a new handle for a repeated Put.
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
