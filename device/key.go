package device

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"tutela/storage"
)

// The sizes of RSA keys that we accept, in bits. A larger key makes every verification slow and protects no better.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// MaxTokenBytes bounds a JWT or JWS that a phone sends.
const MaxTokenBytes = 8 << 10

// Key is the public key of an installation, as it enrolled. It verifies signatures of its one algorithm.
//
// Source: RFC 7517, RFC 7518 §6; RFC 8037 for Ed25519.
type Key struct {
	Type      string `json:"kty"`
	Algorithm string `json:"alg"`
	Use       string `json:"use,omitempty"`
	Curve     string `json:"crv,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
}

// Errors of keys and signatures.
var (
	ErrKey = storage.NewError(storage.Invalid,
		"public_key is an RSA key of 2048 to 8192 bits (RS256), an EC key on P-256 (ES256) or an Ed25519 key (EdDSA), as a JWK")
	ErrSignature = storage.NewError(storage.Denied, "the signature does not verify")
)

// ParseKey reads a JWK and normalises it: Android sends RSA numbers with a leading zero byte. RFC 7518 forbids that byte,
// and with it equal keys would compare as different.
//
// Errors: ErrKey.
func ParseKey(jwk json.RawMessage) (Key, error) {
	var k Key
	if err := json.Unmarshal(jwk, &k); err != nil {
		return Key{}, ErrKey
	}
	if k.Use != "" && k.Use != "sig" {
		return Key{}, ErrKey
	}
	k = k.normal()
	public, err := k.public()
	if err != nil {
		return Key{}, err
	}
	if point, ok := public.(ed25519.PublicKey); ok && !validEd25519(point) {
		return Key{}, ErrKey
	}
	return k, nil
}

// normal returns the key with its numbers in the one form that RFC 7638 hashes, and with the algorithm of its type.
func (k Key) normal() Key {
	n := Key{Type: k.Type, Use: "sig"}
	switch {
	case k.Type == "RSA" && (k.Algorithm == "" || k.Algorithm == string(jose.RS256)):
		n.Algorithm = string(jose.RS256)
		n.N = trimNumber(k.N)
		n.E = trimNumber(k.E)
	case k.Type == "EC" && k.Curve == "P-256" && (k.Algorithm == "" || k.Algorithm == string(jose.ES256)):
		n.Algorithm = string(jose.ES256)
		n.Curve = k.Curve
		n.X = canonical(k.X)
		n.Y = canonical(k.Y)
	case k.Type == "OKP" && k.Curve == "Ed25519" && (k.Algorithm == "" || k.Algorithm == string(jose.EdDSA)):
		n.Algorithm = string(jose.EdDSA)
		n.Curve = k.Curve
		n.X = canonical(k.X)
	}
	return n
}

// trimNumber returns a number without leading zero bytes, in its canonical encoding.
func trimNumber(encoded string) string {
	b, err := decodeURL(encoded)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(bytes.TrimLeft(b, "\x00"))
}

// canonical returns a value in the encoding without padding, line breaks and stray bits.
func canonical(encoded string) string {
	b, err := decodeURL(encoded)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeURL decodes base64url, with padding or without.
func decodeURL(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
}

// public builds the key.
func (k Key) public() (crypto.PublicKey, error) {
	switch k.Algorithm {
	case string(jose.RS256):
		return k.publicRSA()
	case string(jose.ES256):
		return k.publicP256()
	case string(jose.EdDSA):
		x, err := decodeURL(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return nil, ErrKey
		}
		return ed25519.PublicKey(x), nil
	}
	return nil, ErrKey
}

func (k Key) publicRSA() (crypto.PublicKey, error) {
	n, errN := decodeURL(k.N)
	e, errE := decodeURL(k.E)
	if errN != nil || errE != nil || len(n)*8 > maxRSABits || len(e) > 4 {
		return nil, ErrKey
	}
	modulus := new(big.Int).SetBytes(n)
	exponent := new(big.Int).SetBytes(e).Int64()
	// An even modulus or exponent makes no RSA key, and with the exponent 1 anybody could sign.
	if modulus.BitLen() < minRSABits || modulus.Bit(0) == 0 || exponent < 3 || exponent%2 == 0 || exponent > 1<<31-1 {
		return nil, ErrKey
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent)}, nil
}

func (k Key) publicP256() (crypto.PublicKey, error) {
	x, errX := decodeURL(k.X)
	y, errY := decodeURL(k.Y)
	if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return nil, ErrKey
	}
	point := append(append([]byte{4}, x...), y...)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point) // refuses a point that is not on the curve
	if err != nil {
		return nil, ErrKey
	}
	return key, nil
}

// Same reports whether two keys from ParseKey are equal. The zero Key belongs to nobody: for it Same returns false, even
// when both are zero.
func (k Key) Same(other Key) bool { return k == other && k != Key{} }

// Verify checks a compact JWS with this key and returns its payload. The key decides the algorithm, never the header: none
// and HMAC do not verify.
//
// Errors: ErrSignature.
func (k Key) Verify(compact string) ([]byte, error) { return k.VerifyUpTo(compact, MaxTokenBytes) }

// VerifyUpTo does what Verify does, for a JWS of at most most bytes.
func (k Key) VerifyUpTo(compact string, most int) ([]byte, error) {
	if len(compact) > most {
		return nil, ErrSignature
	}
	signed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(k.Algorithm)})
	if err != nil {
		return nil, ErrSignature
	}
	public, err := k.public()
	if err != nil {
		return nil, ErrSignature
	}
	payload, err := signed.Verify(public)
	if err != nil {
		return nil, ErrSignature
	}
	return payload, nil
}
