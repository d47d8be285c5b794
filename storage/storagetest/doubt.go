package storagetest

import (
	"context"
	"errors"
	"sync"

	"tutela/storage"
)

// Doubt wraps an engine so that a commit can end without telling whether it was kept, as one does whose sync fails.
func Doubt(engine storage.Engine) *DoubtEngine { return &DoubtEngine{Engine: engine} }

// DoubtEngine is what [Doubt] makes. The engine inside is for what only some engines offer. Safe for concurrent use.
type DoubtEngine struct {
	storage.Engine

	mu      sync.Mutex
	pass    int // Updates that are let through before the one in doubt
	armed   bool
	kept    bool
	doubted bool
	updates int
}

// Next makes the Update that follows pass others return ErrOutcomeUnknown. With kept its writes are committed all the
// same, without it they are not. An Update whose closure fails is not in doubt: nothing was to be committed.
func (d *DoubtEngine) Next(pass int, kept bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pass = pass
	d.armed = true
	d.kept = kept
	d.doubted = false
}

// Doubted reports whether the Update that Next named has come.
func (d *DoubtEngine) Doubted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.doubted
}

// Updates is how many Updates there have been.
func (d *DoubtEngine) Updates() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.updates
}

// turn counts an Update, and reports whether it is the one in doubt and whether it is kept.
func (d *DoubtEngine) turn() (doubt, kept bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.updates++
	if !d.armed {
		return false, false
	}
	if d.pass > 0 {
		d.pass--
		return false, false
	}
	d.armed = false
	d.doubted = true
	return true, d.kept
}

// errLost ends a transaction that is not to be kept.
var errLost = errors.New("lost in a commit of unknown outcome")

// Update runs fn as the engine inside does, or in doubt.
func (d *DoubtEngine) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	doubt, kept := d.turn()
	if !doubt {
		return d.Engine.Update(ctx, fn)
	}
	err := d.Engine.Update(ctx, func(r storage.Reader) (*storage.WriteSet, error) {
		ws, err := fn(r)
		if err == nil && !kept {
			err = errLost
		}
		return ws, err
	})
	if err == nil || errors.Is(err, errLost) {
		return storage.ErrOutcomeUnknown
	}
	return err
}
