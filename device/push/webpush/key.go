package webpush

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"tutela/storage"
)

// vapidKey is the installation's key pair as it is stored. There is one, for ever: a subscription is bound to the key that it was
// made with, so a new key would take Web Push from every phone.
//
// Source: RFC 8292 §4.
type vapidKey struct {
	Public  []byte    `json:"public"`  // a point of P-256, uncompressed
	Private []byte    `json:"private"` // the scalar, 32 bytes; sealed
	Made    time.Time `json:"made"`
}

var vapidKeys = storage.Declare(storage.Spec[vapidKey]{
	Name:  "web_push_key",
	Class: storage.Settings,
	Sealed: func(k *vapidKey) []storage.Field {
		return []storage.Field{{Name: "private", Value: &k.Private}}
	},
})

// Keys is the key pair by which push services know this installation (VAPID).
type Keys struct {
	public  string // unpadded base64url
	private string
}

// Public returns the public key: the unpadded base64url of the uncompressed point, as PushManager.subscribe takes it.
func (k *Keys) Public() string { return k.public }

// OpenKeys returns the installation's key pair, and makes it when there is none. Servers that start at once over one store
// get the same.
func OpenKeys(ctx context.Context, store *storage.Store) (*Keys, error) {
	var stored *vapidKey
	err := store.View(ctx, func(tx *storage.Tx) (err error) {
		stored, err = vapidKeys.Get(tx, storage.House, "")
		return err
	})
	if errors.Is(err, storage.ErrNotFound) {
		stored, err = makeKey(ctx, store)
	}
	if err != nil {
		return nil, fmt.Errorf("open the Web Push key: %w", err)
	}
	return &Keys{
		public:  base64.RawURLEncoding.EncodeToString(stored.Public),
		private: base64.RawURLEncoding.EncodeToString(stored.Private),
	}, nil
}

// makeKey adds a key pair, unless another server was first, and returns what is stored.
func makeKey(ctx context.Context, store *storage.Store) (*vapidKey, error) {
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	var stored *vapidKey
	err = store.Update(ctx, func(tx *storage.Tx) error {
		found, err := vapidKeys.Get(tx, storage.House, "")
		if !errors.Is(err, storage.ErrNotFound) {
			stored = found
			return err
		}
		made := &vapidKey{Public: private.PublicKey().Bytes(), Private: private.Bytes(), Made: tx.Now()}
		stored = made
		return vapidKeys.Insert(tx, storage.House, "", made)
	})
	return stored, err
}
