package backup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/audit"
)

// Precondition says what a Put expects to find: no backup, or one generation. A valid one says exactly one of the two.
//
// Source: RFC 9110 §13.1 (If-None-Match: *; If-Match).
type Precondition struct {
	None  bool
	Match *int64
}

// noGeneration stands for a tag that names no generation of ours.
const noGeneration = -1

// ParsePrecondition reads the two header fields, which are empty when absent. An If-Match that names no generation of ours
// matches none; an If-None-Match other than * is ignored. It also accepts a tag that a compressing proxy has rewritten: the
// tag only names a generation, and the manifest proves the bytes.
func ParsePrecondition(ifMatch, ifNoneMatch string) Precondition {
	p := Precondition{None: strings.TrimSpace(ifNoneMatch) == "*"}
	tag := strings.TrimSpace(ifMatch)
	if tag == "" {
		return p
	}
	match := int64(noGeneration)
	tag = strings.TrimPrefix(tag, "W/")
	for _, coding := range []string{"-gzip", "-br", "-deflate", "-zstd"} {
		if plain, ok := strings.CutSuffix(tag, coding+`"`); ok {
			tag = plain + `"`
			break
		}
	}
	if n, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64); err == nil && tag == ETag(n) {
		match = n
	}
	p.Match = &match
	return p
}

// ETag returns the entity tag of a generation.
func ETag(generation int64) string { return `"` + strconv.FormatInt(generation, 10) + `"` }

func (p Precondition) valid() bool { return p.None != (p.Match != nil) }

// holds reports whether the precondition holds when the latest generation is generation; 0 means that there is none.
func (p Precondition) holds(generation int64) bool {
	if p.None {
		return generation == 0
	}
	return *p.Match == generation && generation > 0
}

// Conflict reports a Put whose generation does not follow. It wraps ErrConflict, and names the latest generation.
type Conflict struct {
	Generation int64  // of the latest version; 0: there is none
	Manifest   string // its compact JWS
}

// Error names the latest generation.
func (c *Conflict) Error() string {
	if c.Generation == 0 {
		return "there is no backup yet: send the first one with If-None-Match: *"
	}
	return fmt.Sprintf("the latest generation of the backup is %d", c.Generation)
}

// Unwrap returns ErrConflict.
func (c *Conflict) Unwrap() error { return ErrConflict }

// PutRequest is one version as a phone sends it.
type PutRequest struct {
	Precondition Precondition
	Manifest     string // compact JWS by the device key
	Body         []byte // ciphertext; empty for a platform's backup
}

// Stored is the answer to a Put.
type Stored struct {
	Generation int64
	Digest     string // hex SHA-256 of the body
	Created    time.Time
	Handle     string // the restore handle; with generation 1 only, and to a repeat for 15 minutes
}

