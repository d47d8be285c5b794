package access

import (
	"context"

	"tutela/storage"
	"tutela/storage/audit"
)

// SettleClock says which is right when the machine's clock and the last time on record are too far apart. It returns the
// state of the clock after that.
//
// Errors: storage.ErrClockAgrees.
func (s *Service) SettleClock(ctx context.Context, actor audit.Actor, how storage.Settlement) (storage.ClockState, error) {
	err := s.store.SettleClock(ctx, how, func(tx *storage.Tx) error {
		facts := audit.Facts{
			audit.FactChange: audit.ChangeClock,
			audit.FactClock:  audit.Word(how),
		}
		e := audit.Event{Type: audit.TenantUpdate, Facts: facts}
		return audit.Record(tx, actor, e, audit.Detail{})
	})
	return s.store.ClockState(), err
}
