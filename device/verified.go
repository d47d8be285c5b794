package device

import (
	"crypto/sha256"
	"strings"
	"sync"
)

// maxVerified bounds how many signatures are remembered: 32 bytes each, and the map around them.
const maxVerified = 1 << 14

// verified remembers which device JWTs have verified by which key. An app makes one and uses it for up to two hours
// of polling, and a signature of P-256 costs 95 µs to verify, most of what a poll costs. Only the signature is
// remembered, which holds for ever; claims and times are looked at every time. Safe for concurrent use.
type verified struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]struct{}
}

// payload is Key.Verify for a JWT that comes again and again.
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
		v.seen = make(map[[sha256.Size]byte]struct{}, 64) // what still comes is verified once more
	}
	v.seen[id] = struct{}{}
	return payload, nil
}
