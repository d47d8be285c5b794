package storagetest

import (
	"context"
	"sync"

	"tutela/storage"
)

// Counted is an engine that counts the operations of its last Update: two callers who must not be told apart cost the same. Safe
// for concurrent use.
type Counted struct {
	storage.Engine
	mu   sync.Mutex
	last Work
}

// Work is the operations of one transaction, and the bytes that it wrote.
type Work struct{ Gets, Scans, Writes, Bytes int }

// Around makes the engine count what another one does.
func (e *Counted) Around(engine storage.Engine) storage.Engine {
	e.Engine = engine
	return e
}

// Last returns the operations of the last Update.
func (e *Counted) Last() Work {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// Update runs fn as the engine inside does, and counts.
func (e *Counted) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	return e.Engine.Update(ctx, func(r storage.Reader) (*storage.WriteSet, error) {
		c := &countedReader{Reader: r}
		ws, err := fn(c)
		if ws != nil {
			c.Writes = ws.Len()
			_ = ws.Each(func(key string, value []byte) error {
				c.Bytes += len(key) + len(value)
				return nil
			})
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.last = c.Work
		return ws, err
	})
}

type countedReader struct {
	storage.Reader
	Work
}

// Get counts one key.
func (r *countedReader) Get(key []byte) ([]byte, error) {
	r.Gets++
	return r.Reader.Get(key)
}

// GetMany counts each key.
func (r *countedReader) GetMany(keys [][]byte) ([][]byte, error) {
	r.Gets += len(keys)
	return r.Reader.GetMany(keys)
}

// Scan counts one scan, however many keys it sees.
func (r *countedReader) Scan(in storage.Range, fn func(key, value []byte) bool) error {
	r.Scans++
	return r.Reader.Scan(in, fn)
}
