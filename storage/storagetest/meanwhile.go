package storagetest

import (
	"context"
	"sync/atomic"

	"tutela/storage"
)

// Meanwhile is an engine on which something happens after a Peek, before what it has shown can be read: what a list must bear.
// Safe for concurrent use.
type Meanwhile struct {
	storage.Engine

	next atomic.Pointer[func()]
}

// After has fn run once, after the next Peek.
func (m *Meanwhile) After(fn func()) { m.next.Store(&fn) }

// Peek peeks, and then runs what was set by After.
func (m *Meanwhile) Peek(ctx context.Context, r storage.Range, fn func(key, value []byte) bool) error {
	err := m.Engine.Peek(ctx, r, fn)
	if then := m.next.Swap(nil); then != nil {
		(*then)()
	}
	return err
}
