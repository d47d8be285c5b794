package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"tutela/storage"
)

// Handler does the work of an entry, outside any transaction. It looks at the store again first: what the entry
// speaks of may be over. The function that it returns, which may be nil, is run in the transaction that removes the
// entry, or puts it off. An error, of the handler or of the function, has the entry tried again later, until it
// expires; so does a panic. ErrGone removes it at once. The function is run in either case, unless the user was reset
// meanwhile.
//
// ctx ends after handlerTimeout, and soon after the sender was told to stop.
type Handler func(ctx context.Context, e Entry) (then func(*storage.Tx) error, err error)

// ErrGone is a handler's word that an entry cannot be done, now or later.
var ErrGone = errors.New("there is nothing to do")

const (
	workers      = 32
	idleInterval = 5 * time.Second // a look at the outbox without a wake, for entries whose retry is due
	firstRetry   = time.Second     // doubled with every attempt
	longestRetry = time.Minute

	handlerTimeout = 30 * time.Second // for one entry: a handler that hangs holds one of the workers
	grace          = 5 * time.Second  // for the entries in hand when the sender is told to stop
)

// Sender does the entries of the outbox.
type Sender struct {
	store    *storage.Store
	handlers map[Kind]Handler
	log      *slog.Logger

	mu      sync.Mutex
	inHand  map[string]struct{} // keys of pointers that a worker has, or that wait for the store to be well again
	stuck   map[string]int      // how often in a row what became of the entry could not be written down
	pending chan work
	done    chan struct{} // receives, at most one at a time, when a worker has finished
}

type work struct {
	key string
	pointer
}

// NewSender makes a sender; each kind of entry has its handler.
func NewSender(store *storage.Store, handlers map[Kind]Handler, log *slog.Logger) *Sender {
	return &Sender{
		store: store, handlers: handlers, log: log,
		inHand: make(map[string]struct{}), stuck: make(map[string]int), pending: make(chan work), done: make(chan struct{}, 1),
	}
}

// Run does entries as they become due, those of before first, until ctx is done; then it waits for the work in hand.
// An entry that was being done when a server died is done again. It is called once.
func (s *Sender) Run(ctx context.Context) {
	woken, stop := s.store.Watch(storage.House)
	defer stop()
	working, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cut) })()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for w := range s.pending {
				s.do(working, w)
			}
		})
	}
	for ctx.Err() == nil {
		wait := s.dispatch(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-woken:
		case <-s.done:
		case <-timer.C:
		}
		timer.Stop()
	}
	close(s.pending)
	group.Wait()
}

// dispatch hands what is due to the workers and returns how long to sleep when nothing else happens.
func (s *Sender) dispatch(ctx context.Context) time.Duration {
	wait := idleInterval
	due := s.due(ctx, &wait)
	for _, w := range due {
		s.mu.Lock()
		s.inHand[w.key] = struct{}{}
		s.mu.Unlock()
		select {
		case s.pending <- w:
		case <-ctx.Done():
			return 0 // to Run, which ends
		}
	}
	return wait
}

