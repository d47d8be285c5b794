package operator

import (
	"context"

	"tutela/storage"
)

// Clock returns how the store's time compares with the machine's clock.
var Clock = declare("clock/show", func(l *Local, _ context.Context, _ None) (storage.ClockState, error) {
	return l.Store.ClockState(), nil
})

// SettleClock says which clock is right, and returns how the two compare after that.
//
// Errors: storage.ErrClockAgrees.
var SettleClock = declare("clock/settle", func(l *Local, ctx context.Context, how storage.Settlement) (storage.ClockState, error) {
	return l.Access.SettleClock(ctx, l.actor, how)
})
