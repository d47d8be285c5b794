package device

import (
	"crypto/ed25519"
	"math/big"
	"slices"
)

// The field and the constant of edwards25519.
//
// Source: RFC 8032 §5.1.
var (
	fieldPrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curveD     = new(big.Int).Mod(new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), fieldPrime)), fieldPrime)
)

// validEd25519 tells whether a key is a point of the curve, in its one encoding, and not one of the eight points of small
// order, under which anybody can sign. crypto/ed25519 looks at this only when it verifies, and takes small orders.
func validEd25519(key ed25519.PublicKey) bool {
	one := big.NewInt(1)
	encoded := slices.Clone([]byte(key))
	encoded[31] &= 0x7f // without the sign of x
	slices.Reverse(encoded)
	y := new(big.Int).SetBytes(encoded)
	if y.Cmp(fieldPrime) >= 0 {
		return false
	}
	yy := mod(new(big.Int).Mul(y, y))
	dyy := mod(new(big.Int).Mul(curveD, yy))
	// x² = (y² − 1) / (d·y² + 1); the divisor is never 0, since −1/d is no square.
	x2 := mod(new(big.Int).Mul(new(big.Int).Sub(yy, one), new(big.Int).ModInverse(new(big.Int).Add(dyy, one), fieldPrime)))
	if new(big.Int).ModSqrt(x2, fieldPrime) == nil {
		return false
	}
	// The orders 1 and 2 have x = 0, the order 4 has y = 0, and the order 8, whose double has, has y² = −x².
	return x2.Sign() != 0 && y.Sign() != 0 && mod(new(big.Int).Add(yy, x2)).Sign() != 0
}

func mod(n *big.Int) *big.Int { return n.Mod(n, fieldPrime) }
