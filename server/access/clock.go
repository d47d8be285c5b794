package access

import (
	"context"

	"tutela/storage"
	"tutela/storage/audit"
)

// SettleClock says which clock is right when the machine's and the last time written down are too far apart, and returns
// how they stand then.
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
