package login

import (
	"context"
	"errors"
	"sync"
	"time"
)

// The times of a login, as login systems know them.
const (
	DefaultLife  = 2 * time.Minute // how long a login that asks for no other life can be answered
	MaxLife      = 5 * time.Minute
	MaxWait      = time.Minute     // how long one call to Exchange may wait
	PollInterval = 5 * time.Second // the shortest time between two polls, at first
)

// slowDown is how much a poll that comes too early adds to the interval.
//
// Source: CIBA Core 1.0 §11 (slow_down: the interval grows by 5 seconds).
const slowDown = 5 * time.Second

// Poll does what Collect does, at a bounded pace. When an undecided login is polled faster than its interval, Poll returns
// ErrSlowDown with the new interval. It hands over a decided login however fast the client polls.
//
// Errors: those of Collect; ErrSlowDown.
func (s *Service) Poll(ctx context.Context, client, id string) (Outcome, error) {
	o, err := s.Collect(ctx, client, id)
	if errors.Is(err, ErrUndecided) {
		err = s.polls.undecided(client, id)
	}
	return o, err
}

// polls remembers how often each undecided login is polled. Each server does so for itself, in memory. Safe for concurrent
// use.
type polls struct {
	now func() time.Time

	mu    sync.Mutex // guards what is below
	byID  map[string]poll
	sweep time.Time // when ended entries are next dropped from the map
}

type poll struct {
	last     time.Time
	interval time.Duration
}

func newPolls(now func() time.Time) *polls {
	return &polls{now: now, byID: make(map[string]poll)}
}

// undecided notes a poll that found the login undecided, and returns the error for its client.
//
// Errors: ErrUndecided; ErrSlowDown.
func (p *polls) undecided(client, id string) error {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	key := client + ":" + id
	known, ok := p.byID[key]
	if !ok {
		known.interval = PollInterval
	}
	fast := ok && now.Sub(known.last) < known.interval
	if fast {
		known.interval += slowDown
	}
	known.last = now
	p.byID[key] = known
	if !fast {
		return ErrUndecided
	}
	return ErrSlowDown.After(known.interval)
}

// forget sometimes drops logins that nobody has polled for longer than a login lives.
func (p *polls) forget(now time.Time) {
	if now.Before(p.sweep) {
		return
	}
	for id, known := range p.byID {
		if now.Sub(known.last) > 2*MaxLife {
			delete(p.byID, id)
		}
	}
	p.sweep = now.Add(MaxLife / 5)
}
