package server

import (
	"context"
	"errors"
	"sync"

	"tutela/storage"
)

// Why a wait ended before its time: the cause of its context.
var (
	ErrNewerWait = storage.NewError(storage.Conflict, "a newer call waits for the same")
	ErrShutdown  = storage.NewError(storage.Unavailable, "the server is shutting down")
)

// Waits counts the calls whose answer is held until something happens, so that they stay few: per key, where the newest
// wins, and over all. A wait is a parked call and a context: no polling, no timer of its own.
type Waits struct {
	max int

	mu     sync.Mutex // guards what is below
	closed bool
	total  int
	byKey  map[string][]*wait // oldest first; no empty lists
}

type wait struct{ end context.CancelCauseFunc }

// NewWaits makes an empty set that holds at most limit waits.
func NewWaits(limit int) *Waits { return &Waits{max: limit, byKey: map[string][]*wait{}} }

// Enter begins a wait for key, of which perKey may be held at once: the oldest over that is told to answer now.
//
// The context is ctx, ended also by a newer wait ([ErrNewerWait]) or the server's shutdown ([ErrShutdown]), as its
// cause tells. leave must be called when the wait is over, and may be called again. ok is false when too many wait over
// all, or the server is shutting down: the caller answers at once, and ctx and leave do nothing.
func (w *Waits) Enter(ctx context.Context, key string, perKey int) (waiting context.Context, leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	older := w.byKey[key]
	replaces := len(older) >= perKey && len(older) > 0
	if w.closed || (w.total >= w.max && !replaces) {
		return ctx, func() {}, false
	}
	if replaces {
		w.drop(key, older[0])
		older[0].end(ErrNewerWait)
	}
	waiting, end := context.WithCancelCause(ctx)
	this := &wait{end: end}
	w.byKey[key] = append(w.byKey[key], this)
	w.total++
	return waiting, func() { w.leave(key, this) }, true
}

func (w *Waits) leave(key string, this *wait) {
	w.mu.Lock()
	w.drop(key, this)
	w.mu.Unlock()
	this.end(context.Canceled)
}

// drop takes this off the books, once. w.mu is held.
func (w *Waits) drop(key string, this *wait) {
	list := w.byKey[key]
	for i, other := range list {
		if other != this {
			continue
		}
		w.total--
		if len(list) == 1 {
			delete(w.byKey, key)
		} else {
			w.byKey[key] = append(append(make([]*wait, 0, len(list)), list[:i]...), list[i+1:]...)
		}
		return
	}
}

// Close ends every wait with [ErrShutdown] and lets no other begin.
func (w *Waits) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, list := range w.byKey {
		for _, this := range list {
			this.end(ErrShutdown)
		}
	}
}

// Len is the number of waits that are held.
func (w *Waits) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// Cut tells whether a wait was ended early by a newer one or by shutdown, rather than by its caller or its time.
func Cut(waiting context.Context) bool {
	cause := context.Cause(waiting)
	return errors.Is(cause, ErrNewerWait) || errors.Is(cause, ErrShutdown)
}
