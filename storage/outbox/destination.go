package outbox

import (
	"slices"
	"strings"
	"time"
)

// How attempts are shared out. A destination that hangs holds its share and no more. Past `common` attempts in all, only
// destinations without any get one: so it takes more than a hundred that hang at once to hold up another, and they
// hold it up for no longer than an attempt takes.
const (
	share       = 32  // attempts of one destination at once
	common      = 128 // attempts in all, while a destination may have more than one
	everything  = 256 // attempts in all
	maxRecalled = 1024
)

// destination is what a sender recalls of one: how many attempts it has, and its breaker.
type destination struct {
	inHand  int
	breaker breaker
	touched time.Time // the last change
}

// idle reports whether there is nothing to recall.
func (d *destination) idle() bool {
	return d.inHand == 0 && d.breaker.failures == 0 && d.breaker.openings == 0
}

// roster is the destinations in use or in trouble. It recalls no others, and no more than maxRecalled that are not in
// use. Not safe for concurrent use: the sender's lock guards it.
type roster struct {
	byName map[string]*destination
	inHand int // of all
}

func newRoster() *roster { return &roster{byName: make(map[string]*destination)} }

// verdict says whether a destination may have one more attempt.
type verdict int

const (
	admitted  verdict = iota
	shareUsed         // it has its share
	crowded           // all together have too many; it is its turn when one ends
	full              // nobody may have one more
	held              // its breaker lets nothing through
)

// judge says whether the destination may have one more attempt now, and whether that is a probe. With held, wait is how
// long the breaker stays open; 0 while a probe is out.
func (r *roster) judge(name string, now time.Time) (v verdict, probe bool, wait time.Duration) {
	d := r.byName[name]
	if d == nil {
		d = &destination{}
	}
	ok, probe := d.breaker.admits(now)
	switch {
	case !ok:
		return held, false, max(0, d.breaker.until.Sub(now))
	case r.inHand >= everything:
		return full, false, 0
	case d.inHand >= share:
		return shareUsed, false, 0
	case d.inHand > 0 && r.inHand >= common:
		return crowded, false, 0
	}
	return admitted, probe, 0
}

// begin counts an attempt that was admitted.
func (r *roster) begin(name string, now time.Time, probe bool) {
	d := r.byName[name]
	if d == nil {
		d = &destination{}
		r.byName[name] = d
	}
	d.inHand++
	d.touched = now
	d.breaker.probing = d.breaker.probing || probe
	r.inHand++
}

// end counts an attempt out, with what it says of the destination.
func (r *roster) end(name string, now time.Time, probe bool, o outcome) (change breakerChange) {
	d := r.byName[name]
	d.inHand--
	d.touched = now
	r.inHand--
	if probe {
		d.breaker.probing = false
	}
	switch o.destination {
	case answered:
		if d.breaker.succeeded() {
			change = breakerClosed
		}
	case inTrouble:
		if d.breaker.failed(now, probe, o.hold, o.reason) {
			change = breakerOpened
		}
	case notAsked:
	}
	if d.idle() {
		delete(r.byName, name)
	}
	r.forget()
	return change
}

// forget drops what was touched longest ago, past maxRecalled, of the destinations without attempts.
func (r *roster) forget() {
	if len(r.byName) <= maxRecalled+r.inHand {
		return
	}
	var oldest string
	for name, d := range r.byName {
		if d.inHand == 0 && (oldest == "" || d.touched.Before(r.byName[oldest].touched)) {
			oldest = name
		}
	}
	delete(r.byName, oldest)
}

// anyOpen reports whether a breaker keeps entries waiting.
func (r *roster) anyOpen() bool {
	for _, d := range r.byName {
		if d.breaker.openings > 0 {
			return true
		}
	}
	return false
}

// breakerChange is what an attempt did to a breaker.
type breakerChange int

const (
	breakerStays breakerChange = iota
	breakerOpened
	breakerClosed
)

// DestinationStatus says how a destination does.
type DestinationStatus struct {
	Name     string       // the kind, or the kind, a slash, and where its entries go
	InHand   int          // attempts now
	State    BreakerState // whether attempts go through
	Failures int          // of the destination, in a row
	Since    time.Time    // unless closed: when it opened
	Until    time.Time    // when open: when it is probed
	Reason   string       // of the last failure
}

// status lists the destinations in use or in trouble, by name.
func (r *roster) status(now time.Time) []DestinationStatus {
	list := make([]DestinationStatus, 0, len(r.byName))
	for name, d := range r.byName {
		list = append(list, DestinationStatus{
			Name:     name,
			InHand:   d.inHand,
			State:    d.breaker.state(now),
			Failures: d.breaker.failures,
			Since:    d.breaker.since,
			Until:    d.breaker.until,
			Reason:   d.breaker.reason,
		})
	}
	slices.SortFunc(list, func(a, b DestinationStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}
