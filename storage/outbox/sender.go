package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"tutela/storage"
)

// Handler does the work of an entry, outside any transaction. It looks at the store again first: what the entry
// speaks of may be over. The function that it returns, which may be nil, is run in the transaction that removes the
// entry. An error has the entry tried again later, until it expires; ErrGone removes it at once. The function is
// run in either case.
type Handler func(ctx context.Context, e Entry) (then func(*storage.Tx) error, err error)

// ErrGone is a handler's word that an entry cannot be done, now or later.
var ErrGone = errors.New("there is nothing to do")

const (
	workers      = 32
	idleInterval = 5 * time.Second // a look at the outbox without a wake, for entries whose retry is due
	firstRetry   = time.Second     // doubled with every attempt
	longestRetry = time.Minute
)

// Sender does the entries of the outbox.
type Sender struct {
	store    *storage.Store
	handlers map[Kind]Handler
	log      *slog.Logger

	mu      sync.Mutex
	inHand  map[string]struct{} // keys of pointers that a worker has
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
		inHand: make(map[string]struct{}), pending: make(chan work), done: make(chan struct{}, 1),
	}
}

// Run does entries as they become due, those of before first, until ctx is done; then it waits for the work in hand.
// An entry that was being done when a server died is done again.
func (s *Sender) Run(ctx context.Context) {
	woken, stop := s.store.Watch(storage.House)
	defer stop()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for w := range s.pending {
				s.do(ctx, w)
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
			return 0
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
	if err == nil || ctx.Err() != nil {
		s.release(w)
		return
	}
	s.log.Warn("outbox", "entry", w.ID, "err", err)
	// It is still due: were it let go at once, a store that cannot be written would be asked without a pause.
	time.AfterFunc(firstRetry, func() { s.release(w) })
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
	var entry *Entry
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		entry, err = payloads.Get(tx, w.UID, w.ID)
		return err
	})
	if errors.Is(err, storage.ErrNotFound) { // purged
		return s.store.Update(ctx, func(tx *storage.Tx) error { return pointers.Delete(tx, w.UID, w.key) })
	}
	if err != nil {
		return err
	}
	handler, ok := s.handlers[entry.Kind]
	if !ok {
		return errors.New("no handler for entries of kind " + string(entry.Kind))
	}
	var then func(*storage.Tx) error
	failed := ErrGone
	if s.store.Now().Before(entry.Expires) {
		then, failed = handler(ctx, *entry)
	}
	return s.settle(ctx, w, then, failed)
}

// settle removes the entry, or puts it off. What the handler did is done: it is written down though ctx is over.
func (s *Sender) settle(ctx context.Context, w work, then func(*storage.Tx) error, failed error) error {
	return s.store.Update(context.WithoutCancel(ctx), func(tx *storage.Tx) error {
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
		if failed == nil || errors.Is(failed, ErrGone) {
			return payloads.Delete(tx, w.UID, w.ID)
		}
		entry.Attempts++
		return errors.Join(payloads.Put(tx, w.UID, w.ID, entry), entry.point(tx, tx.Now().Add(retryAfter(entry.Attempts))))
	})
}

func retryAfter(attempts int) time.Duration {
	return min(firstRetry<<min(attempts-1, 10), longestRetry)
}
