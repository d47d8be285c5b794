package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"tutela/storage"
)

// Why a wait ended before its time: the cause of its context.
var (
	ErrNewerWait = storage.NewError(storage.Conflict, "a newer call waits for the same")
	ErrShutdown  = storage.NewError(storage.Unavailable, "the server is shutting down")
)

// Waits bounds the calls whose answer is held until something happens: those of a key, where the newest wins, and all
// together. A wait is a parked call and a context; it neither polls nor has a timer.
type Waits struct {
	max int

	mu     sync.Mutex // guards what is below
	closed bool
	total  int
	byKey  map[string]*place // the newest wait of each key; never nil
}

// place is a wait's place among [Waits].
type place struct {
	context.Context
	end   context.CancelCauseFunc
	waits *Waits
	key   string
	older *place // of the same key; guarded by Waits.mu
}

// NewWaits makes an empty set that holds at most limit waits.
func NewWaits(limit int) *Waits { return &Waits{max: limit, byKey: map[string]*place{}} }

// Enter registers a wait for key. Beyond perKey waits for a key it ends the oldest with [ErrNewerWait]. When a call is run
// again after it has entered, it goes on with the wait that it has.
//
// waiting is ctx, and also ends at a newer wait ([ErrNewerWait]) or at the server's shutdown ([ErrShutdown]); its cause says
// which. The caller must call leave when the wait is over, and may call it again; while the call is held ([Call]), leave
// does nothing. ok is false when too many calls wait, or the server is shutting down. Then the caller must answer at once,
// and neither waiting nor leave does anything.
func (w *Waits) Enter(ctx context.Context, key string, perKey int) (waiting context.Context, leave func(), ok bool) {
	call := CallOf(ctx)
	if call != nil && call.place != nil && call.place.key == key {
		return call.place, call.leaveUnlessHeld, true
	}
	base := ctx
	if call != nil {
		base = &call.context // the handler's own context ends with its run
	}
	p := w.enter(base, key, perKey)
	switch {
	case p == nil:
		return ctx, func() {}, false
	case call == nil:
		return p, p.leave, true
	}
	call.place = p
	return p, call.leaveUnlessHeld, true
}

// Hold runs ask as the only long poll for key: a newer one or the server's shutdown makes it answer at once, and so does a server on which
// too many wait. ask may wait as long as it is told to.
//
// Errors: those of ask; storage.ErrHeld.
func (w *Waits) Hold(ctx context.Context, key string, wait time.Duration, ask func(context.Context, time.Duration) error) error {
	if wait <= 0 {
		return ask(ctx, 0)
	}
	waiting, leave, ok := w.Enter(ctx, key, 1)
	if !ok {
		return ask(ctx, 0)
	}
	defer leave()
	err := ask(waiting, wait)
	if err != nil && !errors.Is(err, storage.ErrHeld) && Cut(waiting) {
		return ask(ctx, 0) // cut before it had looked
	}
	return err
}

// enter makes a place; nil when there is no room.
func (w *Waits) enter(ctx context.Context, key string, perKey int) *place {
	w.mu.Lock()
	defer w.mu.Unlock()
	newest := w.byKey[key]
	replaces := newest.age() >= perKey && newest != nil
	if w.closed || (w.total >= w.max && !replaces) {
		return nil
	}
	if replaces {
		oldest := newest
		for oldest.older != nil {
			oldest = oldest.older
		}
		w.drop(oldest)
		oldest.end(ErrNewerWait)
	}
	p := &place{waits: w, key: key, older: w.byKey[key]}
	p.Context, p.end = context.WithCancelCause(ctx)
	w.byKey[key] = p
	w.total++
	return p
}

// age returns how many waits of the key there are, p and the older ones.
func (p *place) age() (n int) {
	for ; p != nil; p = p.older {
		n++
	}
	return n
}

// leave gives the place up. Calling it again does nothing.
func (p *place) leave() {
	p.waits.mu.Lock()
	p.waits.drop(p)
	p.waits.mu.Unlock()
	p.end(context.Canceled)
}

// leave ends the call's wait, if it has one.
func (c *Call) leave() {
	if c.place != nil {
		c.place.leave()
	}
}

// leaveUnlessHeld ends the call's wait, unless its handler is about to be run again.
func (c *Call) leaveUnlessHeld() {
	if !c.held() {
		c.leave()
	}
}

// drop removes p from the counts. Calling it again does nothing. The caller holds w.mu.
func (w *Waits) drop(p *place) {
	newest := w.byKey[p.key]
	for at := &newest; *at != nil; at = &(*at).older {
		if *at != p {
			continue
		}
		*at = p.older
		w.total--
		if newest == nil {
			delete(w.byKey, p.key)
		} else {
			w.byKey[p.key] = newest
		}
		return
	}
}

// Close ends every wait with [ErrShutdown]. No wait can begin after it.
func (w *Waits) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, newest := range w.byKey {
		for p := newest; p != nil; p = p.older {
			p.end(ErrShutdown)
		}
	}
}

// Len returns the number of waits.
func (w *Waits) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// Cut reports whether a wait was ended early by a newer one or by shutdown, rather than by its caller or its time.
func Cut(waiting context.Context) bool {
	cause := context.Cause(waiting)
	return errors.Is(cause, ErrNewerWait) || errors.Is(cause, ErrShutdown)
}
