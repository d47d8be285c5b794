package phone

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/crypto/chacha20poly1305"
)

// blobFormat is the first byte of a sealed backup, and the first byte of its associated data.
const blobFormat = 1

// ErrBackupSealed reports a backup that this phone's key does not open: another key sealed it, it belongs to another
// generation, or it was altered.
var ErrBackupSealed = errors.New("backup cannot be opened: it was altered, or sealed by another key or for another generation")

// Account is one one-time-code account of the app. Secret is Base32.
type Account struct {
	Issuer    string `json:"issuer"`
	Name      string `json:"name"`
	Secret    string `json:"secret,omitempty"`
	Algorithm string `json:"algorithm,omitempty"`
	Digits    int    `json:"digits,omitempty"`
	Period    int    `json:"period,omitempty"`
}

// Merge returns mine and those of theirs that mine lacks. Two accounts are the same when issuer and name are; then Merge
// takes the one from mine.
func Merge(mine, theirs []Account) []Account {
	type identity struct{ issuer, name string }
	merged := make([]Account, 0, len(mine)+len(theirs))
	have := map[identity]bool{}
	for _, list := range [][]Account{mine, theirs} {
		for _, a := range list {
			if id := (identity{a.Issuer, a.Name}); !have[id] {
				have[id] = true
				merged = append(merged, a)
			}
		}
	}
	return merged
}

// newBlobKey draws the random key of a phone's backups, which only the platform backup holds. The key must not be derived
// from the recovery code: the server sees that code when a person uses it.
func newBlobKey() []byte {
	key := make([]byte, chacha20poly1305.KeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand.Read crashes the program rather than return an error
	return key
}

// sealAccounts encrypts accounts as format ‖ nonce (24) ‖ XChaCha20-Poly1305. The seal binds the enrollment and the
// generation, so the server cannot pass an older backup off as a newer one.
func sealAccounts(key []byte, accounts []Account, enrollmentID string, generation int64) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("seal a backup: %w", err)
	}
	plain, err := json.Marshal(accounts)
	if err != nil {
		return nil, fmt.Errorf("seal a backup: %w", err)
	}
	blob := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	blob[0] = blobFormat
	_, _ = rand.Read(blob[1:])
	return aead.Seal(blob, blob[1:], plain, sealBinds(enrollmentID, generation)), nil
}

// openAccounts is the reverse of sealAccounts. Its error is ErrBackupSealed.
func openAccounts(key, blob []byte, enrollmentID string, generation int64) ([]Account, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, ErrNoBlobKey
	}
	if len(blob) < 1+aead.NonceSize() || blob[0] != blobFormat {
		return nil, ErrBackupSealed
	}
	nonce := blob[1 : 1+aead.NonceSize()]
	sealed := blob[1+aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, sealed, sealBinds(enrollmentID, generation))
	if err != nil {
		return nil, ErrBackupSealed
	}
	var accounts []Account
	if err := json.Unmarshal(plain, &accounts); err != nil {
		return nil, ErrBackupSealed
	}
	return accounts, nil
}

// sealBinds returns the associated data: format ‖ 0 ‖ enrollment id ‖ 0 ‖ generation in decimal. No id has a zero byte.
func sealBinds(enrollmentID string, generation int64) []byte {
	b := append([]byte{blobFormat, 0}, enrollmentID...)
	return strconv.AppendInt(append(b, 0), generation, 10)
}
