package access

import (
	"context"
	"errors"

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

// SetPolicy sets a policy and returns it with its new value. The package that declares a policy decides which values it takes.
//
// Errors: setting.ErrUnknown; setting.ErrValue.
func (s *Service) SetPolicy(ctx context.Context, actor audit.Actor, name, value string) (info setting.Info, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := setting.Set(tx, name, value); err != nil {
			return err
		}
		facts := audit.Facts{
			audit.FactChange: audit.ChangePolicy,
			audit.FactPolicy: audit.Word(name),
			audit.FactValue:  audit.Word(value),
		}
		e := audit.Event{Type: audit.TenantUpdate, Facts: facts}
		var read error
		info, read = setting.Get(tx, name)
		return errors.Join(read, audit.Record(tx, actor, e, audit.Detail{}))
	})
	return info, err
}
