package loginapi

import (
	"net/http"
	"sync"
	"time"

	"tutela/device/login"
	"tutela/server"
)

// pollers remembers how often each undecided login is polled, in memory: a poller that is too fast is told to slow
// down. Safe for concurrent use.
//
// Source: CIBA Core 1.0 §11 (slow_down: the interval grows by 5 seconds).
type pollers struct {
	now func() time.Time

	mu    sync.Mutex // guards what is below
	byID  map[string]poller
	sweep time.Time // when the map is next rid of what is over
}

type poller struct {
	last     time.Time
	interval time.Duration
}

const (
	pollerLife = 10 * time.Minute // longer than any login
	slowDown   = 5 * time.Second
)

func newPollers(now func() time.Time) *pollers {
	return &pollers{now: now, byID: make(map[string]poller)}
}

// polled notes a poll that found the login undecided, and returns what the client is told.
func (p *pollers) polled(client, id string) error {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	key := client + ":" + id
	known, ok := p.byID[key]
	if !ok {
		known.interval = pollInterval
	}
	fast := ok && now.Sub(known.last) < known.interval
	if fast {
		known.interval += slowDown
	}
	known.last = now
	p.byID[key] = known
	if !fast {
		return login.ErrUndecided
	}
	return &server.Problem{
		Status: http.StatusBadRequest, Code: "slow_down", Message: "polled too fast: the interval is longer now",
		RetryAfter: known.interval,
	}
}

// forget drops, now and then, what was not polled for longer than a login lives.
func (p *pollers) forget(now time.Time) {
	if now.Before(p.sweep) {
		return
	}
	for id, known := range p.byID {
		if now.Sub(known.last) > pollerLife {
			delete(p.byID, id)
		}
	}
	p.sweep = now.Add(pollerLife / 10)
}
