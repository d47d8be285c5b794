package access

import (
	"context"
	"errors"
	"slices"

	"tutela/storage"
	"tutela/storage/audit"
)

// SignSET signs the claims of a Security Event Token: a JWT by RS256, which is what receivers of Shared Signals know, with a typ of
// its own and the kid.
//
// Sources: RFC 8417 §2.3; CAEP Interoperability Profile 1.0 (RS256).
func (s *Service) SignSET(ctx context.Context, claims []byte) (string, error) {
	k, err := s.signer(ctx, rs256)
	if err != nil {
		return "", err
	}
	return k.sign(k.setHeader, claims)
}

// ReadySET makes the key of SETs, if there is none yet. It is that of the ID tokens by RS256.
func (s *Service) ReadySET(ctx context.Context) error { return s.ensureKeys(ctx, audit.Actor{}, rs256) }

// Receives reports whether a client is registered and has one of the scopes.
func (s *Service) Receives(tx *storage.Tx, id string, scopes ...string) (bool, error) {
	c, err := s.caller(tx, id)
	if errors.Is(err, ErrNoClient) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(c.Scopes, scope) }), nil
}
