package outbox

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// How attempts are shared out. A destination that hangs can use up its own share only. Beyond `common` attempts of
// small destinations in all, only a destination without any attempt gets one. So hundreds of destinations must hang at
// once to delay another one, and then only for the time of one attempt.
//
// A share divided by the time of an answer is the most entries a second that a destination gets. A great push service
// answers in about 100 ms: 32 attempts at once would be 320 pushes a second, and a server can have more logins than
// that. There are few great services, so they may have more. A small destination may be a host that a stranger has
// chosen, and of those there can be any number.
const (
	share       = 32  // attempts of one small destination at once
	greatShare  = 128 // attempts of one great destination at once
	common      = 128 // attempts of small destinations, while one of them may have more than one
	everything  = 512 // attempts in all
	maxRecalled = 1024
)

// destination is the sender's state of a destination: how many attempts are under way, and the breaker of its provider.
type destination struct {
	inHand   int
	provider *provider
	touched  time.Time // the last change
}

// provider is the service or host behind one or more destinations. When it is in trouble all of them wait, and one
// probe is enough.
type provider struct {
	name         string
	breaker      breaker
	destinations int // how many of them the roster holds
}

// providerOf names the provider behind a destination: where its entries go, or their kind when they do not say.
func providerOf(destination string) string {
	kind, where, _ := strings.Cut(destination, "/")
	return cmp.Or(where, kind)
}

// idle reports whether there is nothing to remember.
func (d *destination) idle() bool { return d.inHand == 0 && d.provider.breaker.clean() }

// roster holds the destinations in use or in trouble, and at most maxRecalled that are not in use. Not safe for
// concurrent use: the sender's lock guards it.
type roster struct {
	byName    map[string]*destination
	providers map[string]*provider
	great     func(where string) bool
	inHand    int // of all
	small     int // how many of these are of small destinations
}

// newRoster makes a roster. great is as in [Options]; nil: no destination is great.
func newRoster(great func(where string) bool) *roster {
	if great == nil {
		great = func(string) bool { return false }
	}
	return &roster{byName: make(map[string]*destination), providers: make(map[string]*provider), great: great}
}

// isGreat reports whether a destination is a great service.
func (r *roster) isGreat(name string) bool {
	_, where, _ := strings.Cut(name, "/")
	return r.great(where)
}

// verdict says whether a destination may have one more attempt.
type verdict int

const (
	admitted  verdict = iota
	shareUsed         // it has its share
	crowded           // the small destinations together have too many attempts; one may begin when another ends
	full              // nobody may have one more
	held              // its breaker lets nothing through
)

// judge decides whether the destination may have one more attempt now, and whether that is a probe. With held, wait is
// how long the breaker stays open; 0 while a probe is under way.
func (r *roster) judge(name string, now time.Time) (v verdict, probe bool, wait time.Duration) {
	var b breaker
	if p := r.providers[providerOf(name)]; p != nil {
		b = p.breaker
	}
	inHand := 0
	if d := r.byName[name]; d != nil {
		inHand = d.inHand
	}
	// The breaker first, then the bound over all, then the destination's share.
	ok, probe := b.admits(now)
	switch {
	case !ok:
		return held, false, max(0, b.until.Sub(now))
	case r.inHand >= everything:
		return full, false, 0
	case r.isGreat(name):
		if inHand >= greatShare {
			return shareUsed, false, 0
		}
	case inHand >= share:
		return shareUsed, false, 0
	case inHand > 0 && r.small >= common:
		return crowded, false, 0
	}
	return admitted, probe, 0
}

// begin counts an attempt that was admitted.
func (r *roster) begin(name string, now time.Time, probe bool) {
	d := r.recall(name)
	d.inHand++
	d.touched = now
	d.provider.breaker.probing = d.provider.breaker.probing || probe
	r.inHand++
	if !r.isGreat(name) {
		r.small++
	}
}

