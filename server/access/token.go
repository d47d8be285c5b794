package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	json "github.com/go-json-experiment/json/v1"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/legible"
)

// How long tokens live.
const (
	TokenLife      = time.Hour // ID and access tokens
	ManagementLife = 24 * time.Hour
)

// clockLeeway is how far ahead of our clock a token's iat may be: another server of ours may have made it.
const clockLeeway = 5 * time.Minute

// maxTokenBytes bounds a management token. We make none that is longer.
const maxTokenBytes = 16 << 10

// Errors about tokens.
var (
	ErrToken              = storage.NewError(storage.Denied, "the token is not valid")
	ErrAudience           = storage.NewError(storage.Invalid, "a token about a user cannot have this audience")
	ErrManagementAudience = storage.NewError(storage.Denied, "the audience is not that of the management API")
)

// Login is what the tokens of a login say about it.
type Login struct {
	UserID    string    // the login system's: sub
	At        time.Time // when the proof came, by the wall clock: auth_time
	AMR       []string  // how (RFC 8176), such as "mfa", "swk"
	AuthReqID string    // of CIBA; empty for any other login
}

// IDToken makes the ID token of a login, for the client that asked. Sources: OpenID Connect Core 1.0 §2; CIBA Core
// 1.0 §10.3.1 (auth_req_id).
func (s *Service) IDToken(ctx context.Context, c Client, l Login) (string, error) {
	k, err := s.signer(ctx, c.alg())
	if err != nil {
		return "", err
	}
	claims := idClaims{
		claims:    s.claims(l.UserID, c.ID, TokenLife),
		AuthTime:  l.At.Unix(),
		AMR:       l.AMR,
		AuthReqID: l.AuthReqID,
	}
	return k.signClaims(k.idHeader, claims)
}

// AccessToken makes the access token of a login, for the client that asked. audience is the program that will accept the
// token; empty means the client itself. The token has the requested scopes that the client has.
//
// Source: RFC 9068.
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
	claims := accessClaims{
		claims:   s.claims(l.UserID, audience, TokenLife),
		AuthTime: l.At.Unix(),
		AMR:      l.AMR,
		ClientID: c.ID,
		ID:       tokenID(),
		Scope:    strings.Join(c.Granted(requested), " "),
	}
	return k.signClaims(k.accessHeader, claims)
}

// ResultToken makes the token of a login that the browser client has completed, for the client that asked. txID is the txid in
// that client's mfa_token. The token lives for life.
func (s *Service) ResultToken(ctx context.Context, c Client, l Login, txID string, life time.Duration) (string, error) {
	k, err := s.signer(ctx, c.alg())
	if err != nil {
		return "", err
	}
	claims := resultClaims{
		claims:   s.claims(l.UserID, c.ID, life),
		AuthTime: l.At.Unix(),
		AMR:      l.AMR,
		TxID:     txID,
		ID:       tokenID(),
	}
	return k.signClaims(k.resultHeader, claims)
}

// CheckAudience returns an error unless an access token about a user, which the client asks for, may have the audience. It
// refuses audiences of ours, and every other client, which might take the token for one that it asked for itself. Empty means
// the client.
//
// Errors: ErrAudience.
func (s *Service) CheckAudience(ctx context.Context, c Client, audience string) error {
	switch {
	case audience == "" || audience == c.ID:
		return nil
	case s.isOurs(audience), legible.Check("audience", audience, maxClientURLBytes) != nil:
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

// ManagementToken makes a client's token for management calls. The token has the requested scopes that the client has, or
// all scopes of the client when none is requested; ManagementToken also returns them. It records an event when it gives a
// token and when it refuses one.
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
	// Is it refused? If not, sign outside of the transaction.
	refused := c.MayUse(GrantClientCredentials)
	if refused == nil && !s.isManagement(audience) {
		refused = ErrManagementAudience.With("the audience of a token for management calls is %s", s.ManagementAudience())
	}
	if refused == nil {
		if token, err = s.signManagement(k, c.ID, audience, scopes, c.Tokens); err != nil {
			return "", nil, err
		}
	}
	// Check the client again, and record the outcome, a refusal too.
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		now, err := client(tx, c.ID)
		if errors.Is(err, ErrNoClient) || err == nil && now.TokenVersion != c.Tokens {
			return ErrClient
		}
		if err != nil {
			return err
		}
		e := audit.Event{Type: audit.TokenGiven}
		if refused != nil {
			e.Type = audit.TokenRefused
		}
		if err := audit.Record(tx, audit.ByClient(c.ID, c.Scopes, c.ActsAs), e, audit.Detail{}); err != nil {
			return err
		}
		return storage.Kept(refused)
	})
	if err != nil {
		return "", nil, err
	}
	return token, scopes, nil
}

