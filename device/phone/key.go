package phone

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// Algorithm names a kind of device key by its JWS algorithm.
type Algorithm string

// The kinds of keys that an app may enrol. The SDKs of today make RSA keys; signing with the others costs far less.
const (
	RS256 Algorithm = "RS256"
	ES256 Algorithm = "ES256"
	EdDSA Algorithm = "EdDSA"
)

// Key is a device's private key. As JSON it is PKCS #8 in base64: so it goes into the folder, and nowhere else.
type Key struct {
	Algorithm Algorithm
	signer    crypto.Signer
}

// NewKey draws a key: RSA with 2048 bits, P-256, or Ed25519.
func NewKey(a Algorithm) (*Key, error) {
	var signer crypto.Signer
	var err error
	switch a {
	case RS256:
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case ES256:
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, fmt.Errorf("key algorithm %q is none of RS256, ES256, EdDSA", a)
	}
	if err != nil {
		return nil, fmt.Errorf("draw a %s key: %w", a, err)
	}
	return &Key{Algorithm: a, signer: signer}, nil
}

// MarshalJSON writes the private key.
func (k *Key) MarshalJSON() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return nil, fmt.Errorf("encode device key: %w", err)
	}
	return json.Marshal(der)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (k *Key) UnmarshalJSON(data []byte) error {
	var der []byte
	if err := json.Unmarshal(data, &der); err != nil {
		return fmt.Errorf("decode device key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return errors.New("decode device key: not PKCS #8")
	}
	switch key := parsed.(type) {
	case *rsa.PrivateKey:
		*k = Key{RS256, key}
	case *ecdsa.PrivateKey:
		*k = Key{ES256, key}
	case ed25519.PrivateKey:
		*k = Key{EdDSA, key}
	default:
		return fmt.Errorf("decode device key: unknown kind %T", parsed)
	}
	return nil
}

// JWK is a public key as it goes over the wire (RFC 7517, RFC 8037).
type JWK struct {
	Kty string `json:"kty"`
	Alg string `json:"alg,omitempty"`
	Use string `json:"use,omitempty"`
	Crv string `json:"crv,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

var b64 = base64.RawURLEncoding

// Public returns the public key as a JWK. leadingZero writes an RSA modulus as Android does, with its sign byte.
func (k *Key) Public(leadingZero bool) (JWK, error) {
	jwk := JWK{Alg: string(k.Algorithm), Use: "sig"}
	switch pub := k.signer.Public().(type) {
	case *rsa.PublicKey:
		n := pub.N.Bytes()
		if leadingZero {
			n = append([]byte{0}, n...)
		}
		jwk.Kty = "RSA"
		jwk.N = b64.EncodeToString(n)
		jwk.E = b64.EncodeToString(big.NewInt(int64(pub.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := pub.Bytes() // 4 ‖ x ‖ y, 32 bytes each (SEC 1 §2.3.3)
		if err != nil {
			return JWK{}, fmt.Errorf("encode public key: %w", err)
		}
		jwk.Kty = "EC"
		jwk.Crv = "P-256"
		jwk.X = b64.EncodeToString(point[1:33])
		jwk.Y = b64.EncodeToString(point[33:])
	case ed25519.PublicKey:
		jwk.Kty = "OKP"
		jwk.Crv = "Ed25519"
		jwk.X = b64.EncodeToString(pub)
	}
	return jwk, nil
}

// sign makes the signature of a JWS over input, in the form that RFC 7518 §3.4 and RFC 8037 §3.1 fix.
func (k *Key) sign(input []byte) ([]byte, error) {
	switch key := k.signer.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(key, input), nil
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256(input)
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			return nil, fmt.Errorf("sign with device key: %w", err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig, nil
	default:
		digest := sha256.Sum256(input)
		sig, err := k.signer.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			return nil, fmt.Errorf("sign with device key: %w", err)
		}
		return sig, nil
	}
}

var errSignature = errors.New("signature does not verify")

// verify checks the signature of a JWS with this public key.
func (j JWK) verify(input, sig []byte) error {
	digest := sha256.Sum256(input)
	switch j.Kty {
	case "RSA":
		n, errN := b64.DecodeString(j.N)
		e, errE := b64.DecodeString(j.E)
		if errN != nil || errE != nil || len(e) > 4 {
			return errors.New("public key is no RSA key")
		}
		pub := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		if rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig) != nil {
			return errSignature
		}
	case "EC":
		x, errX := b64.DecodeString(j.X)
		y, errY := b64.DecodeString(j.Y)
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if errX != nil || errY != nil || err != nil {
			return errors.New("public key is no P-256 key")
		}
		if len(sig) != 64 || !ecdsa.Verify(pub, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			return errSignature
		}
	case "OKP":
		x, err := b64.DecodeString(j.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return errors.New("public key is no Ed25519 key")
		}
		if !ed25519.Verify(x, input, sig) {
			return errSignature
		}
	default:
		return fmt.Errorf("public key has unknown kty %q", j.Kty)
	}
	return nil
}
