package operator

import (
	"context"

	"tutela/storage"
)

// The calls about damaged records.
var (
	// ListDamage returns the records that could not be read and were set aside, at most as many as it is given.
	ListDamage = declare("damage/list", func(l *Local, ctx context.Context, limit int) ([]storage.SetAside, error) {
		return l.Store.SetAside(ctx, limit)
	})

	// DropDamage removes all of them, and returns how many they were. Errors: those of storage.Store.DropSetAside.
	DropDamage = declare("damage/drop", func(l *Local, ctx context.Context, _ None) (int, error) {
		return l.Access.DropDamage(ctx, l.actor)
	})
)