func (s *Service) signManagement(k *key, clientID, audience string, scopes []string, version int) (string, error) {
	claims := managementClaims{
		claims:    s.claims(clientID+"@clients", audience, ManagementLife),
		Party:     clientID,
		ClientID:  clientID,
		GrantType: grantOfManagement,
		ID:        tokenID(),
		Scope:     strings.Join(scopes, " "),
		Version:   version,
	}
	return k.signClaims(k.accessHeader, claims)
}

// grantOfManagement is the claim gty of a management token. No token about a user has it. Source: Auth0's tokens.
const grantOfManagement = "client-credentials"

// VerifyManagement returns the actor who calls with a management token. The client must still exist and have the grant, and
// the user for whom it acts must still exist. Only those of the token's scopes count that the client still has.
//
// Errors: ErrToken, for everything that is wrong.
func (s *Service) VerifyManagement(ctx context.Context, token string) (audit.Actor, error) {
	claims, err := s.readManagement(ctx, token)
	if err != nil {
		return audit.Actor{}, err
	}
	now := s.store.Wall()
	if claims.Issuer != s.issuer || !s.isManagement(claims.Audience) || claims.GrantType != grantOfManagement ||
		!now.Before(time.Unix(claims.Expires, 0)) || time.Unix(claims.Issued, 0).After(now.Add(clockLeeway)) {
		return audit.Actor{}, ErrToken
	}
	var caller audit.Actor
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		c, err := s.caller(tx, claims.ClientID)
		if err != nil {
			return err
		}
		if err := c.MayUse(GrantClientCredentials); err != nil {
			return err
		}
		if claims.Version != c.TokenVersion {
			return ErrNoClient // of a secret that was ended
		}
		caller = audit.ByClient(c.ID, c.Granted(strings.Fields(claims.Scope)), c.ActsAs).WithTokens(c.TokenVersion).WithBehind(c.Behind...)
		if c.ActsAs.IsZero() {
			return nil
		}
		_, err = user.Get(tx, c.ActsAs)
		return err
	})
	if errors.Is(err, ErrNoClient) || errors.Is(err, ErrGrant) || errors.Is(err, user.ErrUnknown) {
		return audit.Actor{}, ErrToken
	}
	if err == nil {
		s.uses.note(claims.ClientID, s.store.Now())
	}
	return caller, err
}

// readManagement checks the signature of a token and decodes its claims.
func (s *Service) readManagement(ctx context.Context, token string) (managementClaims, error) {
	var claims managementClaims
	payload, err := s.verified(ctx, token)
	if err != nil {
		return claims, err
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil || json.Unmarshal(decoded, &claims) != nil {
		return claims, ErrToken
	}
	return claims, nil
}

// verified checks the signature of a token of ours and returns its payload. It compares the whole header with the headers that our
// keys make, and so believes nothing in it.
//
// Errors: ErrToken.
func (s *Service) verified(ctx context.Context, token string) (payload string, err error) {
	header, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || len(token) > maxTokenBytes {
		return "", ErrToken
	}
	k, err := s.keyOfHeader(ctx, header)
	if err != nil {
		return "", err
	}
	id := sha256.Sum256([]byte(token))
	if !k.verified.has(id) {
		if !k.verifies(header+"."+payload, signature) {
			return "", ErrToken
		}
		k.verified.add(id)
	}
	return payload, nil
}

// keyOfHeader finds the ES256 key that makes access tokens with this header. For an unknown header it asks the store, but at
// most once in keyRetry: anybody can make up a header.
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

// alg returns the algorithm that signs the tokens about users for this client.
func (c Client) alg() jose.SignatureAlgorithm {
	if c.IDTokenAlg == string(rs256) {
		return rs256
	}
	return es256
}

// signClaims signs the claims of a token as a JWT with one of the key's headers.
func (k *key) signClaims(header string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return k.sign(header, payload)
}

// tokenID draws a jti.
func tokenID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(random[:])
}
