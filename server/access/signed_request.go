package access

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/storage"
)

// MaxRequestBytes bounds a signed authentication request.
const MaxRequestBytes = 24 << 10

// ErrRequest reports a signed authentication request that is not taken.
var ErrRequest = storage.NewError(storage.Invalid, "the signed request is refused")

// completeRequestAlg checks how the client signs its authentication requests: by one of its keys.
//
// Source: CIBA Core 1.0 §4 (backchannel_authentication_request_signing_alg).
func (c Client) completeRequestAlg() error {
	switch {
	case c.RequestAlg == "":
		return nil
	case !slices.Contains(AssertionAlgs(), c.RequestAlg):
		return ErrNewClient.With("requests are signed by one of %s, not %q", strings.Join(AssertionAlgs(), ", "), c.RequestAlg)
	case !slices.Contains(c.Grants, GrantCIBA):
		return ErrNewClient.With("signed requests are for a client with the grant %s", GrantCIBA)
	case !slices.ContainsFunc(c.keys(), c.signsRequests):
		return ErrNewClient.With("requests are signed by a key of the client, and it has none for %s", c.RequestAlg)
	}
	return nil
}

// signsRequests reports whether a key is one that the client's requests may be signed by.
func (c Client) signsRequests(key jose.JSONWebKey) bool {
	return slices.Contains(algsOf(key), jose.SignatureAlgorithm(c.RequestAlg))
}

// OpenRequest returns the claims of an authentication request that a client has signed, a JSON object. A request counts once, at all
// servers over the store, whatever comes of it.
//
// Errors: ErrRequest, which says what is wrong; ErrClient, when the client was removed meanwhile.
//
// Source: CIBA Core 1.0 §7.1.1.
func (s *Service) OpenRequest(ctx context.Context, c Client, request string) (claims []byte, err error) {
	unsigned := ErrRequest.With("request is no JWT that the client's key has signed by %s", c.RequestAlg)
	if c.RequestAlg == "" || len(request) > MaxRequestBytes {
		return nil, unsigned
	}
	signed, err := jose.ParseSignedCompact(request, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(c.RequestAlg)})
	if err != nil || !c.hasSigned(signed) {
		return nil, unsigned
	}
	if !isOfType(signed, "JWT", "oauth-authz-req+jwt") {
		return nil, ErrRequest.With("the typ of a request is JWT or oauth-authz-req+jwt, or none")
	}
	claims = signed.UnsafePayloadWithoutVerification() // it was verified
	var named assertionClaims
	if json.Unmarshal(claims, &named) != nil {
		return nil, ErrRequest.With("the claims of the signed request are no JSON object with iss, aud and jti as text, and exp, iat and nbf as numbers")
	}
	until, err := s.checkRequest(c, named)
	if err != nil {
		return nil, err
	}
	used := jti{key: keyOfJTI("request", c.ID, named.ID), until: until}
	used.twice = ErrRequest.With("the signed request was used before: sign another, with a jti of its own")
	now, err := s.use(ctx, c, signed, used)
	if err != nil {
		return nil, err
	}
	if now.RequestAlg != c.RequestAlg {
		return nil, unsigned
	}
	return claims, nil
}

// checkRequest checks the claims of a request that its client has signed, and returns until when it is to be remembered. The client as the
// subject would make a client assertion of it, which anybody could use who has read it.
//
// Errors: ErrRequest.
//
// Source: CIBA Core 1.0 §7.1.1; RFC 9101 §10.8 (cross-JWT confusion).
func (s *Service) checkRequest(client Client, c assertionClaims) (until time.Time, err error) {
	now := s.store.Wall()
	refuse := func(why string) (time.Time, error) {
		return time.Time{}, ErrRequest.With("the signed request is refused: %s", why)
	}
	switch {
	case c.Issuer != client.ID:
		return refuse("iss is the client_id")
	case c.Subject == client.ID:
		return refuse("sub is not the client_id: whom the request is about says login_hint")
	case !slices.Contains(valuesOf(c.Audience), s.issuer):
		return refuse("aud is the issuer, " + s.issuer)
	case c.ID == "" || len(c.ID) > maxJTIBytes:
		return refuse("jti is missing, or longer than 255 bytes")
	case c.Expires == nil || c.Issued == nil || c.NotBefore == nil:
		return refuse("exp, iat and nbf must be there")
	}
	expires := instantOf(*c.Expires)
	notBefore := instantOf(*c.NotBefore)
	switch {
	case !now.Before(expires.Add(assertionSkew)):
		return refuse("it has expired")
	case instantOf(*c.Issued).After(now.Add(assertionSkew)):
		return refuse("iat is in the future: set the clock")
	case notBefore.After(now.Add(assertionSkew)):
		return refuse("nbf is in the future: set the clock")
	case expires.After(notBefore.Add(assertionLife)):
		return refuse("exp is more than an hour after nbf")
	}
	return s.rememberUntil(expires, now), nil
}
