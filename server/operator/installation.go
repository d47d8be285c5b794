package operator

import (
	"context"
	"encoding/json"
	"errors"

	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/setting"
)

// The calls about the installation as a whole.
var (
	// ListPolicies returns all policies, sorted by name.
	ListPolicies = declare("policy/list", (*Local).listPolicies)

	// SetPolicy sets a policy and returns it with its new value. Errors: those of access.Service.SetPolicy.
	SetPolicy = declare("policy/set", (*Local).setPolicy)

	// ReadJWKS returns the installation's public keys (RFC 7517 §5), which verify receipts.
	ReadJWKS = declare("jwks", (*Local).readJWKS)

	// Compact writes the data file anew. Errors: those of recovery.Service.Compact.
	Compact = declare("compact", (*Local).compact)

	// RotateKeys makes new keys and seals all sealed data again with them.
	RotateKeys = declare("key/rotate", (*Local).rotateKeys)
)

// PolicyChange gives a policy a value, as the operator typed it.
type PolicyChange struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Force bool   `json:"force,omitempty"` // also when its guard would refuse
}

func (l *Local) listPolicies(ctx context.Context, _ None) ([]setting.Info, error) {
	return l.Access.Policies(ctx)
}

func (l *Local) setPolicy(ctx context.Context, c PolicyChange) (setting.Info, error) {
	set := l.Access.SetPolicy
	if c.Force {
		set = l.Access.ForcePolicy
	}
	info, err := set(ctx, l.actor, c.Name, c.Value)
	if errors.Is(err, setting.ErrUnknown) {
		err = setting.ErrUnknown.With("there is no policy %q: see tutela policy list", c.Name)
	}
	return info, err
}

func (l *Local) readJWKS(ctx context.Context, _ None) (json.RawMessage, error) {
	return l.Access.JWKS(ctx)
}

func (l *Local) compact(ctx context.Context, _ None) (storage.Compaction, error) {
	return l.Codes.Compact(ctx)
}

func (l *Local) rotateKeys(ctx context.Context, _ None) (access.Rotation, error) {
	return l.Access.RotateAll(ctx, l.actor)
}
