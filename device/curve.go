package device

import (
	"bytes"
	"crypto/ed25519"

	"filippo.io/edwards25519"
)

// validEd25519 reports whether a key is a point of the curve, in its one encoding, and not one of the eight points of
// small order, under which anybody can sign. crypto/ed25519 decodes a key only when it verifies, and takes small orders.
//
// Source: RFC 8032 §5.1.3 and §5.1.7.
func validEd25519(key ed25519.PublicKey) bool {
	point, err := new(edwards25519.Point).SetBytes(key)
	if err != nil {
		return false
	}
	// SetBytes takes encodings that are not reduced: the same point would be two keys.
	if !bytes.Equal(point.Bytes(), key) {
		return false
	}
	smallOrder := new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1
	return !smallOrder
}
