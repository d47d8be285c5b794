package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tutela/storage"
)

// AttemptTime is how long a handler has for one entry.
const AttemptTime = 5 * time.Second

const (
	idleInterval = 5 * time.Second // between looks without a wake, for entries that other servers added

	lastWords = 2 * time.Second // for an attempt to return after its context has ended, when the sender stops
)

// Options says how a sender works.
type Options struct {
	Handlers []Handler    // one for each kind; entries of other kinds wait for a program that knows them
	Log      *slog.Logger // default: slog.Default()

	// Shared is for a store that other processes send from, too: each entry is claimed in the store before it is
	// tried, which costs one more commit. Without it this sender must be the only one.
	Shared bool

	// Pace is the least time between the beginnings of two looks at the outbox, so that one look serves many
	// callers. After a quiet moment an entry is looked at without delay. Default: none.
	Pace time.Duration

	// Provider returns the push provider for a where of [Kind.AddTo], and Providers lists all words that it
	// returns. Figures are divided by it. Default: they are not divided.
	Provider  func(where string) string
	Providers []string

	// Great reports whether a where of [Kind.AddTo] is a great service: one of few, each of which takes many
	// entries at once. The others may be hosts of strangers, and have a smaller share of the attempts. Default:
	// none is great.
	Great func(where string) bool
}

// Sender does the entries of the outbox. Safe for concurrent use.
type Sender struct {
	store    *storage.Store
	handlers map[string]Handler
	claims   claims
	log      *slog.Logger
	pace     time.Duration

	provider  func(where string) string
	providers []string // the words of provider, and noProvider

	work context.Context // of all attempts; ends an AttemptTime after the sender was told to stop
	cut  context.CancelFunc

	mu      sync.Mutex          // guards what follows
	inHand  map[string]struct{} // ids of the entries that are being tried
	roster  *roster
	hungry  bool          // the last look may have left something due for want of room
	turn    string        // the destination with which the next look begins, since the last one had no room for it
	changed chan struct{} // closed, and replaced, when an attempt ends
	idle    []chan<- job  // of the workers that wait for one; none while nothing is in hand
}

// NewSender makes a sender.
//
// Errors: a kind that is declared wrongly, or has two handlers.
func NewSender(store *storage.Store, o Options) (*Sender, error) {
	s := &Sender{
		store:    store,
		handlers: make(map[string]Handler, len(o.Handlers)),
		claims:   alone{store},
		log:      o.Log,
		pace:     o.Pace,
		inHand:   make(map[string]struct{}),
		roster:   newRoster(o.Great),
		changed:  make(chan struct{}),
		provider: o.Provider,
	}
	s.providers = append([]string{noProvider}, o.Providers...)
	if o.Shared {
		s.claims = leases{store}
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	for _, h := range o.Handlers {
		if h.fault != nil {
			return nil, h.fault
		}
		if _, twice := s.handlers[h.kind]; twice {
			return nil, fmt.Errorf("entries of kind %s have two handlers", h.kind)
		}
		s.handlers[h.kind] = h
	}
	s.work, s.cut = context.WithCancel(context.Background())
	s.provide()
	return s, nil
}

// Run works on entries as they become due, until ctx is done. Then it begins no more and waits for the attempts under
// way, a few seconds at most. Call it once.
func (s *Sender) Run(ctx context.Context) {
	woken, stop := s.store.Watch(storage.House)
	defer stop()
	var group sync.WaitGroup
	group.Go(func() { s.tidy(ctx) })
	for ctx.Err() == nil {
		begun := time.Now()
		changed := s.change()
		wait := s.look(ctx).wait
		s.pause(ctx, woken, changed, wait)
		s.keepPace(ctx, begun)
	}
	group.Wait()
	s.finishUp()
}

// keepPace waits until Pace has passed since a look began.
func (s *Sender) keepPace(ctx context.Context, begun time.Time) {
	left := s.pace - time.Since(begun)
	if left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// pause returns when there is a reason to look again: a wake, an attempt that ended and left something to do, or the
// end of wait or ctx.
func (s *Sender) pause(ctx context.Context, woken, changed <-chan struct{}, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-woken:
			return
		case <-timer.C:
			return
		case <-changed:
		}
		s.mu.Lock()
		hungry := s.hungry
		changed = s.changed
		s.mu.Unlock()
		if hungry {
			return
		}
	}
}

// Drain works on what is due, and on what that makes due, until nothing is due or under way. Entries that were
// postponed, or that wait for an open breaker, are not due. It may be called beside Run or without it. A server that
// stops uses it, and tests.
//
// Errors: ctx's, and then attempts may go on; those of the store.
func (s *Sender) Drain(ctx context.Context) error {
	for {
		// Take the channel before the look: an attempt that ends after this point causes another look.
		changed := s.change()
		quiet := s.attempts() == 0
		seen := s.look(ctx)
		if seen.err != nil {
			return fmt.Errorf("drain the outbox: %w", seen.err)
		}
		if quiet && !seen.due {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("drain the outbox: %w", ctx.Err())
		}
	}
}

// change returns a channel that is closed when the next attempt ends.
func (s *Sender) change() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// attempts returns how many attempts are under way.
func (s *Sender) attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roster.inHand
}

// finishUp waits for the attempts under way. When their time is over it ends their context. A handler that ignores that
// is left behind, and an outcome that could not be stored means that the entry is done again after the next start.
func (s *Sender) finishUp() {
	defer s.cut()
	cut := time.AfterFunc(AttemptTime, s.cut)
	defer cut.Stop()
	giveUp := time.NewTimer(AttemptTime + lastWords)
	defer giveUp.Stop()
	for {
		changed := s.change()
		left := s.attempts()
		if left == 0 {
			return
		}
		select {
		case <-changed:
		case <-giveUp.C:
			s.log.Error("outbox: attempts do not end and are left behind", "attempts", left)
			return
		}
	}
}

// has reports whether an attempt of an entry is under way.
func (s *Sender) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, has := s.inHand[id]
	return has
}

// begin starts an attempt for an entry if its destination may have one more. It returns the roster's verdict, and with
// held how long to wait. An entry with an attempt under way counts as admitted.
func (s *Sender) begin(p pointer) (v verdict, wait time.Duration) {
	now := s.store.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, twice := s.inHand[p.ID]; twice {
		return admitted, 0
	}
	v, probe, wait := s.roster.judge(p.destination, now)
	if v != admitted {
		return v, wait
	}
	s.inHand[p.ID] = struct{}{}
	s.roster.begin(p.destination, now, probe)
	s.employ(job{p, probe})
	return v, 0
}

// try makes an attempt and counts its end, whatever its outcome.
func (s *Sender) try(p pointer, probe bool) {
	var o outcome
	defer func() { s.end(p, probe, o) }()
	o = s.attempt(p)
}

// end counts the end of an attempt, and logs when its destination has failed or works again.
func (s *Sender) end(p pointer, probe bool, o outcome) {
	s.mu.Lock()
	delete(s.inHand, p.ID)
	change := s.roster.end(p.destination, s.store.Now(), probe, o)
	if s.roster.inHand == 0 {
		s.dismiss()
	}
	s.hungry = s.hungry || o.again || probe || change != breakerStays
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	switch change {
	case breakerOpened:
		s.log.Warn("outbox: a destination does not answer; its entries wait", "destination", p.destination, "err", o.trouble.reason)
	case breakerClosed:
		s.log.Info("outbox: a destination answers again", "destination", p.destination)
	case breakerStays:
	}
}