// due lists the pointers that are due and in nobody's hand; wait is shortened to the first that is to come.
func (s *Sender) due(ctx context.Context, wait *time.Duration) []work {
	now := s.store.Now()
	var found []work
	err := pointers.Peek(ctx, s.store, "", "", false, func(key string, value []byte) bool {
		at, err := strconv.ParseInt(key[:min(19, len(key))], 10, 64)
		if err != nil {
			return true
		}
		if to := time.Unix(0, at).Sub(now); to > 0 {
			*wait = min(*wait, to)
			return false
		}
		s.mu.Lock()
		_, taken := s.inHand[key]
		s.mu.Unlock()
		var p pointer
		if !taken && json.Unmarshal(value, &p) == nil {
			found = append(found, work{key: key, pointer: p})
		}
		return len(found) < 4*workers
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("look into the outbox", "err", err)
	}
	return found
}

func (s *Sender) do(ctx context.Context, w work) {
	err := s.attempt(ctx, w)
	s.mu.Lock()
	s.stuck[w.key]++
	wait := retryAfter(s.stuck[w.key])
	if err == nil {
		delete(s.stuck, w.key)
	}
	s.mu.Unlock()
	if err == nil {
		s.release(w)
		return
	}
	s.log.Warn("outbox", "entry", w.ID, "err", err)
	// It is still due: were it let go at once, the same phone would be told again and again while the store is ill.
	time.AfterFunc(wait, func() { s.release(w) })
}

func (s *Sender) release(w work) {
	s.mu.Lock()
	delete(s.inHand, w.key)
	s.mu.Unlock()
	select {
	case s.done <- struct{}{}:
	default:
	}
}

// attempt does one entry and writes down how it went.
func (s *Sender) attempt(ctx context.Context, w work) error {
	entry, err := s.look(ctx, w)
	if err != nil {
		return err
	}
	if entry == nil {
		return s.store.Update(ctx, func(tx *storage.Tx) error { return pointers.Delete(tx, w.UID, w.key) })
	}
	then, failed := s.handle(ctx, *entry)
	// What the handler did is done: it is written down though ctx is over.
	ctx = context.WithoutCancel(ctx)
	err = s.settle(ctx, w, then, failed)
	switch code := storage.CodeOf(err); {
	case err == nil:
		return nil
	case code == storage.Unavailable, code == storage.OutcomeUnknown:
		return err // the next look finds the entry settled, or tries again
	}
	// The transaction cannot be had with then. Without it the entry is put off, and does not come back at once.
	return s.settle(ctx, w, nil, err)
}

// look reads the entry of a pointer: nil when there is none, or when the pointer is gone, since the entry was done or
// put off in the moment when the pointer was found.
func (s *Sender) look(ctx context.Context, w work) (entry *Entry, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		pointed, err := pointers.Get(tx, w.UID, w.key)
		if err != nil || pointed == nil {
			return err
		}
		entry, err = payloads.Get(tx, w.UID, w.ID)
		if errors.Is(err, storage.ErrNotFound) { // purged
			return nil
		}
		return err
	})
	return entry, err
}

// handle runs the handler. A panic in it is an error: the sender has others' entries in hand.
func (s *Sender) handle(ctx context.Context, e Entry) (then func(*storage.Tx) error, err error) {
	if !s.store.Now().Before(e.Expires) {
		return nil, ErrGone
	}
	handler, ok := s.handlers[e.Kind]
	if !ok {
		return nil, fmt.Errorf("no handler for entries of kind %s", e.Kind)
	}
	ctx, cancel := context.WithTimeout(ctx, handlerTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			then, err = nil, fmt.Errorf("the handler of %s panicked: %v\n%s", e.Kind, p, debug.Stack())
		}
	}()
	return handler(ctx, e)
}

// settle removes the entry, or puts it off, and runs then.
func (s *Sender) settle(ctx context.Context, w work, then func(*storage.Tx) error, failed error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("writing down an entry panicked: %v", p)
		}
	}()
	gone := failed == nil || errors.Is(failed, ErrGone)
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		pointed, err := pointers.Get(tx, w.UID, w.key)
		if err != nil || pointed == nil {
			return err // it was settled already
		}
		if err := pointers.Delete(tx, w.UID, w.key); err != nil {
			return err
		}
		entry, err := payloads.Get(tx, w.UID, w.ID)
		if errors.Is(err, storage.ErrNotFound) {
			return nil // purged meanwhile, and what then would write belongs to nobody
		}
		if err != nil {
			return err
		}
		if then != nil {
			if err := then(tx); err != nil {
				return err
			}
		}
		if gone {
			return payloads.Delete(tx, w.UID, w.ID)
		}
		entry.Attempts++
		return errors.Join(payloads.Put(tx, w.UID, w.ID, entry), entry.point(tx, tx.Now().Add(retryAfter(entry.Attempts))))
	})
	if err == nil && !gone {
		s.log.Warn("outbox: to be tried again", "entry", w.ID, "err", failed)
	}
	return err
}

// retryAfter is how long to wait after so many attempts that failed.
func retryAfter(attempts int) time.Duration {
	return min(firstRetry<<min(attempts-1, 10), longestRetry)
}
