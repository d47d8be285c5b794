package device

import (
	"crypto/sha256"
	"strings"
	"sync"
)

// maxVerified bounds how many signatures are remembered: 32 bytes each, and the map around them.
const maxVerified = 1 << 14

// verified remembers which device JWTs each key has verified. An app uses one JWT for up to two hours of polling, and to
// check a P-256 signature takes 95 µs, most of what a poll costs. It remembers only the signature, which stays valid for
// ever; every call still checks claims and times. Safe for concurrent use.
type verified struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]struct{}
}

// payload does what Key.Verify does, quickly for a JWT that has verified before.
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
