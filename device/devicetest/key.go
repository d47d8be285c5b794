package devicetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/storage/storagetest/check"
)

// NewEd25519 makes a key of the kind that costs least.
func NewEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check.Must(t, err)
	return key
}

// NewP256 makes an EC key on P-256.
func NewP256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check.Must(t, err)
	return key
}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// RSA returns an RSA key of 2048 bits, the same at every call: one costs a second to make.
func RSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsaKey()
	check.Must(t, err)
	return key
}

// Signers returns a key of each kind that apps have, by the kind's name.
func Signers(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	return map[string]crypto.Signer{"RSA": RSA(t), "P-256": NewP256(t), "Ed25519": NewEd25519(t)}
}

// JWK returns a signer's public key as an SDK sends it: Android puts a leading zero byte into n.
//
// Source: guardian-wire.md §1.4.
func JWK(t testing.TB, signer crypto.Signer) json.RawMessage {
	t.Helper()
	members := map[string]string{"use": "sig"}
	switch key := signer.Public().(type) {
	case *rsa.PublicKey:
		members["kty"] = "RSA"
		members["alg"] = "RS256"
		members["n"] = b64(append([]byte{0}, key.N.Bytes()...))
		members["e"] = b64(big.NewInt(int64(key.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		check.Must(t, err)
		maps.Copy(members, map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "x": b64(point[1:33]), "y": b64(point[33:])})
	case ed25519.PublicKey:
		maps.Copy(members, map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": b64(key)})
	default:
		t.Fatalf("a key of type %T", key)
	}
	jwk, err := json.Marshal(members)
	check.Must(t, err)
	return jwk
}

// Key returns a signer's public key as the server keeps it.
func Key(t testing.TB, signer crypto.Signer) device.Key {
	t.Helper()
	key, err := device.ParseKey(JWK(t, signer))
	check.Must(t, err)
	return key
}

// Sign makes a compact JWS over claims by a key, with the algorithm of its kind.
func Sign(t testing.TB, signer crypto.Signer, claims any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	check.Must(t, err)
	algorithm := jose.EdDSA
	switch signer.(type) {
	case *rsa.PrivateKey:
		algorithm = jose.RS256
	case *ecdsa.PrivateKey:
		algorithm = jose.ES256
	}
	return SignAs(t, algorithm, signer, payload)
}

// SignAs makes a compact JWS over a payload with an algorithm, which need not fit the key's kind.
func SignAs(t testing.TB, algorithm jose.SignatureAlgorithm, key any, payload []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	check.Must(t, err)
	signed, err := signer.Sign(payload)
	check.Must(t, err)
	compact, err := signed.CompactSerialize()
	check.Must(t, err)
	return compact
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
