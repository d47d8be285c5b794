package access

import (
	"crypto/sha256"
	"sync"
)

// maxVerified bounds how many tokens a key remembers: 32 bytes each, and the map around them.
const maxVerified = 1 << 12

// verified remembers which tokens have verified by one key. A program uses its management token for up to a day, and a
// signature of P-256 costs as much to verify as all else of the call's HTTP (BenchmarkLimits). Only the signature is
// remembered, which holds for ever; claims, times and the client are looked at every time. Safe for concurrent use.
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
		v.seen = make(map[[sha256.Size]byte]struct{}, 16) // what still comes is verified once more
	}
	v.seen[id] = struct{}{}
}
