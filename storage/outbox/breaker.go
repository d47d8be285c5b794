package outbox

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	failuresToOpen = 5 // in a row
	doubtsToOpen   = 5 // from different persons or hosts, in a row
	doubtsKept     = 16
	firstCooling   = 2 * time.Second
	longestCooling = 30 * time.Second
	longestHold    = time.Hour // the longest RetryAfter that is honoured
)

// breaker is a circuit breaker for a destination in trouble. When closed it admits all attempts. Several failures in a
// row open it: then it admits none until a pause has passed. After the pause it admits one attempt at a time as a
// probe. A success closes it; a failure makes the next pause longer. The zero value is closed. Not safe for concurrent
// use.
//
// Doubtful failures open it, too, once they come from several different ones: see [Doubtful].
type breaker struct {
	failures int       // of the destination, in a row
	openings int       // in a row; 0: closed
	since    time.Time // of the first of them
	until    time.Time // the end of the pause
	probing  bool
	reason   string // of the last failure
	word     string // the destination's own, with the last failure

	doubts  []string // the different ones behind doubtful failures since the last success
	byDoubt bool     // doubts have opened it
}

// clean reports whether the breaker is in its zero state.
func (b *breaker) clean() bool { return b.failures == 0 && b.openings == 0 && len(b.doubts) == 0 }

// BreakerState says whether attempts go through to a destination.
type BreakerState string

// The states of a breaker.
const (
	Closed   BreakerState = "closed"    // all go through
	Open     BreakerState = "open"      // none does
	HalfOpen BreakerState = "half_open" // one at a time does, as a probe
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

// failed counts a failure of the destination, and reports whether that has opened a closed breaker. An attempt that
// began before the breaker opened counts only if the destination asks to be left alone.
func (b *breaker) failed(now time.Time, probe bool, t trouble) (opened bool) {
	b.failures++
	b.reason = t.reason
	b.word = t.word
	wasClosed := b.openings == 0
	if wasClosed && b.failures < failuresToOpen && t.hold == 0 || !wasClosed && !probe && t.hold == 0 {
		return false
	}
	b.open(now, wasClosed || probe, min(t.hold, longestHold))
	return wasClosed
}

// doubted counts a doubtful failure. The destination has answered, so this closes a breaker that opened because it did
// not answer, unless the attempt began before that.
func (b *breaker) doubted(now time.Time, probe bool, t trouble) breakerChange {
	change := breakerStays
	if b.openings > 0 && !b.byDoubt {
		if !probe {
			return breakerStays // the destination may have asked to be left alone since
		}
		change = breakerClosed
		*b = breaker{doubts: b.doubts}
		probe = false
	}
	b.failures = 0
	b.reason = t.reason
	b.word = t.word
	another := !slices.Contains(b.doubts, t.whose)
	if another && len(b.doubts) < doubtsKept {
		b.doubts = append(b.doubts, t.whose)
	}
	switch wasClosed := b.openings == 0; {
	case wasClosed && len(b.doubts) >= doubtsToOpen:
		b.open(now, true, 0)
		b.byDoubt = true
		return breakerOpened
	case !wasClosed && probe && another:
		b.open(now, true, 0)
	}
	return change
}

// open opens the breaker for a pause of at least hold. With another it counts as one more opening in a row, and the
// pause is longer.
func (b *breaker) open(now time.Time, another bool, hold time.Duration) {
	if b.openings == 0 {
		b.since = now
	}
	if another {
		b.openings++
	}
	// Draw the pause between a half and the whole, so that servers do not probe the destination at the same time.
	cooling := min(firstCooling<<min(b.openings-1, 10), longestCooling)
	cooling = cooling/2 + rand.N(cooling/2) + 1 //nolint:gosec // it spreads probes, and guards nothing
	if until := now.Add(max(cooling, hold)); until.After(b.until) {
		b.until = until
	}
}
