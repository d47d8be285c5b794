package bolt

import (
	"context"
	"errors"
	"io"
	"sync"

	"go.etcd.io/bbolt"

	"tutela/storage/bolt/boltfile"
)

// maxPinned is by how much the data file may grow for a snapshot at most.
const maxPinned = 1 << 30

// errUnpinned is what reading from a snapshot returns that was given up.
var errUnpinned = errors.New("the snapshot was given up")

// pin is a snapshot for plain reads that is given up when it costs too much: while it is held, freed pages cannot be
// reused and the file grows. The writer itself gives it up, since the goroutine that reads the snapshot may be stuck in
// a write to its receiver.
type pin struct {
	engine *Engine
	state  *boltfile.State
	raw    io.ReaderAt
	limit  int64 // how long the file may become

	mu sync.RWMutex // held while a page is read, which must not become another meanwhile
	tx *bbolt.Tx    // nil when it was given up
}

// pin takes a snapshot, which ends with ctx, with end, or when the file has grown by half of the room that is left on
// its disk.
func (e *Engine) pin(ctx context.Context) (*pin, error) {
	free, err := e.options.free(e.Folder())
	if err != nil {
		return nil, err
	}
	tx, file, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	growth := min(max((free-e.options.reserve)/2, boltfile.GrowthBytes), maxPinned)
	p := &pin{
		engine: e,
		raw:    file.raw,
		limit:  tx.Size() + growth,
		tx:     tx,
	}
	p.state = boltfile.Seen(tx, p)
	e.pins.Store(p, nil)
	context.AfterFunc(ctx, p.end)
	return p, nil
}

// ReadAt reads from the data file as long as the snapshot is held.
func (p *pin) ReadAt(b []byte, off int64) (int, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.tx == nil {
		return 0, errUnpinned
	}
	return p.raw.ReadAt(b, off)
}

// end gives the snapshot up.
func (p *pin) end() {
	p.engine.pins.Delete(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tx != nil {
		_ = p.tx.Rollback() // ends a read transaction, which cannot fail
		p.tx = nil
	}
}

// blame replaces err by the reason why the snapshot was given up, if that caused err.
func (p *pin) blame(err error) error {
	if !errors.Is(err, errUnpinned) {
		return err
	}
	return ErrSlowCopy.With("the copy was given up: its receiver is too slow, and the data file grew to %s meanwhile. "+
		"With room for a second data file on its disk a slow receiver would do no harm", mebibytes(p.limit))
}

// unpin gives up the snapshots that may not be held when the file has size bytes of pages.
func (e *Engine) unpin(size int64) {
	e.pins.Range(func(key, _ any) bool {
		if p, ok := key.(*pin); ok && size > p.limit {
			p.end()
		}
		return true
	})
}
