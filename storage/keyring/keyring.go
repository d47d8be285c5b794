// Package keyring keeps the installation's keys. A master key outside of the store encrypts (wraps) a ring of keys in
// the store, and does nothing else. The ring's keys seal fields and make keyed hashes, ids and tokens, each under a key
// that is derived for the purpose (RFC 5869). Every result names the version of the ring that made it.
package keyring

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"tutela/storage"
)

// KeyBytes is the size of the master key and of every key of the ring.
const KeyBytes = 32

// wrapped is a key of the ring as it is stored: sealed under the master key.
type wrapped struct {
	Key     []byte    `json:"key"` // nonce ‖ XChaCha20-Poly1305 of the key, its version as associated data
	Created time.Time `json:"created"`
}

var ring = storage.Declare(storage.Spec[wrapped]{Name: "keyring", Class: storage.Settings})

// ErrMasterKey reports a master key that does not open the ring.
var ErrMasterKey = storage.NewError(storage.Invalid, "the master key is not the one that this data was written with: "+
	"give the right one by --master-key-file or TUTELA_MASTER_KEY; without it the sealed data cannot be read")

// Ring is the opened ring. Safe for concurrent use.
type Ring struct {
	store  *storage.Store
	master cipher.AEAD
	keys   atomic.Pointer[keys]

	grow   sync.Mutex // held while the ring is read in a View of its own; never waited for inside a transaction
	looked time.Time  // when an untrusted version number last caused a read of the ring, by the house's time; guarded by grow
}

// keys holds the versions of the ring, from 1 to the newest.
type keys struct {
	versions []*version
}

type version struct {
	number  uint32
	key     []byte
	seal    cipher.AEAD
	derived sync.Map // purpose → []byte
}

// Open opens the ring of a store with the master key of KeyBytes bytes, makes its first key in a new store, and
// gives the store its sealer.
//
// Errors: ErrMasterKey.
func Open(ctx context.Context, store *storage.Store, master []byte) (*Ring, error) {
	if len(master) != KeyBytes {
		return nil, ErrMasterKey.With("a master key has %d bytes, not %d", KeyBytes, len(master))
	}
	aead, err := chacha20poly1305.NewX(master)
	if err != nil {
		return nil, err
	}
	r := &Ring{store: store, master: aead}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	if len(r.keys.Load().versions) == 0 {
		if _, err := r.Rotate(ctx); err != nil {
			return nil, err
		}
	}
	store.SetSealer(r)
	return r, nil
}

// Rotate adds a new version and returns its number. From now on the new version seals and hashes. Older versions still
// open what they sealed and match what they hashed. [storage.Store.Reseal] brings sealed fields to the new version.
func (r *Ring) Rotate(ctx context.Context) (uint32, error) {
	key := make([]byte, KeyBytes)
	_, _ = rand.Read(key) // never fails: see crypto/rand
	var number uint32
	err := r.store.Update(ctx, func(tx *storage.Tx) error {
		rows, err := ring.All(tx, storage.House)
		if err != nil {
			return err
		}
		number = uint32(len(rows)) + 1
		w := &wrapped{Key: sealWith(r.master, key, versionBytes(number)), Created: tx.Now()}
		return ring.Insert(tx, storage.House, string(versionBytes(number)), w)
	})
	if err != nil {
		return 0, fmt.Errorf("add a key to the ring: %w", err)
	}
	return number, r.load(ctx)
}

// load reads the ring from the store.
func (r *Ring) load(ctx context.Context) error {
	r.grow.Lock()
	defer r.grow.Unlock()
	return r.read(ctx)
}

// read is load with grow held.
func (r *Ring) read(ctx context.Context) error {
	var next *keys
	err := r.store.View(ctx, func(tx *storage.Tx) (err error) {
		next, err = r.stored(tx)
		return err
	})
	if err != nil {
		return err
	}
	r.adopt(next)
	return nil
}

// stored reads the ring in a transaction.
func (r *Ring) stored(tx *storage.Tx) (*keys, error) {
	rows, err := ring.All(tx, storage.House)
	if err != nil {
		return nil, err
	}
	next := &keys{}
	for i, row := range rows {
		v, err := r.unwrap(uint32(i)+1, row)
		if err != nil {
			return nil, err
		}
		next.versions = append(next.versions, v)
	}
	return next, nil
}

