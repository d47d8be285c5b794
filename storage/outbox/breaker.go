package outbox

import (
	"math/rand/v2"
	"time"
)

const (
	failuresToOpen = 5 // in a row
	firstCooling   = 2 * time.Second
	longestCooling = 30 * time.Second
	longestHold    = time.Hour // that a destination may ask for by a RetryAfter
)

// breaker keeps attempts away from a destination that is in trouble. Closed, it lets all through. Failures of the
// destination in a row open it: nothing goes through until it has cooled. Then one attempt at a time probes: a
// success closes it, a failure lets it cool for longer. The zero value is closed. Not safe for concurrent use.
type breaker struct {
	failures int       // of the destination, in a row
	openings int       // in a row; 0: closed
	since    time.Time // of the first of them
	until    time.Time // it cools
	probing  bool
	reason   string // of the last failure
}

// BreakerState says whether attempts go through to a destination.
type BreakerState string

// The states of a breaker.
const (
	Closed   BreakerState = "closed"    // all go through
	Open     BreakerState = "open"      // none does
	HalfOpen BreakerState = "half_open" // one at a time does, to probe
)

func (b *breaker) state(now time.Time) BreakerState {
	switch {
	case b.openings == 0:
		return Closed
	case now.Before(b.until):
		return Open
	default:
		return HalfOpen
	}
}

// admits reports whether an attempt may begin now, and whether it is a probe.
func (b *breaker) admits(now time.Time) (ok, probe bool) {
	switch b.state(now) {
	case Closed:
		return true, false
	case HalfOpen:
		return !b.probing, true
	default:
		return false, false
	}
}

// succeeded closes the breaker. It reports whether it was open.
func (b *breaker) succeeded() (closed bool) {
	closed = b.openings > 0
	*b = breaker{}
	return closed
}

// failed counts a failure of the destination; hold is how long it asks to be left alone, 0 when it does not say. An
// attempt that began before the breaker opened adds nothing, unless it has a hold. It reports whether the breaker has
// opened after it was closed.
func (b *breaker) failed(now time.Time, probe bool, hold time.Duration, reason string) (opened bool) {
	b.failures++
	b.reason = reason
	wasClosed := b.openings == 0
	if wasClosed && b.failures < failuresToOpen && hold == 0 || !wasClosed && !probe && hold == 0 {
		return false
	}
	if wasClosed {
		b.since = now
	}
	if wasClosed || probe {
		b.openings++
	}
	// A half to the whole of the pause: servers that lost the destination together do not probe it together.
	cooling := min(firstCooling<<min(b.openings-1, 10), longestCooling)
	cooling = cooling/2 + rand.N(cooling/2) + 1 //nolint:gosec // it spreads probes, and guards nothing
	if until := now.Add(max(cooling, min(hold, longestHold))); until.After(b.until) {
		b.until = until
	}
	return wasClosed
}
