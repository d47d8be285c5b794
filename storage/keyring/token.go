package keyring

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// Kind is a kind of token that only this server reads: a JWT with HS256 (RFC 7515), under a ring key derived for the
// kind. The kind is the JWT's typ. The verifier names the kind it expects and never takes it from the token: a token of
// another kind has another header and another key, and does not verify.
type Kind string

// The kinds of tokens under the ring's keys.
const (
	TransactionToken Kind = "tutela-txtkn+jwt" // answers one approval on one phone
	MFAToken         Kind = "tutela-mfa+jwt"   // carries one login through the MFA grants
	FlowToken        Kind = "tutela-flow+jwt"  // carries a page of the browser client through its transaction
)

// Kinds lists all kinds. When you add a kind, add it here, and add a row to the test that offers each kind in the place
// of every other.
var Kinds = []Kind{TransactionToken, MFAToken, FlowToken}

// ErrToken reports a token that this installation did not make, or made for another purpose.
var ErrToken = storage.NewError(storage.Denied, "the token is not valid here")

// SignToken makes a token of a kind with the claims, a value that encodes as a JSON object.
func (r *Ring) SignToken(kind Kind, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign %s: %w", kind, err)
	}
	v := r.newest()
	signed := v.tokenHeader(kind) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return signed + "." + v.tokenMAC(kind, signed), nil
}

// VerifyToken checks the MAC and the kind of a token and decodes its claims. It does not check exp, since for some
// tokens the state of their login decides: the caller checks the time.
//
// Errors: ErrToken.
func (r *Ring) VerifyToken(kind Kind, token string, claims any) error {
	header, rest, ok := strings.Cut(token, ".")
	payload, mac, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(mac, ".") {
		return ErrToken
	}
	v, err := r.tokenVersion(header)
	if err != nil || header != v.tokenHeader(kind) {
		return ErrToken
	}
	if !hmac.Equal([]byte(mac), []byte(v.tokenMAC(kind, header+"."+payload))) {
		return ErrToken
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil || json.Unmarshal(decoded, claims) != nil {
		return ErrToken
	}
	return nil
}

// tokenHeader returns the only header that a token of the kind can have under this version. Verification compares the
// whole header, so nothing in it needs to be trusted.
func (v *version) tokenHeader(kind Kind) string {
	header := fmt.Sprintf(`{"alg":"HS256","typ":%q,"kid":"%d"}`, string(kind), v.number)
	return base64.RawURLEncoding.EncodeToString([]byte(header))
}

// tokenVersion returns the version that a header names. It is only a hint which key to try.
func (r *Ring) tokenVersion(header string) (*version, error) {
	decoded, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return nil, err
	}
	var named struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal(decoded, &named); err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(named.KeyID, 10, 32)
	if err != nil {
		return nil, err
	}
	return r.hinted(uint32(number))
}

func (v *version) tokenMAC(kind Kind, signed string) string {
	m := hmac.New(sha256.New, v.derive("token "+string(kind)))
	m.Write([]byte(signed))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}
