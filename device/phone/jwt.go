package phone

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is what a signed statement of the phone is for.
type Kind string

// The statements that a phone signs.
const (
	DeviceToken       Kind = "device JWT"
	ChallengeResponse Kind = "challenge response"
	Manifest          Kind = "backup manifest"
	RestoreProof      Kind = "restore proof"
	ConsentProof      Kind = "consent proof"
)

// Quirks make a phone behave as some real clients do, or as a hostile one would. The zero value is a correct phone.
type Quirks struct {
	// ClockOffset is how far the phone's clock is wrong.
	ClockOffset time.Duration
	// KeepClock makes the phone keep its own clock when the server says that this clock is wrong.
	KeepClock bool
	// AppleJSON writes claims as Guardian.swift does: times with a fraction, every slash escaped.
	AppleJSON bool
	// LeadingZero writes the modulus of an RSA key as Guardian.Android does, with its sign byte.
	LeadingZero bool
	// Tamper may change the header and the claims of a statement before the phone signs it; nil changes nothing. With
	// the alg none the phone leaves the signature out. With HS256 it signs with the public key as the secret, the classic
	// confusion. With any other alg the device's key signs as ever.
	Tamper func(kind Kind, header, claims map[string]any)
	// ForeignKey signs in place of the device's own key.
	ForeignKey *Key
}

// seconds returns a NumericDate as this phone writes it.
func (p *Phone) seconds(t time.Time) any {
	if p.quirk().AppleJSON {
		return float64(t.UnixMicro()) / 1e6
	}
	return t.Unix()
}

// sign makes a statement of the given kind and signs it with key, as the quirks want.
func (p *Phone) sign(kind Kind, key *Key, claims map[string]any) (string, error) {
	quirks := p.quirk()
	header := map[string]any{"alg": string(key.Algorithm), "typ": "JWT"}
	if kind == ConsentProof {
		jwk, err := key.Public(quirks.LeadingZero)
		if err != nil {
			return "", err
		}
		header["typ"] = "dpop+jwt"
		header["jwk"] = jwk
	}
	if quirks.Tamper != nil {
		quirks.Tamper(kind, header, claims)
	}
	if quirks.ForeignKey != nil {
		key = quirks.ForeignKey
	}
	token, err := key.Sign(header, claims, quirks.AppleJSON)
	if err != nil {
		return "", fmt.Errorf("make a %s: %w", kind, err)
	}
	return token, nil
}

// Sign makes a compact JWS (RFC 7515 §7.1) over claims. header should hold the key's own alg; Quirks.Tamper says what any
// other does. escapeSlashes writes the claims as Apple's encoder does.
func (k *Key) Sign(header, claims map[string]any, escapeSlashes bool) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("encode JWS header: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode JWS payload: %w", err)
	}
	if escapeSlashes {
		payload = bytes.ReplaceAll(payload, []byte("/"), []byte(`\/`))
	}
	input := make([]byte, 0, 1024)
	input = b64.AppendEncode(input, h)
	input = append(input, '.')
	input = b64.AppendEncode(input, payload)
	sig, err := k.signAs(header["alg"], input)
	if err != nil {
		return "", err
	}
	input = append(input, '.')
	return string(b64.AppendEncode(input, sig)), nil
}

func (k *Key) signAs(alg any, input []byte) ([]byte, error) {
	switch alg {
	case "none":
		return nil, nil
	case "HS256":
		jwk, err := k.Public(false)
		if err != nil {
			return nil, err
		}
		secret, err := json.Marshal(jwk)
		if err != nil {
			return nil, fmt.Errorf("encode public key: %w", err)
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil), nil
	}
	return k.sign(input)
}

var errJWS = errors.New("not a compact JWS")

// payloadOf decodes the payload of a compact JWS into out. It does not check the signature.
func payloadOf(token string, out any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errJWS
	}
	payload, err := b64.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, out) != nil {
		return errJWS
	}
	return nil
}

// verifyJWS checks the signature of a compact JWS with a public key.
func verifyJWS(token string, by JWK) error {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 {
		return errJWS
	}
	sig, err := b64.DecodeString(token[dot+1:])
	if err != nil {
		return errJWS
	}
	return by.verify([]byte(token[:dot]), sig)
}
