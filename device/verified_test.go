package device

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"testing"
)

func TestVerified_RemembersASignatureForItsKeyAlone(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key := Key{
		Type:      "OKP",
		Curve:     "Ed25519",
		Algorithm: "EdDSA",
		X:         base64.RawURLEncoding.EncodeToString(public),
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"dev_1"}`))
	token := signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, []byte(signed)))
	var v verified
	for range 2 {
		payload, err := v.payload(key, token)
		if err != nil || string(payload) != `{"iss":"dev_1"}` {
			t.Fatalf("payload %q, %v", payload, err)
		}
	}
	other := key
	otherPublic, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other.X = base64.RawURLEncoding.EncodeToString(otherPublic)
	if _, err := v.payload(other, token); !errors.Is(err, ErrSignature) {
		t.Fatalf("another key: %v", err)
	}
	forged := signed + "." + base64.RawURLEncoding.EncodeToString(make([]byte, ed25519.SignatureSize))
	for range 2 {
		if _, err := v.payload(key, forged); !errors.Is(err, ErrSignature) {
			t.Fatalf("a forged signature: %v", err)
		}
	}
}
