package access

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/storage"
	"tutela/storage/audit"
)

// The algorithms of our keys. Source: RFC 7518 §3.1, RFC 8037 §3.1.
const (
	es256 = jose.ES256 // tokens
	rs256 = jose.RS256 // tokens of a client that is registered with RS256
	edDSA = jose.EdDSA // receipts
)

const (
	// KeyLead is how long a key is in the JWKS before it signs, so that a program that keeps the JWKS no longer than that has
	// the key in time. The first key of an algorithm signs at once.
	KeyLead = 10 * time.Minute

	// keyRefresh is how old a server's view of the keys gets. By then it sees the rotation of another server.
	keyRefresh = 15 * time.Second

	// keyRetry is how soon a server asks the store again for an unknown key.
	keyRetry = time.Second

	// keyStay is how long a key stays in the JWKS after its successor has begun to sign: until all its signatures have
	// expired, and every server's view of the keys is newer.
	keyStay = ManagementLife + KeyLead

	rsaBits = 2048
)

// signingKey is a key as it is stored, under its kid.
//
// Exactly one key of each algorithm signs at any time: Until of a key is From of its successor. The row of a key expires
// when all its signatures have; only the public keys of receipts stay for ever.
type signingKey struct {
	Public  jose.JSONWebKey `json:"public"`            // with kid, alg and use
	Private []byte          `json:"private,omitempty"` // PKCS #8, sealed
	Made    time.Time       `json:"made"`
	From    time.Time       `json:"from"`           // when it begins to sign
	Until   time.Time       `json:"until,omitzero"` // when its successor begins to sign
}

var signingKeys = storage.Declare(storage.Spec[signingKey]{
	Name:  "signing_key",
	Class: storage.Settings,
	Expires: func(k *signingKey) time.Time {
		if k.Until.IsZero() || k.algorithm() == edDSA {
			return time.Time{}
		}
		return k.Until.Add(keyStay)
	},
	Sealed: func(k *signingKey) []storage.Field {
		return []storage.Field{{Name: "private", Value: &k.Private}}
	},
})

func (k *signingKey) algorithm() jose.SignatureAlgorithm {
	return jose.SignatureAlgorithm(k.Public.Algorithm)
}

// makeKey draws a key. Its kid is its thumbprint (RFC 7638).
func makeKey(alg jose.SignatureAlgorithm) (*signingKey, error) {
	var private crypto.Signer
	var err error
	switch alg {
	case es256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case rs256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case edDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("no keys are made for %s", alg)
	}
	if err != nil {
		return nil, err
	}
	k := &signingKey{Public: jose.JSONWebKey{Key: private.Public(), Algorithm: string(alg), Use: "sig"}}
	thumbprint, err := k.Public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	k.Public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	k.Private, err = x509.MarshalPKCS8PrivateKey(private)
	return k, err
}

// addKey makes k the successor of the newest key of its algorithm. It records an event only if somebody asked for the key.
func addKey(tx *storage.Tx, k *signingKey, actor audit.Actor) error {
	rows, err := signingKeys.All(tx, storage.House)
	if err != nil {
		return err
	}
	var newest *storage.Row[signingKey]
	for i, row := range rows {
		if row.Record.algorithm() == k.algorithm() && (newest == nil || newestFirst(row.Record, newest.Record) < 0) {
			newest = &rows[i]
		}
	}
	k.Made = tx.Now()
	k.From = tx.Now()
	if newest != nil {
		k.From = k.From.Add(KeyLead + keyRefresh)
		if !k.From.After(newest.Record.From) { // two rotations at one instant, or one by a server whose clock is ahead of ours
			k.From = newest.Record.From.Add(time.Nanosecond)
		}
		newest.Record.Until = k.From
		if err := signingKeys.Put(tx, storage.House, newest.Key, newest.Record); err != nil {
			return err
		}
	}
	if err := signingKeys.Insert(tx, storage.House, k.Public.KeyID, k); err != nil || actor.IsNobody() {
		return err
	}
	e := audit.Event{Type: audit.KeyRotated, Facts: audit.Facts{
		audit.FactAlg: audit.Word(k.Public.Algorithm),
		audit.FactKid: audit.Word(k.Public.KeyID),
	}}
	return audit.Record(tx, actor, e, audit.Detail{})
}

