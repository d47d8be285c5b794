package device

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/go-jose/go-jose/v4"
	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// ErrPossession reports a proof of possession that does not verify, or is for another call.
var ErrPossession = storage.NewError(storage.Denied, "the proof of possession of the device key does not verify")

// maxProofIDBytes bounds the jti of a proof.
const maxProofIDBytes = 256

// Call is what a proof of possession is for.
type Call struct {
	Method string
	Path   string // below a base
	Token  string // the access token that the call carries beside the proof
}

// possession holds the claims of a proof of possession. iat is not compared with a clock, because a phone's clock is
// never trusted: jti and the life of the access token decide whether the proof is fresh.
type possession struct {
	URL    string   `json:"htu"`
	Method string   `json:"htm"`
	Token  string   `json:"ath"` // base64url of the SHA-256 of the token
	ID     string   `json:"jti"`
	Issued *float64 `json:"iat"` // iOS sends fractions of a second
}

// Possession verifies a proof for a call by the enrolled key, and returns the proof's jti. The caller must accept each
// jti only once. The proof's header must hold the same key; apps may send it with a leading zero byte in n, as at the
// enrolment.
//
// Errors: ErrPossession.
//
// Source: guardian-wire.md §4.5; RFC 9449 §4.2 and §4.3.
func (b Bases) Possession(k Key, proof string, call Call) (id string, err error) {
	if err := k.checkProofHeader(proof); err != nil {
		return "", err
	}
	payload, err := k.Verify(proof)
	if err != nil {
		return "", ErrPossession
	}
	var p possession
	if err := json.Unmarshal(payload, &p); err != nil {
		return "", ErrPossession
	}
	// Compare each claim with the call.
	hash := sha256.Sum256([]byte(call.Token))
	bound := subtle.ConstantTimeCompare([]byte(strings.TrimRight(p.Token, "=")), []byte(base64.RawURLEncoding.EncodeToString(hash[:]))) == 1
	switch {
	case !bound:
		return "", ErrPossession.With("the proof's ath is not the hash of the token")
	case p.Method != call.Method || !b.Names([]string{withoutQuery(p.URL)}, call.Path):
		return "", ErrPossession.With("the proof's htm and htu do not match this call")
	case p.ID == "" || len(p.ID) > maxProofIDBytes:
		return "", ErrPossession.With("the proof lacks a jti")
	case p.Issued == nil || !isDate(*p.Issued):
		return "", ErrPossession.With("the proof lacks an iat")
	}
	return p.ID, nil
}

// withoutQuery returns a URL without query and fragment, which a proof leaves out.
//
// Source: RFC 9449 §4.3, item 9.
func withoutQuery(address string) string {
	if end := strings.IndexAny(address, "?#"); end >= 0 {
		return address[:end]
	}
	return address
}

// checkProofHeader returns an error unless the header of a proof has the right typ, this key and its algorithm. The
// header's key is only compared: the enrolled key verifies the signature.
func (k Key) checkProofHeader(proof string) error {
	if len(proof) > MaxTokenBytes {
		return ErrPossession
	}
	signed, err := jose.ParseSignedCompact(proof, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(k.Algorithm)})
	if err != nil {
		return ErrPossession
	}
	encoded, _, _ := strings.Cut(proof, ".")
	decoded, err := decodeURL(encoded)
	if err != nil {
		return ErrPossession
	}
	var header struct {
		Type string          `json:"typ"`
		Key  json.RawMessage `json:"jwk"`
	}
	if err := json.Unmarshal(decoded, &header); err != nil || !strings.EqualFold(header.Type, "dpop+jwt") || len(signed.Signatures) != 1 {
		return ErrPossession.With("the proof's typ is not dpop+jwt")
	}
	named, err := ParseKey([]byte(header.Key))
	if err != nil || !named.Same(k) {
		return ErrPossession.With("the proof's jwk is not the enrolled key")
	}
	return nil
}
