package access

import (
	"context"

	"tutela/storage"
	"tutela/storage/audit"
)

// DropDamage removes the unreadable records that were set aside, and returns their number. It records an event, unless
// there was nothing to remove.
//
// Errors: those of storage.Store.DropSetAside.
func (s *Service) DropDamage(ctx context.Context, actor audit.Actor) (int, error) {
	return s.store.DropSetAside(ctx, func(tx *storage.Tx, dropped int) error {
		if dropped == 0 {
			return nil
		}
		e := audit.Event{Type: audit.TenantUpdate, Facts: audit.Facts{audit.FactChange: audit.ChangeDamage}}
		return audit.Record(tx, actor, e, audit.Detail{})
	})
}
