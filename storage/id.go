package storage

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// UID is the random 16-byte id of a user. Keys, owners and events hold nothing else of a person.
type UID [16]byte

// House is the owner of rows that belong to the installation and to no user: clients, keys, settings.
var House UID

// NewUID draws a UID.
func NewUID() UID {
	var uid UID
	_, _ = rand.Read(uid[:]) // never fails: see crypto/rand
	return uid
}

// String returns the UID as 32 hex digits.
func (u UID) String() string { return hex.EncodeToString(u[:]) }

// IsZero reports whether u is the house, not a user.
func (u UID) IsZero() bool { return u == House }

// MarshalText writes the UID as [UID.String] does; House is empty.
func (u UID) MarshalText() ([]byte, error) {
	if u.IsZero() {
		return nil, nil
	}
	return []byte(u.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (u *UID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*u = House
		return nil
	}
	if len(text) != hex.EncodedLen(len(u)) {
		return fmt.Errorf("a uid has 32 hex digits, not %d characters", len(text))
	}
	var read UID
	if _, err := hex.Decode(read[:], text); err != nil {
		return fmt.Errorf("a uid has 32 hex digits: %w", err)
	}
	*u = read
	return nil
}

const idAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewID draws an id: prefix and n random characters of 0–9 A–Z a–z, 5.95 bits each.
func NewID(prefix string, n int) string {
	id := make([]byte, 0, len(prefix)+n)
	id = append(id, prefix...)
	var random [64]byte
	for len(id) < len(prefix)+n {
		_, _ = rand.Read(random[:])
		for _, b := range random {
			// 248 is the greatest multiple of 62 below 256: no character is likelier than another.
			if b < 248 && len(id) < len(prefix)+n {
				id = append(id, idAlphabet[b%62])
			}
		}
	}
	return string(id)
}
