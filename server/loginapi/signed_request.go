package loginapi

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"tutela/server/access"
)

// besideRequest are the parameters that stand beside a signed request: it, and those by which a client authenticates.
var besideRequest = []string{"request", "client_id", "client_secret", "client_assertion", "client_assertion_type"}

// claimsOfJWT are the claims of a signed request that are no parameters.
var claimsOfJWT = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti"}

// signedParams returns the parameters of an authentication request: those of the call, or the claims of the JWT in its parameter
// request. A client that is registered for signed requests sends no others, so that nobody on the way can add to what it has signed.
//
// Source: CIBA Core 1.0 §7.1.1; RFC 9101 §4 (no request within a request).
func (a *API) signedParams(ctx context.Context, p params, client access.Client) (params, error) {
	request, err := p.text("request", access.MaxRequestBytes)
	switch {
	case err != nil:
		return nil, err
	case request == "" && client.RequestAlg == "":
		return p, nil
	case request == "":
		return nil, badRequest("the client is registered for signed requests: request is missing")
	case client.RequestAlg == "":
		return nil, badRequest("the client is not registered for signed requests: register it with request_alg, or send the parameters as they are")
	}
	for name := range p {
		if !slices.Contains(besideRequest, name) {
			return nil, badRequest("beside a signed request there are only the parameters by which the client authenticates")
		}
	}
	claims, err := a.access.OpenRequest(ctx, client, request)
	if err != nil {
		return nil, err
	}
	signed, err := parseJSON(claims)
	if err != nil {
		return nil, err
	}
	if named, err := signed.text("client_id", maxShortBytes); err != nil || named != "" && named != client.ID {
		return nil, badRequest("client_id in the signed request is not the client that authenticates")
	}
	for _, name := range []string{"request", "request_uri"} {
		if _, there := signed[name]; there {
			return nil, badRequest("there is no request within a request")
		}
	}
	maps.DeleteFunc(signed, func(name string, _ json.RawMessage) bool { return slices.Contains(claimsOfJWT, name) })
	return signed, nil
}
