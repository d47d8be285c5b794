package backup

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"tutela/device"
	"tutela/storage"
)

// Version is one generation of a backup.
type Version struct {
	Generation       int64      `json:"generation"`
	Digest           string     `json:"digest"` // hex SHA-256 of the body
	Size             int        `json:"size"`   // bytes of the body
	Items            int        `json:"items"`  // accounts inside, as the phone says
	Provider         Provider   `json:"provider"`
	AutomaticRestore bool       `json:"automatic_restore"` // as the phone said; it decides nothing
	Manifest         string     `json:"manifest"`          // the compact JWS
	Key              device.Key `json:"key"`               // has signed the manifest
	Enrollment       string     `json:"enrollment"`        // id of the one that put it
	Created          time.Time  `json:"created"`
}

var (
	versions = storage.Declare(storage.Spec[Version]{
		Name:  "backup_version",
		Class: storage.MFA,
		Most:  MostGenerations + MostBackups,
	})
	chunks = storage.Declare(storage.Spec[[]byte]{
		Name:  "backup_chunk",
		Class: storage.MFA,
		Most:  (MostGenerations + MostBackups) * (MaxBlobBytes / chunkBytes),
		Raw:   true,
	})
)

// Latest returns the latest version of the caller's backup with its body.
//
// Errors: those of device.Service.Check; ErrNone.
func (s *Service) Latest(ctx context.Context, p device.Proof) (*Version, []byte, error) {
	return s.read(ctx, p, func(b *Backup) int64 { return b.Generation })
}

// Generation returns one version of the caller's backup with its body.
//
// Errors: those of device.Service.Check; ErrNone, also for a generation that is not kept.
func (s *Service) Generation(ctx context.Context, p device.Proof, generation int64) (*Version, []byte, error) {
	return s.read(ctx, p, func(*Backup) int64 { return generation })
}

func (s *Service) read(ctx context.Context, p device.Proof, which func(*Backup) int64) (v *Version, body []byte, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		e, err := s.check(tx, p)
		if err != nil {
			return err
		}
		b, _, err := Of(tx, p.UID, e)
		if err != nil {
			return err
		}
		if v, err = b.version(tx, p.UID, which(b)); err != nil {
			return err
		}
		body, err = b.body(tx, p.UID, v)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return v, body, nil
}

// Generations returns the versions of the caller's backup that are kept, newest first.
//
// Errors: those of device.Service.Check; ErrNone.
func (s *Service) Generations(ctx context.Context, p device.Proof) (list []*Version, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		e, err := s.check(tx, p)
		if err != nil {
			return err
		}
		b, _, err := Of(tx, p.UID, e)
		if err != nil {
			return err
		}
		list, err = b.kept(tx, p.UID)
		slices.Reverse(list)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// version returns one version of the backup.
//
// Errors: ErrNone.
func (b *Backup) version(tx *storage.Tx, uid storage.UID, generation int64) (*Version, error) {
	v, err := versions.Get(tx, uid, generationKey(b.ID, generation))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNone.With("there is no generation %d of the backup", generation)
	}
	return v, err
}

// kept returns the versions that are kept, oldest first.
func (b *Backup) kept(tx *storage.Tx, uid storage.UID) ([]*Version, error) {
	rows, err := versions.Prefixed(tx, uid, b.ID)
	list := make([]*Version, 0, len(rows))
	for _, row := range rows {
		list = append(list, row.Record)
	}
	return list, err
}

// put writes a version and its body in chunks.
func (b *Backup) put(tx *storage.Tx, uid storage.UID, v *Version, body []byte) error {
	err := versions.Insert(tx, uid, generationKey(b.ID, v.Generation), v)
	number := 0
	for chunk := range slices.Chunk(body, chunkBytes) {
		err = errors.Join(err, chunks.Put(tx, uid, chunkKey(b.ID, v.Generation, number), &chunk))
		number++
	}
	return err
}

// body reads a version's body from its chunks.
func (b *Backup) body(tx *storage.Tx, uid storage.UID, v *Version) ([]byte, error) {
	keys := make([]string, v.chunks())
	for number := range keys {
		keys[number] = chunkKey(b.ID, v.Generation, number)
	}
	list, err := chunks.GetMany(tx, uid, keys)
	if err != nil {
		return nil, err
	}
	// A version cannot be read when one of its chunks is missing, for example because it was damaged and set aside.
	body := make([]byte, 0, v.Size)
	for _, chunk := range list {
		if chunk == nil {
			return nil, storage.ErrNotFound
		}
		body = append(body, *chunk...)
	}
	return body, nil
}

// remove removes versions of the backup, with their bodies.
func (b *Backup) remove(tx *storage.Tx, uid storage.UID, list []*Version) (err error) {
	for _, v := range list {
		for number := range v.chunks() {
			err = errors.Join(err, chunks.Delete(tx, uid, chunkKey(b.ID, v.Generation, number)))
		}
		err = errors.Join(err, versions.Delete(tx, uid, generationKey(b.ID, v.Generation)))
	}
	return err
}

// chunks returns how many chunks hold the body.
func (v *Version) chunks() int { return (v.Size + chunkBytes - 1) / chunkBytes }

func chunkKey(backup string, generation int64, number int) string {
	return generationKey(backup, generation) + string(binary.BigEndian.AppendUint16(nil, uint16(number)))
}
