package access

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// The scopes of enrolment tokens, which need no registration.
const (
	ScopeEnroll               = "enroll"
	ScopeReadAuthenticators   = "read:authenticators"
	ScopeRemoveAuthenticators = "remove:authenticators"
)

// enrolmentScopes lists them.
var enrolmentScopes = []string{ScopeEnroll, ScopeReadAuthenticators, ScopeRemoveAuthenticators}

// Enrolment is what an enrolment token says: whoever has just proven a factor may look after her authenticators.
type Enrolment struct {
	Audience string    // as IsEnrolment accepts it
	ClientID string    // that asked for it
	TxID     string    // of the login that proved her
	Scopes   []string  // of enrolmentScopes
	Until    time.Time // by the wall clock
}

// enrolmentClaims are the claims of an enrolment token. Only such a token has the audience of the MFA API.
//
// Source: RFC 9068 §2.2.
type enrolmentClaims struct {
	accessClaims

	TxID string `json:"txid"`
}

// IsEnrolment reports whether audience is exactly the one of enrolment tokens, at one of the public URLs.
func (s *Service) IsEnrolment(audience string) bool {
	return slices.ContainsFunc(s.public, func(public string) bool { return audience == public+enrollmentPath })
}

// EnrolmentScopes returns those of the requested scopes that an enrolment token can have; all of them when none is requested.
func EnrolmentScopes(requested []string) []string {
	if len(requested) == 0 {
		return enrolmentScopes
	}
	var granted []string
	for _, scope := range distinct(requested) {
		if slices.Contains(enrolmentScopes, scope) {
			granted = append(granted, scope)
		}
	}
	return granted
}

// EnrolmentToken makes the enrolment token of a login.
func (s *Service) EnrolmentToken(ctx context.Context, l Login, e Enrolment) (string, error) {
	k, err := s.signer(ctx, es256)
	if err != nil {
		return "", err
	}
	claims := enrolmentClaims{
		accessClaims: accessClaims{
			claims:   s.claims(l.UserID, e.Audience, 0),
			AuthTime: l.At.Unix(),
			AMR:      l.AMR,
			ClientID: e.ClientID,
			ID:       tokenID(),
			Scope:    strings.Join(e.Scopes, " "),
		},
		TxID: e.TxID,
	}
	claims.Expires = e.Until.Unix()
	return k.signClaims(k.accessHeader, claims)
}

// VerifyEnrolment returns what an enrolment token says. Its client must still exist. Whether its login still lets anything, the domain
// decides.
//
// Errors: ErrToken, for everything that is wrong.
func (s *Service) VerifyEnrolment(ctx context.Context, token string) (Enrolment, error) {
	payload, err := s.verified(ctx, token)
	if err != nil {
		return Enrolment{}, err
	}
	var claims enrolmentClaims
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil || json.Unmarshal(decoded, &claims) != nil {
		return Enrolment{}, ErrToken
	}
	now := s.store.Wall()
	until := time.Unix(claims.Expires, 0)
	if claims.Issuer != s.issuer || !s.IsEnrolment(claims.Audience) || claims.TxID == "" || !now.Before(until) ||
		time.Unix(claims.Issued, 0).After(now.Add(clockLeeway)) {
		return Enrolment{}, ErrToken
	}
	if _, err := s.Client(ctx, claims.ClientID); err != nil {
		if errors.Is(err, ErrNoClient) {
			err = ErrToken
		}
		return Enrolment{}, err
	}
	return Enrolment{
		Audience: claims.Audience,
		ClientID: claims.ClientID,
		TxID:     claims.TxID,
		Scopes:   EnrolmentScopes(append(strings.Fields(claims.Scope), "")), // one without a scope lets nothing
		Until:    until,
	}, nil
}

// HasClient reports whether a client is registered.
func (s *Service) HasClient(tx *storage.Tx, id string) (bool, error) {
	_, err := s.caller(tx, id)
	if errors.Is(err, ErrNoClient) {
		return false, nil
	}
	return err == nil, err
}