// recall returns the state of a destination, and makes it if there is none.
func (r *roster) recall(name string) *destination {
	if d := r.byName[name]; d != nil {
		return d
	}
	of := providerOf(name)
	p := r.providers[of]
	if p == nil {
		p = &provider{name: of}
		r.providers[of] = p
	}
	p.destinations++
	d := &destination{provider: p}
	r.byName[name] = d
	return d
}

// drop forgets a destination, and a provider without destinations.
func (r *roster) drop(name string) {
	p := r.byName[name].provider
	delete(r.byName, name)
	p.destinations--
	if p.destinations == 0 {
		delete(r.providers, p.name)
	}
}

// end counts the end of an attempt, with what it shows about the destination.
func (r *roster) end(name string, now time.Time, probe bool, o outcome) (change breakerChange) {
	d := r.byName[name]
	d.inHand--
	d.touched = now
	r.inHand--
	if !r.isGreat(name) {
		r.small--
	}
	b := &d.provider.breaker
	if probe {
		b.probing = false
	}
	// Tell the breaker.
	wasClean := b.clean()
	switch o.destination {
	case answered:
		if b.succeeded() {
			change = breakerClosed
		}
	case inTrouble:
		if b.failed(now, probe, o.trouble) {
			change = breakerOpened
		}
	case inDoubt:
		change = b.doubted(now, probe, o.trouble)
	case notAsked:
	}
	// Forget what is not needed any more.
	switch {
	case !wasClean && b.clean():
		r.dropIdle(d.provider)
	case d.idle():
		r.drop(name)
	}
	r.forget()
	return change
}

// dropIdle drops the destinations that were kept only because their provider was in trouble.
func (r *roster) dropIdle(p *provider) {
	for name, d := range r.byName {
		if d.provider == p && d.idle() {
			r.drop(name)
		}
	}
}

// forget drops destinations without attempts beyond maxRecalled, those not used for longest first.
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
	r.drop(oldest)
}

// anyOpen reports whether a breaker keeps entries waiting.
func (r *roster) anyOpen() bool {
	for _, p := range r.providers {
		if p.breaker.openings > 0 {
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

// DestinationStatus is the state of a destination.
type DestinationStatus struct {
	Name     string       // the kind, or the kind, a slash, and where its entries go
	InHand   int          // attempts now
	State    BreakerState // of its provider: whether attempts go through
	Failures int          // of the provider, in a row
	Since    time.Time    // unless closed: when it opened
	Until    time.Time    // when open: when it is probed
	Reason   string       // of the last failure
}

// ProviderStatus is the state of a service or host through which entries of one or several kinds go.
type ProviderStatus struct {
	Name  string       // where the entries go; of entries that do not say, their kind
	State BreakerState // whether attempts go through
	Since time.Time    // unless closed: when it opened
	Until time.Time    // when open: when it is probed
	Word  string       // its own word with the last failure, which anybody may read; "": none
}

// status lists the destinations in use or in trouble, by name.
func (r *roster) status(now time.Time) []DestinationStatus {
	list := make([]DestinationStatus, 0, len(r.byName))
	for name, d := range r.byName {
		b := &d.provider.breaker
		list = append(list, DestinationStatus{
			Name:     name,
			InHand:   d.inHand,
			State:    b.state(now),
			Failures: b.failures,
			Since:    b.since,
			Until:    b.until,
			Reason:   b.reason,
		})
	}
	slices.SortFunc(list, func(a, b DestinationStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// providerStatus lists the providers of destinations in use or in trouble, by name.
func (r *roster) providerStatus(now time.Time) []ProviderStatus {
	list := make([]ProviderStatus, 0, len(r.providers))
	for name, p := range r.providers {
		list = append(list, ProviderStatus{
			Name:  name,
			State: p.breaker.state(now),
			Since: p.breaker.since,
			Until: p.breaker.until,
			Word:  p.breaker.word,
		})
	}
	slices.SortFunc(list, func(a, b ProviderStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}
