package keyring

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"

	"tutela/storage"
)

// A purpose is the name under which a key is derived: a hash made for one purpose never matches for another.

// Hash returns the keyed hash (HMAC-SHA-256) of a secret for a purpose under the newest version, as text that names
// the version: "1.<base64url>". A secret of a user is hashed together with the uid, as parts: each part is
// length-framed.
func (r *Ring) Hash(purpose string, parts ...[]byte) string { return r.newest().hash(purpose, parts) }

// Hashes returns the keyed hash under every version, newest first: a secret that is looked up by its hash is tried
// under all.
func (r *Ring) Hashes(purpose string, parts ...[]byte) []string {
	versions := r.keys.Load().versions
	hashes := make([]string, 0, len(versions))
	for i := len(versions) - 1; i >= 0; i-- {
		hashes = append(hashes, versions[i].hash(purpose, parts))
	}
	return hashes
}

// Matches reports in constant time whether the stored hash is the keyed hash of the secret, under the version that hash
// names. It computes one HMAC even when hash is malformed. Do not call it inside a transaction, where [Ring.MatchesIn]
// is for: it reads a version that it does not know yet in a View of its own.
func (r *Ring) Matches(hash, purpose string, parts ...[]byte) bool {
	return r.matches(r.at, hash, purpose, parts)
}

// MatchesIn is Matches inside the transaction in which hash was read.
func (r *Ring) MatchesIn(tx *storage.Tx, hash, purpose string, parts ...[]byte) bool {
	find := func(number uint32) (*version, error) { return r.within(tx, number) }
	return r.matches(find, hash, purpose, parts)
}

// matches compares hash under the version that it names; find returns a version by its number.
func (r *Ring) matches(find func(uint32) (*version, error), hash, purpose string, parts [][]byte) bool {
	v := r.newest()
	if number, _, ok := strings.Cut(hash, "."); ok {
		if n, err := strconv.ParseUint(number, 10, 32); err == nil {
			if named, err := find(uint32(n)); err == nil {
				v = named
			}
		}
	}
	return subtle.ConstantTimeCompare([]byte(hash), []byte(v.hash(purpose, parts))) == 1
}

func (v *version) hash(purpose string, parts [][]byte) string {
	return strconv.FormatUint(uint64(v.number), 10) + "." +
		base64.RawURLEncoding.EncodeToString(v.mac("hash "+purpose, parts))
}

func (v *version) mac(purpose string, parts [][]byte) []byte {
	m := hmac.New(sha256.New, v.derive(purpose))
	for _, part := range parts {
		m.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		m.Write(part)
	}
	return m.Sum(nil)
}

// Ids that carry their owner.
//
// Such an id holds its owner's uid under a MAC, so its row is found without an index and it cannot be made up: prefix ‖
// base64url(version (1, low byte) ‖ uid (16) ‖ random (16) ‖ MAC (16)).
const (
	idRandomBytes = 16
	idMACBytes    = 16
	idBytes       = 1 + 16 + idRandomBytes + idMACBytes
)

// NewID makes an id for a row of uid. key is the row's key.
func (r *Ring) NewID(prefix string, uid storage.UID) (id, key string) {
	return r.IDFor(prefix, uid, storage.NewUID())
}

// IDFor is NewID with a given random part. It makes the same id for the same row until the keys are rotated, and
// another one after that; [Ring.ParseID] reads both.
func (r *Ring) IDFor(prefix string, uid, random storage.UID) (id, key string) {
	v := r.newest()
	b := append(make([]byte, 0, idBytes), byte(v.number))
	b = append(b, uid[:]...)
	b = append(b, random[:]...)
	b = append(b, v.mac("id "+prefix, [][]byte{b})[:idMACBytes]...)
	return prefix + base64.RawURLEncoding.EncodeToString(b), random.String()
}

// ParseID reads an id that NewID or IDFor made; ok is false for any other.
func (r *Ring) ParseID(prefix, id string) (uid storage.UID, key string, ok bool) {
	encoded, found := strings.CutPrefix(id, prefix)
	if !found || len(encoded) != base64.RawURLEncoding.EncodedLen(idBytes) {
		return uid, "", false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) != idBytes { // the length is checked after decoding, since the decoder ignores line ends
		return uid, "", false
	}
	signed := b[:idBytes-idMACBytes]
	mac := b[idBytes-idMACBytes:]
	for _, v := range r.keys.Load().versions {
		if byte(v.number) == b[0] && hmac.Equal(mac, v.mac("id "+prefix, [][]byte{signed})[:idMACBytes]) {
			copy(uid[:], b[1:17])
			var random storage.UID
			copy(random[:], b[17:33])
			return uid, random.String(), true
		}
	}
	return uid, "", false
}

// DerivedUID returns a uid that belongs to no user, made from a secret by a keyed hash. Rows for an unknown secret
// (such as counters of tries) are kept under it, just as they would be kept under a user's uid for a known secret. It
// always uses the first version, so that the uid stays the same after a rotation of keys.
func (r *Ring) DerivedUID(purpose string, secret []byte) storage.UID {
	first, err := r.at(1)
	if err != nil {
		first = r.newest()
	}
	var uid storage.UID
	copy(uid[:], first.mac("uid "+purpose, [][]byte{secret}))
	return uid
}
