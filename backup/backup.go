// Package backup keeps the backups with which an app comes back after a reinstall: the tracked state of a platform backup,
// and an end-to-end encrypted blob in numbered versions.
//
// Four things always hold:
//
//   - The versions of a backup are numbered from 1 without a gap up to Backup.Generation. The newest are kept, and some
//     of the days and weeks before (see superfluous). Each names its parent by digest, so a phone that remembers one
//     sees a server that was rolled back. Put alone writes versions, and compares before it writes, in one transaction.
//   - An enrollment writes to one backup, which the enrollment's row names; no two that are not retired name the same.
//     Put, Delete, Undelete and Move keep it so, and package device when it hands a backup on.
//   - A backup stays until Delete or a reset, whatever becomes of its enrollment, and its handles restore it. Of the backups
//     to which no phone writes, only the newest [MostOrphans] stay. A deleted backup is hidden, and stays for [UndeleteFor].
//   - The store keeps the handles as keyed hashes. It keeps the plain form of a new one sealed, apart, for 15 minutes.
package backup

import (
	"encoding/binary"
	"errors"
	"time"

	"tutela/device"
	"tutela/recovery/ways"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/setting"
)

// The sizes of a blob, in bytes.
const (
	chunkBytes   = 64 << 10
	minMaxBytes  = 1 << 10
	fallbackMax  = 256 << 10
	MaxBlobBytes = 1 << 20 // no setting allows more
)

var (
	maxBytes = setting.Int("backup.max_bytes", "how many bytes a backup may have", fallbackMax, minMaxBytes, MaxBlobBytes)
	keep     = setting.Int("backup.keep", "how many generations of a backup are kept, beside those of days and weeks", 10, 1, 100)
)

// Backup is one backup of a user. Its versions hold the content.
type Backup struct {
	ID         string          `json:"id"`                // bkp_ and 16 characters
	Handle     string          `json:"handle"`            // keyed hash of the restore handle
	Earlier    []EarlierHandle `json:"earlier,omitempty"` // newest first, mostEarlier at most
	Generation int64           `json:"generation"`        // of the latest version
	Moves      int             `json:"moves,omitempty"`   // how many restores succeeded: each closes the other open ones
	Created    time.Time       `json:"created"`
	Changed    time.Time       `json:"changed"`              // when it was last put, moved or undeleted
	Deleted    time.Time       `json:"deleted,omitzero"`     // it is hidden, until it is undeleted or gone for good
	DeletedBy  string          `json:"deleted_by,omitempty"` // the enrollment that deleted it
	Undeleted  bool            `json:"undeleted,omitempty"`  // undeleted, and not put since: another Undelete is a repeat
}

const (
	idPrefix     = "bkp_"
	idCharacters = 16
)

// NewID draws a backup's id.
func NewID() string { return storage.NewID(idPrefix, idCharacters) }

var (
	backups = storage.Declare(storage.Spec[Backup]{
		Name:    "backup",
		Class:   storage.MFA,
		Most:    MostBackups,
		Expires: (*Backup).over,
		Swept:   dropVersions,
		Changed: func(tx *storage.Tx, uid storage.UID, id string, before, after *Backup) error {
			if before.putOn().Equal(after.putOn()) {
				return nil
			}
			return ways.NoteBackup(tx, uid, id, after.putOn())
		},
	})
	byHash = backups.Unique("handle", (*Backup).hashes)
)

// Errors of backups. A Put whose generation does not follow gets a [*Conflict].
var (
	ErrNone     = storage.NewError(storage.NotFound, "there is no backup")
	ErrInvalid  = storage.NewError(storage.Invalid, "the backup is not valid")
	ErrConflict = storage.NewError(storage.Conflict, "another generation of the backup is there")
	ErrAnother  = storage.NewError(storage.Conflict,
		"the phone has begun another backup since: delete that one first, or ask an admin for the deleted one")
	ErrShrinks = storage.NewError(storage.Conflict,
		"this backup has none or under half of the accounts of the one before; say that it is meant to shrink")
	ErrTooLarge = storage.NewError(storage.Exhausted, "the backup is too large")
)

// Service is the use cases of backups. Safe for concurrent use.
type Service struct {
	store   *storage.Store
	ring    *keyring.Ring
	devices *device.Service
}

// New makes the service.
func New(store *storage.Store, ring *keyring.Ring, devices *device.Service) *Service {
	return &Service{store: store, ring: ring, devices: devices}
}

// Get returns a user's backup.
//
// Errors: ErrNone, also for a deleted one.
func Get(tx *storage.Tx, uid storage.UID, id string) (*Backup, error) {
	b, err := backups.Get(tx, uid, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && b.deleted() {
		return nil, ErrNone
	}
	return b, err
}

// Of returns the backup that an enrollment writes to, with its latest version.
//
// Errors: ErrNone.
func Of(tx *storage.Tx, uid storage.UID, e *device.Enrollment) (*Backup, *Version, error) {
	if e.Push.BackupID == "" {
		return nil, nil, ErrNone
	}
	b, err := Get(tx, uid, e.Push.BackupID)
	if err != nil {
		return nil, nil, err
	}
	v, err := b.version(tx, uid, b.Generation)
	return b, v, err
}

// Latest returns the latest version of a backup.
func (b *Backup) Latest(tx *storage.Tx, uid storage.UID) (*Version, error) {
	return b.version(tx, uid, b.Generation)
}

// Installation returns the user's enrollment that writes to a backup and is not retired; nil when there is none.
func Installation(tx *storage.Tx, uid storage.UID, id string) (*device.Enrollment, error) {
	set, err := device.All(tx, uid)
	for _, e := range set.Installations() {
		if e.Push.BackupID == id {
			return e, err
		}
	}
	return nil, err
}

// Move hands a backup from one installation to another: from now on to writes to it, under a new handle beside the earlier
// ones, and every open restore of it is closed. The caller has checked that this is allowed. from is nil when the old
// installation is already gone; otherwise Move takes the backup's name out of from, and the caller writes from.
func (s *Service) Move(tx *storage.Tx, uid storage.UID, b *Backup, from, to *device.Enrollment, handle string) error {
	if from != nil {
		from.Push.BackupID = ""
	}
	to.Push.BackupID = b.ID
	b.renewHandle(tx.Now(), s.hash(handle))
	b.Undeleted = false
	b.Moves++
	b.Changed = tx.Now()
	return errors.Join(
		device.Put(tx, uid, to),
		freshHandles.Delete(tx, uid, b.ID),
		backups.Put(tx, uid, b.ID, b))
}

// check checks a proof again. It refuses one by a device token alone, which a thief may have from a platform backup.
func (s *Service) check(tx *storage.Tx, p device.Proof) (*device.Enrollment, error) {
	if p.ByToken {
		return nil, device.ErrToken
	}
	return s.devices.Check(tx, p)
}

// detail returns what an event says about the backup and the phone that writes to it.
func (b *Backup) detail(e *device.Enrollment) audit.Detail {
	return audit.Detail{Device: e.Name, Enrollment: e.ID, Backup: b.ID}
}

// generationBytes is how many bytes a generation takes in a key.
const generationBytes = 8

// generationKey returns the key of a version, in which generations sort as numbers.
func generationKey(backup string, generation int64) string {
	return backup + string(binary.BigEndian.AppendUint64(nil, uint64(generation)))
}
