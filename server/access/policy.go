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

// SetPolicies sets several policies at once: all of them, or none. It is a management call.
//
// Errors: setting.ErrUnknown; setting.ErrValue.
func (s *Service) SetPolicies(ctx context.Context, actor audit.Actor, values map[string]string) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if err := setPolicy(tx, actor, name, values[name]); err != nil {
				return err
			}
		}
		return audit.RecordCall(tx, actor, storage.House)
	})
}

// setPolicy sets a policy, and records that when it changes something.
func setPolicy(tx *storage.Tx, actor audit.Actor, name, value string) error {
	before, err := setting.Get(tx, name)
	if err != nil {
		return err
	}
	if err := setting.Set(tx, name, value); err != nil || before.Value == value {
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
// Errors: setting.ErrUnknown; setting.ErrValue.
func (s *Service) SetPolicy(ctx context.Context, actor audit.Actor, name, value string) (info setting.Info, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := setPolicy(tx, actor, name, value); err != nil {
			return err
		}
		info, err = setting.Get(tx, name)
		return err
	})
	return info, err
}