// adopt replaces the ring in memory, unless next has fewer versions: a transaction on an older state of the store may
// have read fewer than are known already.
func (r *Ring) adopt(next *keys) {
	for {
		was := r.keys.Load()
		if was != nil && len(next.versions) < len(was.versions) {
			return
		}
		if r.keys.CompareAndSwap(was, next) {
			return
		}
	}
}

func (r *Ring) unwrap(number uint32, row storage.Row[wrapped]) (*version, error) {
	key, err := openWith(r.master, row.Record.Key, versionBytes(number))
	if err != nil || len(key) != KeyBytes {
		return nil, ErrMasterKey
	}
	v := &version{number: number, key: key}
	v.seal, err = chacha20poly1305.NewX(v.derive("seal"))
	return v, err
}

// newest returns the version that seals and hashes.
func (r *Ring) newest() *version {
	versions := r.keys.Load().versions
	return versions[len(versions)-1]
}

// within returns a version by number, inside a transaction in which that number was read. If another server has added
// the version meanwhile, within reads it through tx. It is there: the version was committed before anything that names
// it.
func (r *Ring) within(tx *storage.Tx, number uint32) (*version, error) {
	if v := r.keys.Load().at(number); v != nil {
		return v, nil
	}
	next, err := r.stored(tx)
	if err != nil {
		return nil, err
	}
	r.adopt(next)
	if v := next.at(number); v != nil {
		return v, nil
	}
	return nil, errVersion
}

// at returns a version by a number that was read from the store. If another server has added the version meanwhile, it
// reads it in a View of its own. Inside a transaction use within.
func (r *Ring) at(number uint32) (*version, error) {
	if v := r.keys.Load().at(number); v != nil {
		return v, nil
	}
	if err := r.load(context.Background()); err != nil {
		return nil, err
	}
	if v := r.keys.Load().at(number); v != nil {
		return v, nil
	}
	return nil, errVersion
}

// hinted is at for a number that comes from outside: unknown numbers cause at most one read of the store a second.
func (r *Ring) hinted(number uint32) (*version, error) {
	if v := r.keys.Load().at(number); v != nil {
		return v, nil
	}
	r.grow.Lock()
	defer r.grow.Unlock()
	if now := r.store.Now(); r.looked.IsZero() || now.Sub(r.looked) >= time.Second {
		r.looked = now
		if err := r.read(context.Background()); err != nil {
			return nil, err
		}
	}
	if v := r.keys.Load().at(number); v != nil {
		return v, nil
	}
	return nil, errVersion
}

// at returns the version with that number, or nil.
func (k *keys) at(number uint32) *version {
	if number < 1 || int64(number) > int64(len(k.versions)) {
		return nil
	}
	return k.versions[number-1]
}

var errVersion = errors.New("made under a key that is not in the ring")

// derive returns the version's key for a purpose.
func (v *version) derive(purpose string) []byte {
	if key, ok := v.derived.Load(purpose); ok {
		return key.([]byte)
	}
	key, err := hkdf.Key(sha256.New, v.key, nil, "tutela "+purpose, KeyBytes)
	if err != nil {
		return nil // cannot happen: HKDF fails only for a length that SHA-256 cannot give
	}
	v.derived.Store(purpose, key)
	return key
}

// Seal encrypts plain with XChaCha20-Poly1305 under the newest version, ad as associated data:
// version (4) ‖ nonce (24) ‖ ciphertext and tag.
func (r *Ring) Seal(plain, ad []byte) ([]byte, error) {
	v := r.newest()
	return append(versionBytes(v.number), sealWith(v.seal, plain, ad)...), nil
}

// Unseal opens what Seal made with the same ad. It reads a version that it does not know yet through tx.
//
// Errors: storage.ErrDamaged for what does not open.
func (r *Ring) Unseal(tx *storage.Tx, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < 4 {
		return nil, errSealed
	}
	v, err := r.within(tx, binary.BigEndian.Uint32(sealed))
	if err != nil {
		return nil, err
	}
	return openWith(v.seal, sealed[4:], ad)
}

var errSealed = fmt.Errorf("a sealed value does not open: %w", storage.ErrDamaged)

func sealWith(aead cipher.AEAD, plain, ad []byte) []byte {
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	_, _ = rand.Read(nonce)
	return aead.Seal(nonce, nonce, plain, ad)
}

func openWith(aead cipher.AEAD, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < aead.NonceSize() {
		return nil, errSealed
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], ad)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

func versionBytes(number uint32) []byte { return binary.BigEndian.AppendUint32(nil, number) }
