package login

import (
	"sync"
	"time"

	"tutela/storage"
)

// PollsPerMinute is how often the pages of one flow may ask how it stands in a minute. The browser client asks 12 times a minute
// per open page, so this is five pages.
const PollsPerMinute = 60

const pollWindow = time.Minute

// ErrTooManyPolls refuses a flow that asks too often, with the time to wait.
var ErrTooManyPolls = storage.NewError(storage.Limited, "this transaction is asked about too often: wait before you ask again")

// Polls says how often a flow may still ask.
type Polls struct {
	Left  int
	Reset time.Time // when it may ask PollsPerMinute times again, by the wall clock
}

// flowPolls counts the polls of each flow. Each server does so for itself, in memory. Safe for concurrent use.
type flowPolls struct {
	now  func() time.Time
	wall func() time.Time

	mu    sync.Mutex // guards what is below
	byID  map[string]counted
	sweep time.Time // when ended windows are next dropped from the map
}

// counted is how often a flow has asked in a window.
type counted struct {
	polls int
	ends  time.Time // of the window
}

func newFlowPolls(store *storage.Store) *flowPolls {
	return &flowPolls{now: store.Now, wall: store.Wall, byID: make(map[string]counted)}
}

// take counts a poll of a flow. It does not count a refused poll.
//
// Errors: ErrTooManyPolls.
func (p *flowPolls) take(id string) (Polls, error) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	c := p.byID[id]
	if !now.Before(c.ends) {
		c = counted{ends: now.Add(pollWindow)}
	}
	left := c.ends.Sub(now)
	reset := p.wall().Add(left + time.Second - 1) // in whole seconds, never too early
	if c.polls >= PollsPerMinute {
		return Polls{Reset: reset}, ErrTooManyPolls.After(left)
	}
	c.polls++
	p.byID[id] = c
	return Polls{Left: PollsPerMinute - c.polls, Reset: reset}, nil
}

// forget sometimes drops windows that have ended.
func (p *flowPolls) forget(now time.Time) {
	if now.Before(p.sweep) {
		return
	}
	for id, c := range p.byID {
		if !now.Before(c.ends) {
			delete(p.byID, id)
		}
	}
	p.sweep = now.Add(pollWindow)
}
