package device

import (
	"bytes"
	"crypto/ed25519"

	"filippo.io/edwards25519"
)

// validEd25519 reports whether a key is a point of the curve, in its canonical encoding, and none of the eight points of
// small order, for which anybody can sign. crypto/ed25519 decodes a key only when it verifies, and accepts small orders.
//
// Source: RFC 8032 §5.1.3 and §5.1.7.
func validEd25519(key ed25519.PublicKey) bool {
	point, err := new(edwards25519.Point).SetBytes(key)
	if err != nil {
		return false
	}
	// SetBytes accepts encodings that are not reduced: then one point would be two keys.
	if !bytes.Equal(point.Bytes(), key) {
		return false
	}
	smallOrder := new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1
	return !smallOrder
}
