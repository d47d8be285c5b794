package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// How long tokens live.
const (
	TokenLife      = time.Hour // ID and access tokens
	ManagementLife = 24 * time.Hour
)

// clockLeeway is how far ahead of our clock a token's iat may be: another server of ours made it.
const clockLeeway = 5 * time.Minute

// maxTokenBytes bounds a management token: what is longer is none of ours.
const maxTokenBytes = 16 << 10

// Errors about tokens.
var (
	ErrToken              = storage.NewError(storage.Denied, "the token is not valid")
	ErrAudience           = storage.NewError(storage.Invalid, "a token about a user cannot have this audience")
	ErrManagementAudience = storage.NewError(storage.Denied, "the audience is not that of the management API")
)

// Login is what the tokens of a login say of it.
type Login struct {
	UserID    string    // the login system's: sub
	At        time.Time // when the proof came, by the wall clock: auth_time
	AMR       []string  // how (RFC 8176), such as "mfa", "swk"
	AuthReqID string    // of CIBA; empty for a login that was asked for otherwise
}

// IDToken makes the ID token of a login, for the client that asked. Sources: OpenID Connect Core 1.0 §2; CIBA Core
// 1.0 §10.3.1 (auth_req_id).
func (s *Service) IDToken(ctx context.Context, c Client, l Login) (string, error) {
	k, err := s.signer(ctx, c.alg())
	if err != nil {
		return "", err
	}
	now := s.store.Wall()
	claims := newClaims(s.issuer, l.UserID, c.ID, now, now.Add(TokenLife))
	claims.number("auth_time", l.At.Unix())
	claims.list("amr", l.AMR)
	if l.AuthReqID != "" {
		claims.text("urn:openid:params:jwt:claim:auth_req_id", l.AuthReqID)
	}
	return k.sign(k.idHeader, claims.done())
}

// AccessToken makes the access token of a login, for the client that asked. audience is the program that will take
// it, and the client itself when empty; of the requested scopes it has those that the client has. Source: RFC 9068.
//
// Errors: ErrAudience.
func (s *Service) AccessToken(ctx context.Context, c Client, l Login, audience string, requested []string) (string, error) {
	if err := s.CheckAudience(ctx, c, audience); err != nil {
		return "", err
	}
	k, err := s.signer(ctx, c.alg())
	if err != nil {
		return "", err
	}
	if audience == "" {
		audience = c.ID
	}
	now := s.store.Wall()
	claims := newClaims(s.issuer, l.UserID, audience, now, now.Add(TokenLife))
	claims.number("auth_time", l.At.Unix())
	claims.list("amr", l.AMR)
	claims.text("client_id", c.ID)
	claims.text("jti", tokenID())
	if granted := c.Granted(requested); len(granted) > 0 {
		claims.text("scope", strings.Join(granted, " "))
	}
	return k.sign(k.accessHeader, claims.done())
}

// CheckAudience tells whether an access token about a user, asked for by the client, can have an audience: none of
// ours, and no other client, who might take the token for one that it asked for itself. Empty stands for the client.
//
// Errors: ErrAudience.
func (s *Service) CheckAudience(ctx context.Context, c Client, audience string) error {
	switch {
	case audience == "" || audience == c.ID:
		return nil
	case s.isOurs(audience), len(audience) > maxClientURLBytes, !utf8.ValidString(audience):
		return ErrAudience
	}
	_, err := s.Client(ctx, audience)
	if err == nil {
		return ErrAudience
	}
	if errors.Is(err, ErrNoClient) {
		return nil
	}
	return err
}

// ManagementToken makes the token of a client for management calls, with those of the requested scopes that the
// client has, or with all of the client's when none is requested; it returns them. That a token was given is an
// event, and so is that one was refused.
//
// Errors: ErrGrant; ErrManagementAudience; ErrClient when the client was removed meanwhile.
func (s *Service) ManagementToken(ctx context.Context, c Client, audience string, requested []string) (token string, scopes []string, err error) {
	k, err := s.signer(ctx, es256)
	if err != nil {
		return "", nil, err
	}
	scopes = c.Scopes
	if len(requested) > 0 {
		scopes = c.Granted(requested)
	}
	refused := c.MayUse(GrantClientCredentials)
	if refused == nil && !s.isManagement(audience) {
		refused = ErrManagementAudience
	}
	if refused == nil {
		if token, err = s.signManagement(k, c.ID, audience, scopes); err != nil {
			return "", nil, err
		}
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if _, err := client(tx, c.ID); errors.Is(err, ErrNoClient) {
			return ErrClient
		}
		e := audit.Event{Type: audit.TokenGiven, Client: c.ID, By: "client:" + c.ID}
		if refused != nil {
			e.Type = audit.TokenRefused
		}
		if err := audit.Record(tx, e, audit.Detail{}); err != nil {
			return err
		}
		return storage.Kept(refused)
	})
	if err != nil {
		return "", nil, err
	}
	return token, scopes, nil
}

func (s *Service) signManagement(k *key, clientID, audience string, scopes []string) (string, error) {
	now := s.store.Wall()
	claims := newClaims(s.issuer, clientID+"@clients", audience, now, now.Add(ManagementLife))
	claims.text("azp", clientID)
	claims.text("client_id", clientID)
	claims.text("gty", grantOfManagement)
	claims.text("jti", tokenID())
	claims.text("scope", strings.Join(scopes, " "))
	return k.sign(k.accessHeader, claims.done())
}

// grantOfManagement is the claim gty of a management token, which no token about a user has. Source: Auth0's tokens.
const grantOfManagement = "client-credentials"

