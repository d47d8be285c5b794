package device

import (
	"crypto/sha256"
	"strings"
	"sync"
)

// maxVerified bounds how many signatures are remembered: 32 bytes each, and the map around them.
const maxVerified = 1 << 14

// verified remembers which device JWTs have a valid signature by which key. An app polls with one JWT for up to two
// hours, and checking a P-256 signature takes 95 µs, most of the cost of a poll. Only the signature is remembered,
// which stays valid for ever; every call still checks claims and times. Safe for concurrent use.
type verified struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]struct{}
}

// payload is Key.Verify, but fast for a JWT that has verified before.
//
// Errors: ErrSignature.
func (v *verified) payload(k Key, token string) ([]byte, error) {
	id := sha256.Sum256([]byte(strings.Join([]string{k.Algorithm, k.Curve, k.N, k.E, k.X, k.Y, token}, " ")))
	v.mu.Lock()
	_, known := v.seen[id]
	v.mu.Unlock()
	if known {
		return decodeURL(strings.Split(token, ".")[1])
	}
	payload, err := k.Verify(token)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil || len(v.seen) >= maxVerified {
		v.seen = make(map[[sha256.Size]byte]struct{}, 64) // JWTs still in use are verified once more
	}
	v.seen[id] = struct{}{}
	return payload, nil
}