// Put adds the next version to the caller's backup. The first version makes the backup. A repeat of a Put gets the same
// answer.
//
// Errors, the first that applies: those of device.Service.Check; ErrInvalid (no precondition or two, a manifest that does
// not parse); *Conflict; ErrInvalid (body and manifest differ, the signature is not by this device's key, the parent
// does not chain); ErrShrinks; ErrTooLarge; device.ErrTooOften.
func (s *Service) Put(ctx context.Context, p device.Proof, req PutRequest, actor audit.Actor) (*Stored, error) {
	next, err := s.examine(ctx, p, req)
	if err != nil {
		return nil, err
	}
	var stored *Stored
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := s.check(tx, p)
		if err != nil {
			return err
		}
		b, latest, err := Of(tx, p.UID, e)
		if err != nil && !errors.Is(err, ErrNone) {
			return err
		}
		// The phone repeats its Put: the first answer was lost.
		if latest != nil && latest.Manifest == req.Manifest && latest.Digest == next.digest {
			stored, err = b.stored(tx, p.UID, latest)
			return err
		}
		if err := next.refuse(tx, e, latest); err != nil {
			return err
		}
		if err := device.CountCall(tx, p.UID, e, device.AcceptBackup); err != nil {
			return err
		}
		stored, err = s.add(tx, p.UID, e, b, next, actor)
		return err
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

// candidate is a version to be added, with everything that can be checked without a transaction.
type candidate struct {
	PutRequest
	manifest   *manifest // nil when it does not parse
	unparsed   error     // why the manifest does not parse
	unverified error     // why its signature is not by the device's key
	digest     string    // of the body
	first      string    // the handle, if this is the first version of a backup
	id         string    // id of that backup
}

// examine verifies the signature outside the writing transaction, so that nobody waits for it. It uses the key of the proof:
// the transaction checks the proof again, and so also that the key is still the same.
func (s *Service) examine(ctx context.Context, p device.Proof, req PutRequest) (*candidate, error) {
	var key device.Key
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		e, err := s.check(tx, p)
		if err == nil {
			key = e.Push.Key
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	next := &candidate{
		PutRequest: req,
		digest:     digest(req.Body),
		first:      NewHandle(),
		id:         NewID(),
	}
	if next.manifest, next.unparsed = parseManifest(req.Manifest); next.unparsed == nil {
		_, next.unverified = key.VerifyUpTo(req.Manifest, maxManifestBytes)
	}
	return next, nil
}

// refuse returns the first reason to refuse a version, in the protocol's order; nil when there is none.
func (c *candidate) refuse(tx *storage.Tx, e *device.Enrollment, latest *Version) error {
	if latest == nil {
		latest = &Version{}
	}
	m := c.manifest
	switch {
	case !c.Precondition.valid():
		return ErrInvalid.With("a backup is sent with one of If-None-Match: * and If-Match")
	case c.unparsed != nil:
		return c.unparsed
	case !c.Precondition.holds(latest.Generation) || *m.Generation != latest.Generation+1:
		return &Conflict{Generation: latest.Generation, Manifest: latest.Manifest}
	}
	// The caller knows the latest version. Now its claims about the new version must be true.
	if err := c.mismatch(e, latest); err != nil {
		return err
	}
	if had := latest.accounts(); had >= fewItems && m.accounts()*2 < had && !m.Shrink {
		return ErrShrinks
	}
	most, err := maxBytes.Get(tx)
	if err == nil && len(c.Body) > most {
		err = ErrTooLarge.With("a backup has at most %d bytes", most)
	}
	return err
}

// fewItems is the number of accounts from which the loss of more than half needs Shrink.
const fewItems = 4

// mismatch returns the first untrue thing that the manifest says, as ErrInvalid; nil for none.
func (c *candidate) mismatch(e *device.Enrollment, latest *Version) error {
	m := c.manifest
	parent := ""
	if latest.Manifest != "" {
		parent = digest(latest.Manifest)
	}
	switch {
	case !strings.EqualFold(m.Digest, c.digest) || *m.Size != int64(len(c.Body)):
		return ErrInvalid.With("the body is not the one that the manifest describes")
	case m.Provider != Server && len(c.Body) > 0:
		return ErrInvalid.With("a backup that the platform keeps is tracked with an empty body")
	case c.unverified != nil || m.Issuer != e.ID:
		return ErrInvalid.With("the manifest is not signed by this device")
	case !strings.EqualFold(m.Parent, parent):
		return ErrInvalid.With("the manifest does not name the one before as its parent")
	}
	return nil
}

// add writes the version; b is nil when it is the first of its backup.
func (s *Service) add(tx *storage.Tx, uid storage.UID, e *device.Enrollment, b *Backup, next *candidate, actor audit.Actor) (*Stored, error) {
	m := next.manifest
	v := &Version{
		Generation:       *m.Generation,
		Digest:           next.digest,
		Size:             len(next.Body),
		Items:            m.accounts(),
		Provider:         m.Provider,
		AutomaticRestore: m.AutomaticRestore,
		Manifest:         next.Manifest,
		Key:              e.Push.Key,
		Enrollment:       e.ID,
		Created:          tx.Now().Truncate(time.Millisecond),
	}
	// The first version makes the backup.
	var err error
	if b == nil {
		if b, err = s.begin(tx, uid, e, next); err != nil {
			return nil, err
		}
	}
	most, err := keep.Get(tx)
	if err != nil {
		return nil, err
	}
	// Write the version, and drop those that are no longer kept.
	b.Generation = v.Generation
	b.Changed = tx.Now()
	b.Undeleted = false
	event := audit.Event{Type: audit.BackupPut, UID: uid, Facts: audit.Facts{audit.FactProvider: audit.Word(v.Provider)}}
	err = errors.Join(
		b.put(tx, uid, v, next.Body),
		b.thin(tx, uid, most),
		backups.Put(tx, uid, b.ID, b),
		audit.Record(tx, actor, event, b.detail(e)))
	if err != nil {
		return nil, err
	}
	return b.stored(tx, uid, v)
}

// begin makes a backup, to which the enrollment writes from now on.
func (s *Service) begin(tx *storage.Tx, uid storage.UID, e *device.Enrollment, next *candidate) (*Backup, error) {
	b := &Backup{ID: next.id, Handle: s.hash(next.first), Created: tx.Now()}
	e.Push.BackupID = b.ID
	return b, errors.Join(
		boundOrphans(tx, uid),
		device.Put(tx, uid, e),
		b.keepFresh(tx, uid, next.first))
}

// stored returns the answer to the Put that brought v, also when that is repeated.
func (b *Backup) stored(tx *storage.Tx, uid storage.UID, v *Version) (*Stored, error) {
	out := &Stored{Generation: v.Generation, Digest: v.Digest, Created: v.Created}
	var err error
	if v.Generation == 1 {
		out.Handle, err = b.fresh(tx, uid)
	}
	return out, err
}