// managementClaims are what is read of a management token.
type managementClaims struct {
	Issuer    string `json:"iss"`
	Audience  string `json:"aud"`
	IssuedAt  int64  `json:"iat"`
	Expires   int64  `json:"exp"`
	ClientID  string `json:"client_id"`
	GrantType string `json:"gty"`
	Scope     string `json:"scope"`
}

// VerifyManagement returns who calls with a management token. The client must still exist and may still use the
// grant, the user for whom it acts must still exist, and of the token's scopes count those that the client still has.
//
// Errors: ErrToken, whatever is wrong.
func (s *Service) VerifyManagement(ctx context.Context, token string) (Caller, error) {
	claims, err := s.readManagement(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	now := s.store.Wall()
	if claims.Issuer != s.issuer || !s.isManagement(claims.Audience) || claims.GrantType != grantOfManagement ||
		!now.Before(time.Unix(claims.Expires, 0)) || time.Unix(claims.IssuedAt, 0).After(now.Add(clockLeeway)) {
		return Caller{}, ErrToken
	}
	var caller Caller
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		c, err := client(tx, claims.ClientID)
		if err != nil {
			return err
		}
		if err := c.MayUse(GrantClientCredentials); err != nil {
			return err
		}
		caller = Caller{ClientID: c.ID, Scopes: c.Granted(strings.Fields(claims.Scope)), ActsAs: c.ActsAs}
		if c.ActsAs.IsZero() {
			return nil
		}
		_, err = user.Get(tx, c.ActsAs)
		return err
	})
	if errors.Is(err, ErrNoClient) || errors.Is(err, ErrGrant) || errors.Is(err, user.ErrUnknown) {
		return Caller{}, ErrToken
	}
	return caller, err
}

// readManagement checks the signature of a token and decodes its claims. The header is compared whole with those that
// our keys can have made, so nothing in it is ever believed.
func (s *Service) readManagement(ctx context.Context, token string) (managementClaims, error) {
	var claims managementClaims
	header, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || len(token) > maxTokenBytes {
		return claims, ErrToken
	}
	k, err := s.keyOfHeader(ctx, header)
	if err != nil {
		return claims, err
	}
	if !k.verifies(header+"."+payload, signature) {
		return claims, ErrToken
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil || json.Unmarshal(decoded, &claims) != nil {
		return claims, ErrToken
	}
	return claims, nil
}

// keyOfHeader finds the ES256 key that makes access tokens with this header. For one that is not known the store is
// asked, but not more often than once in keyRetry: anybody can make up a header.
func (s *Service) keyOfHeader(ctx context.Context, header string) (*key, error) {
	set, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	for range 2 {
		i := slices.IndexFunc(set.keys, func(k *key) bool { return k.stored.algorithm() == es256 && k.accessHeader == header })
		if i >= 0 {
			return set.keys[i], nil
		}
		if s.store.Now().Before(set.loaded.Add(keyRetry)) {
			break
		}
		if set, err = s.reload(ctx, set); err != nil {
			return nil, err
		}
	}
	return nil, ErrToken
}

// verifies checks an ES256 signature, r ‖ s in base64url. Source: RFC 7518 §3.4.
func (k *key) verifies(signed, signature string) bool {
	public, ok := k.stored.Public.Key.(*ecdsa.PublicKey)
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if !ok || err != nil || len(decoded) != 64 {
		return false
	}
	digest := sha256.Sum256([]byte(signed))
	return ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(decoded[:32]), new(big.Int).SetBytes(decoded[32:]))
}

// alg is what signs the tokens about users that the client asks for.
func (c Client) alg() jose.SignatureAlgorithm {
	if c.IDTokenAlg == string(rs256) {
		return rs256
	}
	return es256
}

// tokenID draws a jti.
func tokenID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// claims is a JWT's claims being written: a JSON object, member by member. Every login has two signed, so it is
// written straight, without a map or reflection.
type claims struct{ json []byte }

// newClaims begins with the claims that every token has. Source: RFC 7519 §4.1.
func newClaims(issuer, subject, audience string, issued, expires time.Time) *claims {
	c := &claims{json: make([]byte, 0, 512)}
	c.text("iss", issuer)
	c.text("sub", subject)
	c.text("aud", audience)
	c.number("iat", issued.Unix())
	c.number("exp", expires.Unix())
	return c
}

func (c *claims) name(name string) {
	separator := byte(',')
	if len(c.json) == 0 {
		separator = '{'
	}
	c.json = append(c.json, separator, '"')
	c.json = append(c.json, name...)
	c.json = append(c.json, '"', ':')
}

func (c *claims) text(name, value string) {
	c.name(name)
	c.json = appendText(c.json, value)
}

func (c *claims) number(name string, value int64) {
	c.name(name)
	c.json = strconv.AppendInt(c.json, value, 10)
}

func (c *claims) list(name string, values []string) {
	c.name(name)
	c.json = append(c.json, '[')
	for i, value := range values {
		if i > 0 {
			c.json = append(c.json, ',')
		}
		c.json = appendText(c.json, value)
	}
	c.json = append(c.json, ']')
}

func (c *claims) done() []byte { return append(c.json, '}') }

// appendText appends a JSON string. What is not plain ASCII goes to encoding/json.
func appendText(b []byte, value string) []byte {
	for i := range len(value) {
		if ch := value[i]; ch < ' ' || ch > '~' || ch == '"' || ch == '\\' {
			encoded := bytes.NewBuffer(b)
			encoder := json.NewEncoder(encoded)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(value); err != nil {
				return append(b, `""`...) // no string fails
			}
			return bytes.TrimSuffix(encoded.Bytes(), []byte("\n"))
		}
	}
	b = append(b, '"')
	b = append(b, value...)
	return append(b, '"')
}