// newestFirst orders keys by when they begin to sign. No two keys of an algorithm begin at the same instant.
func newestFirst(a, b *signingKey) int { return b.From.Compare(a.From) }

// Rotate makes a successor for the key of every algorithm in use. The successor is in the JWKS at once and signs after
// [KeyLead]. The predecessor stays in the JWKS until all its signatures have expired; a key of receipts stays for ever.
func (s *Service) Rotate(ctx context.Context, actor audit.Actor) error {
	set, err := s.reload(ctx, s.keys.Load())
	if err != nil {
		return err
	}
	var made []*signingKey
	for _, alg := range []jose.SignatureAlgorithm{es256, rs256, edDSA} {
		if set.signing(alg, s.store.Now()) == nil {
			continue
		}
		k, err := makeKey(alg)
		if err != nil {
			return fmt.Errorf("make a signing key: %w", err)
		}
		made = append(made, k)
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := dropPrivate(tx); err != nil {
			return err
		}
		for _, k := range made {
			if err := addKey(tx, k, actor); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("rotate the signing keys: %w", err)
	}
	_, err = s.reload(ctx, s.keys.Load())
	return err
}

// dropPrivate removes the private part of keys that no longer sign but whose rows stay.
func dropPrivate(tx *storage.Tx) error {
	rows, err := signingKeys.All(tx, storage.House)
	if err != nil {
		return err
	}
	for _, row := range rows {
		k := row.Record
		if k.Private == nil || k.Until.IsZero() || tx.Now().Before(k.Until.Add(keyStay)) {
			continue
		}
		k.Private = nil
		if err := signingKeys.Put(tx, storage.House, row.Key, k); err != nil {
			return err
		}
	}
	return nil
}

// ensureKeys makes the first key of each algorithm that has none. It records an event only if somebody asked for the key.
func (s *Service) ensureKeys(ctx context.Context, actor audit.Actor, algs ...jose.SignatureAlgorithm) error {
	for _, alg := range algs {
		if s.keys.Load().signing(alg, s.store.Now()) != nil {
			continue
		}
		k, err := makeKey(alg)
		if err != nil {
			return fmt.Errorf("make a signing key: %w", err)
		}
		if err := s.store.Update(ctx, func(tx *storage.Tx) error { return addFirst(tx, k, actor) }); err != nil {
			return fmt.Errorf("add a signing key: %w", err)
		}
		if _, err := s.reload(ctx, s.keys.Load()); err != nil {
			return err
		}
	}
	return nil
}

// addFirst adds a key, unless another server was first.
func addFirst(tx *storage.Tx, k *signingKey, actor audit.Actor) error {
	rows, err := signingKeys.All(tx, storage.House)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.Record.algorithm() == k.algorithm() {
			return nil
		}
	}
	return addKey(tx, k, actor)
}

// keySet is a server's view of the keys at one moment. It does not change.
type keySet struct {
	loaded time.Time
	keys   []*key // the newest of each algorithm first
	jwks   []byte // RFC 7517 §5
}

// key is a key in use.
type key struct {
	stored  *signingKey
	private crypto.Signer // nil: it no longer signs

	verified *verified // management tokens

	idHeader, accessHeader, receiptHeader, resultHeader, setHeader string // the JOSE header of each typ, encoded
}

// current returns the keys as of at most keyRefresh ago.
func (s *Service) current(ctx context.Context) (*keySet, error) {
	set := s.keys.Load()
	if s.store.Now().Before(set.loaded.Add(keyRefresh)) {
		return set, nil
	}
	return s.reload(ctx, set)
}

