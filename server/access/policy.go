package access

import (
	"context"
	"maps"
	"slices"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// Policies returns all policies of the installation, sorted by name, with the values that each accepts.
func (s *Service) Policies(ctx context.Context) (list []setting.Info, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		list, err = setting.List(tx)
		return err
	})
	return list, err
}

// Policy returns one policy.
//
// Errors: setting.ErrUnknown.
func (s *Service) Policy(ctx context.Context, name string) (info setting.Info, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		info, err = setting.Get(tx, name)
		return err
	})
	return info, err
}

// SetPolicies sets several policies at once: all of them, or none. It is a management call. What would weaken one takes the operator, or an
// owner who has just shown his passkey.
//
// Errors: setting.ErrUnknown; setting.ErrValue; admin.ErrRefused; admin.ErrProveAgain; ErrWeakens; those of a policy's guard.
func (s *Service) SetPolicies(ctx context.Context, actor audit.Actor, values map[string]string) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error { return setPolicies(tx, actor, values) })
}

// ChangePolicies does what SetPolicies does, and returns all policies.
//
// Errors: those of SetPolicies.
func (s *Service) ChangePolicies(ctx context.Context, actor audit.Actor, values map[string]string) (list []setting.Info, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := setPolicies(tx, actor, values); err != nil {
			return err
		}
		list, err = setting.List(tx)
		return err
	})
	return list, err
}

func setPolicies(tx *storage.Tx, actor audit.Actor, values map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		before, err := setting.Get(tx, name)
		if err != nil {
			return err
		}
		if err := maySetPolicy(tx, actor, name, before.Value, values[name]); err != nil {
			return err
		}
		if err := setPolicy(tx, actor, name, values[name], setting.Set); err != nil {
			return err
		}
	}
	return audit.RecordCall(tx, actor, storage.House)
}

// setter sets a policy: setting.Set, or setting.Force.
type setter func(tx *storage.Tx, name, to string) error

// setPolicy sets a policy, and records that when it changes something.
func setPolicy(tx *storage.Tx, actor audit.Actor, name, value string, set setter) error {
	before, err := setting.Get(tx, name)
	if err != nil {
		return err
	}
	if err := set(tx, name, value); err != nil || before.Value == value {
		return err
	}
	facts := audit.Facts{
		audit.FactChange: audit.ChangePolicy,
		audit.FactPolicy: audit.Word(name),
		audit.FactValue:  audit.Word(value),
	}
	return audit.Record(tx, actor, audit.Event{Type: audit.TenantUpdate, Facts: facts}, audit.Detail{})
}

// SetPolicy sets a policy and returns it with its new value. The package that declares a policy decides which values it takes.
//
// Errors: setting.ErrUnknown; setting.ErrValue; those of the policy's guard.
func (s *Service) SetPolicy(ctx context.Context, actor audit.Actor, name, value string) (setting.Info, error) {
	return s.setPolicy(ctx, actor, name, value, setting.Set)
}

// ForcePolicy does what SetPolicy does, and asks no guard.
//
// Errors: setting.ErrUnknown; setting.ErrValue.
func (s *Service) ForcePolicy(ctx context.Context, actor audit.Actor, name, value string) (setting.Info, error) {
	return s.setPolicy(ctx, actor, name, value, setting.Force)
}

func (s *Service) setPolicy(ctx context.Context, actor audit.Actor, name, value string, set setter) (info setting.Info, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := setPolicy(tx, actor, name, value, set); err != nil {
			return err
		}
		info, err = setting.Get(tx, name)
		return err
	})
	return info, err
}
