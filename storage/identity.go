package storage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// identityName is the meta key of a store's identity.
const identityName = "identity"

// Identity names a store: which installation it is, and which of its histories.
type Identity struct {
	Installation string `json:"installation"` // "ins_" and 16 characters; drawn once, and the same in every copy
	Epoch        Epoch  `json:"epoch"`
}

// Epoch names one unbroken history of a store. A store gets a new epoch when its data is restored from a copy or moved
// to another engine. So a phone or a log that remembers the epoch sees that later changes may have been undone.
//
// Numbers grow. Two epochs with the same number differ in their random part, since the same copy may be restored twice.
type Epoch struct {
	Number uint64
	Random [8]byte
}

// String returns the epoch as one text: the number, a dash and 16 hex digits.
func (e Epoch) String() string {
	return strconv.FormatUint(e.Number, 10) + "-" + hex.EncodeToString(e.Random[:])
}

// MarshalText writes the epoch as [Epoch.String] does.
func (e Epoch) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (e *Epoch) UnmarshalText(text []byte) error {
	number, random, _ := strings.Cut(string(text), "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return fmt.Errorf("an epoch begins with its number: %w", err)
	}
	drawn, err := hex.DecodeString(random)
	if err != nil || len(drawn) != len(e.Random) {
		return fmt.Errorf("an epoch ends with %d hex digits, not %q", hex.EncodedLen(len(e.Random)), random)
	}
	e.Number = n
	copy(e.Random[:], drawn)
	return nil
}

// newEpoch makes an epoch with the given number.
func newEpoch(number uint64) Epoch {
	e := Epoch{Number: number}
	_, _ = rand.Read(e.Random[:]) // never fails: see crypto/rand
	return e
}

// Identity returns the store's identity as it was read at Open or set by NewEpoch.
func (s *Store) Identity() Identity { return *s.identity.Load() }

// Epoch returns the epoch of Identity.
func (s *Store) Epoch() Epoch { return s.identity.Load().Epoch }

// NewEpoch begins a new epoch of the store. Call it after moving data into the store from another engine, before
// serving anybody. replaced is as in [BeginEpoch]. Other servers that have the store open learn of it when they open it
// again.
//
// Errors: those of BeginEpoch and of Update.
func (s *Store) NewEpoch(ctx context.Context, replaced Identity) error {
	var next Identity
	err := s.engine.Update(ctx, func(r Reader) (ws *WriteSet, err error) {
		next, ws, err = BeginEpoch(r, replaced)
		return ws, err
	})
	if err != nil {
		return err
	}
	s.writes.Add(1)
	s.identity.Store(&next)
	return nil
}

// BeginEpoch returns the next identity of the store behind r (the same installation in a new epoch) and the write set
// that stores it. replaced is the identity of the store whose place this one takes, or the zero value when that is not
// known. If both are the same installation, the new number is greater than both numbers. Data without an identity takes
// the installation that it replaces.
//
// It needs no open Store, so that a data file can get its epoch before it is put in place.
//
// Errors: [ErrForeign]; those of r.
func BeginEpoch(r Reader, replaced Identity) (next Identity, ws *WriteSet, err error) {
	tx := &Tx{r: r, ws: NewWriteSet()}
	found, err := tx.getMeta(identityName, &next)
	switch {
	case err != nil:
		return Identity{}, nil, err
	case !found && replaced.Installation != "":
		next = replaced
	case !found:
		next.Installation = newInstallation()
	}
	number := next.Epoch.Number
	if next.Installation == replaced.Installation {
		number = max(number, replaced.Epoch.Number)
	}
	next.Epoch = newEpoch(number + 1)
	return next, tx.ws, tx.putMeta(identityName, next)
}

// ReadIdentity returns the identity of the store behind r: the zero value when it has none yet.
//
// Errors: [ErrForeign]; those of r.
func ReadIdentity(r Reader) (identity Identity, err error) {
	_, err = (&Tx{r: r}).getMeta(identityName, &identity)
	return identity, err
}

func newInstallation() string { return NewID("ins_", 16) }

// identify reads the store's identity. A store without one (new, or of an earlier version) gets one.
func (s *Store) identify(ctx context.Context) error {
	var identity Identity
	var found bool
	err := s.View(ctx, func(tx *Tx) (err error) {
		found, err = tx.getMeta(identityName, &identity)
		return err
	})
	if err == nil && !found {
		err = s.Update(ctx, func(tx *Tx) error {
			// Another server may have written it meanwhile.
			found, err := tx.getMeta(identityName, &identity)
			if err != nil || found {
				return err
			}
			identity = Identity{Installation: newInstallation(), Epoch: newEpoch(1)}
			return tx.putMeta(identityName, identity)
		})
	}
	if err != nil {
		return fmt.Errorf("read the store's identity: %w", err)
	}
	s.identity.Store(&identity)
	return nil
}
