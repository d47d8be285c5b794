package storage

import (
	"context"
	"errors"
	"time"
)

// Look checks once whether the caller of [Store.Await] has what it waits for. Its context does not end with the wait: a
// result found by the last look still counts.
//
// It returns over when the wait is over. Otherwise again is the time after which the answer may change without a wake,
// such as the time until an expiry; 0 means that only a wake can change it.
type Look func(ctx context.Context, at Glance) (over bool, again time.Duration, err error)

// Glance says whether a look is the first or the last one of its wait.
type Glance struct {
	First bool // none came before it
	Last  bool // none follows
}

// ErrHeld is what [Store.Await] returns to a caller whose context holds a [Held] when the wait goes on.
var ErrHeld = errors.New("the wait goes on")

// Await looks at once, and again after each wake of uid ([Tx.Wake], [Purge]), until a look is over or fails. When wait
// has passed or ctx is done it looks a last time. With no wait it looks once.
//
// It misses no wake: the watch begins before the first look. A waiting caller costs a parked goroutine and a timer;
// nothing polls.
//
// A caller whose context holds a [Held] waits there and not here: Await returns ErrHeld, and goes on with the next
// look when it is called again.
//
// Errors: those of look; ErrHeld. The end of ctx is none.
func (s *Store) Await(ctx context.Context, uid UID, wait time.Duration, look Look) error {
	lasting := context.WithoutCancel(ctx)
	if wait <= 0 {
		_, _, err := look(lasting, Glance{First: true, Last: true})
		return err
	}
	h, elsewhere := ctx.Value(heldKey{}).(*Held)
	if !elsewhere {
		h = new(Held)
		defer h.End()
	}
	h.begin(ctx, s, uid, wait)
	for {
		over, again, err := look(lasting, h.glance)
		if over || err != nil || h.glance.Last {
			return err
		}
		h.again = again
		if elsewhere {
			h.goesOn = true
			return ErrHeld
		}
		h.Pause()
	}
}

// Held is a wait that its caller keeps. While [Held.GoesOn] is true after a call, the caller calls [Held.Pause] and
// then makes the same call again. The zero Held is ready for use. Not safe for concurrent use.
//
// It saves memory. A goroutine that waits deep in a call keeps a stack of 16 KiB (router, decoder, store) and
// everything that the call has allocated. A goroutine that returns to its start before it pauses is shrunk to 8 KiB by
// the next garbage collection.
type Held struct {
	ctx    context.Context // whose end ends the wait
	woken  <-chan struct{}
	stop   func()    // ends the watch; nil: the wait has not begun
	until  time.Time // when the wait has passed
	again  time.Duration
	glance Glance // of the next look
	goesOn bool   // the last look was not the end
}

type heldKey struct{}

// HeldKey is the context key of the caller's *Held.
func HeldKey() any { return heldKey{} }

// begin begins the wait, unless it has begun.
func (h *Held) begin(ctx context.Context, s *Store, uid UID, wait time.Duration) {
	if h.stop != nil {
		return
	}
	h.ctx = ctx
	h.woken, h.stop = s.Watch(uid)
	h.until = time.Now().Add(wait)
	h.glance.First = true
}

// GoesOn reports whether Await has returned ErrHeld since the last Pause.
func (h *Held) GoesOn() bool { return h.goesOn }

// Pause returns when there is a reason to look again.
func (h *Held) Pause() {
	h.goesOn = false // until the next Await says so: the call may end before it
	h.glance.First = false
	left := time.Until(h.until)
	next := left
	if h.again > 0 {
		next = min(left, h.again)
	}
	timer := time.NewTimer(next)
	defer timer.Stop()
	select {
	case <-h.woken:
	case <-timer.C:
		h.glance.Last = next == left
	case <-h.ctx.Done():
		h.glance.Last = true
	}
}

// End ends the wait, if it has begun. A Held is of no use afterwards.
func (h *Held) End() {
	h.goesOn = false
	if h.stop != nil {
		h.stop()
	}
}
