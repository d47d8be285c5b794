package access

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
)

func TestVerified_RemembersWhatVerifiedAndNoMoreThanItsBound(t *testing.T) {
	var v verified
	for i := range uint64(3 * maxVerified) {
		id := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		if v.has(id) {
			t.Fatalf("token %d is known before it has verified", i)
		}
		v.add(id)
		if !v.has(id) || len(v.seen) > maxVerified {
			t.Fatalf("token %d: known %v, %d are remembered", i, v.has(id), len(v.seen))
		}
	}
}
