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

// Kind is a kind of token that only we read: a JWT with HS256 (RFC 7515) under a key of the ring that is derived for
// the kind. The kind is the JWT's typ, and is never taken from the token: a token of one kind does not verify as
// another, for its header and its key are both others.
type Kind string

// The kinds of tokens under the ring's keys.
const (
	TransactionToken Kind = "tutela-txtkn+jwt" // answers one approval on one phone
	MFAToken         Kind = "tutela-mfa+jwt"   // carries one login through the MFA grants
	FlowToken        Kind = "tutela-flow+jwt"  // carries a page of the browser client through its transaction
)

// Kinds lists them all. Whoever adds a kind adds it here, and a row to the test that offers each kind in the place
// of each other.
var Kinds = []Kind{TransactionToken, MFAToken, FlowToken}

// ErrToken reports a token that we did not make, or made for something else.
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

// VerifyToken checks the MAC and the kind of a token and decodes its claims. Time is the caller's to judge: some
// tokens are told apart by what has become of their login, not refused for their exp.
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

// tokenHeader is the one header that a token of the kind can have under this version: verifying compares it whole,
// so nothing in it is ever believed.
func (v *version) tokenHeader(kind Kind) string {
	header := fmt.Sprintf(`{"alg":"HS256","typ":%q,"kid":"%d"}`, string(kind), v.number)
	return base64.RawURLEncoding.EncodeToString([]byte(header))
}

// tokenVersion finds the version that a header names, as a hint for which key to try.
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
