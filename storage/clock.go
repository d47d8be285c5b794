package storage

import (
	"sync"
	"time"
)

// Clock tells the time in two ways, so that a wall clock that jumps can be told from time that passes. Safe for
// concurrent use; no method waits for another machine, since every transaction asks.
//
// Each server that shares a store makes the house's time from its own Clock: from Wall when it opens the store, from
// Steady after that. A row expires at one server earlier than at another by the difference of their clocks. So an
// implementation for several servers guarantees that their Walls agree to within a second and that Steady runs at the
// same rate. Machines set by NTP do; so does a Wall that the database's clock corrects in the background. A Steady time
// is meaningful in its own process only. What operators settle is shared through the store ([Store.SettleClock]).
type Clock interface {
	// Wall is what the machine's clock says, in UTC. It may jump either way.
	Wall() time.Time
	// Steady is the time passed since some fixed start. It never jumps.
	Steady() time.Duration
}

// SystemClock is the machine's clock: the wall, and the monotonic clock since the call.
func SystemClock() Clock { return systemClock{start: time.Now()} }

type systemClock struct{ start time.Time }

func (c systemClock) Wall() time.Time { return time.Now().Round(0).UTC() }

func (c systemClock) Steady() time.Duration { return time.Since(c.start) }

// FakeClock is a clock for tests, which moves only when the test moves it. Safe for concurrent use.
type FakeClock struct {
	mu     sync.Mutex
	wall   time.Time
	steady time.Duration
}

// NewFakeClock makes a clock whose wall shows start.
func NewFakeClock(start time.Time) *FakeClock { return &FakeClock{wall: start.UTC()} }

// Wall returns the start plus every Advance and Jump.
func (c *FakeClock) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

// Steady returns the sum of all calls of Advance.
func (c *FakeClock) Steady() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steady
}

// Advance lets d pass.
func (c *FakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
	c.steady += d
}

// Jump sets the wall d forward (or back), while no time passes.
func (c *FakeClock) Jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}
