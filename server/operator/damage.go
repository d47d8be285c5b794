package operator

import (
	"context"

	"tutela/storage"
)

// The calls about damaged records.
var (
	// ListDamage returns the unreadable records that were set aside, at most as many as its input says.
	ListDamage = declare("damage/list", func(l *Local, ctx context.Context, limit int) ([]storage.SetAside, error) {
		return l.Store.SetAside(ctx, limit)
	})

	// DropDamage removes all records that were set aside, and returns their number. Errors: those of storage.Store.DropSetAside.
	DropDamage = declare("damage/drop", func(l *Local, ctx context.Context, _ None) (int, error) {
		return l.Access.DropDamage(ctx, l.actor)
	})
)
