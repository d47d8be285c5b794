package access

import (
	"crypto/sha256"
	"sync"
)

// maxVerified bounds how many tokens a key remembers: 32 bytes each, and the map around them.
const maxVerified = 1 << 12

// verified remembers which tokens one key has verified. A program uses its management token for up to a day, and checking a
// P-256 signature costs as much as the rest of the call's HTTP (BenchmarkLimits). It remembers only the signature, which
// stays valid for ever; every call still checks claims, times and the client. Safe for concurrent use.
type verified struct {
	mu   sync.Mutex // guards seen
	seen map[[sha256.Size]byte]struct{}
}

// has reports whether the token has verified.
func (v *verified) has(id [sha256.Size]byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, known := v.seen[id]
	return known
}

// add remembers a token that has verified.
func (v *verified) add(id [sha256.Size]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil || len(v.seen) >= maxVerified {
		v.seen = make(map[[sha256.Size]byte]struct{}, 16) // tokens still in use are verified once more
	}
	v.seen[id] = struct{}{}
}