// reload reads the keys from the store, unless another goroutine has done so since seen was current.
func (s *Service) reload(ctx context.Context, seen *keySet) (*keySet, error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	if set := s.keys.Load(); set != seen {
		return set, nil
	}
	set := &keySet{loaded: s.store.Now()}
	var rows []storage.Row[signingKey]
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		rows, err = signingKeys.All(tx, storage.House)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the signing keys: %w", err)
	}
	for _, row := range rows {
		k, err := seen.use(row.Record)
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", row.Key, err)
		}
		set.keys = append(set.keys, k)
	}
	slices.SortStableFunc(set.keys, func(a, b *key) int { return newestFirst(a.stored, b.stored) })
	if set.jwks, err = set.document(); err != nil {
		return nil, err
	}
	s.keys.Store(set)
	return set, nil
}

// use makes a stored key ready to sign and verify. It takes a key that set has parsed already from there.
func (set *keySet) use(stored *signingKey) (*key, error) {
	k := &key{stored: stored, verified: new(verified)}
	if set != nil {
		i := slices.IndexFunc(set.keys, func(was *key) bool { return was.stored.Public.KeyID == stored.Public.KeyID })
		if i >= 0 {
			copied := *set.keys[i]
			copied.stored = stored
			return &copied, nil
		}
	}
	for typ, header := range map[string]*string{
		typID:      &k.idHeader,
		typAccess:  &k.accessHeader,
		typReceipt: &k.receiptHeader,
		typResult:  &k.resultHeader,
		typSET:     &k.setHeader,
	} {
		encoded, err := json.Marshal(joseHeader{Algorithm: stored.Public.Algorithm, Type: typ, KeyID: stored.Public.KeyID})
		if err != nil {
			return nil, err
		}
		*header = base64.RawURLEncoding.EncodeToString(encoded)
	}
	if len(stored.Private) == 0 {
		return k, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(stored.Private)
	if err != nil {
		return nil, errors.New("the private key cannot be read")
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private key cannot sign")
	}
	k.private = private
	return k, nil
}

type joseHeader struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid"`
}

// signing returns the key that signs at a time, or nil when the algorithm has none. When no key has begun yet, because
// another server's clock is ahead of ours, it returns the oldest.
func (set *keySet) signing(alg jose.SignatureAlgorithm, at time.Time) *key {
	var oldest *key
	for _, k := range set.keys {
		if k.stored.algorithm() != alg || k.private == nil {
			continue
		}
		if !at.Before(k.stored.From) {
			return k
		}
		oldest = k
	}
	return oldest
}

// signer returns the key that signs now.
func (s *Service) signer(ctx context.Context, alg jose.SignatureAlgorithm) (*key, error) {
	set, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	if k := set.signing(alg, s.store.Now()); k != nil {
		return k, nil
	}
	if set, err = s.reload(ctx, set); err != nil {
		return nil, err
	}
	if k := set.signing(alg, s.store.Now()); k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("there is no signing key for %s", alg)
}

// sign makes a compact JWS of a payload under an encoded header of this key. Source: RFC 7515 §3.1, §5.1.
func (k *key) sign(header string, payload []byte) (string, error) {
	size := len(header) + 2 + base64.RawURLEncoding.EncodedLen(len(payload)) + base64.RawURLEncoding.EncodedLen(rsaBits/8)
	out := append(make([]byte, 0, size), header...)
	out = base64.RawURLEncoding.AppendEncode(append(out, '.'), payload)
	signature, err := k.signature(out)
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", k.stored.Public.KeyID, err)
	}
	return string(base64.RawURLEncoding.AppendEncode(append(out, '.'), signature)), nil
}

// signature signs with the one algorithm that fits the key's type. Sources: RFC 7518 §3.3 and §3.4 (r ‖ s of 32 bytes
// each), RFC 8037 §3.1.
func (k *key) signature(signed []byte) ([]byte, error) {
	digest := sha256.Sum256(signed)
	switch private := k.private.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			return nil, err
		}
		var signature [64]byte
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signature[:], nil
	case *rsa.PrivateKey:
		return rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
	case ed25519.PrivateKey:
		return ed25519.Sign(private, signed), nil
	}
	return nil, errors.New("the key cannot sign")
}
