package device

import (
	"time"

	"tutela/device/push"
)

// Route is one of the addresses at which the server reaches an enrollment's phone.
type Route struct {
	To       push.Address
	Unproven bool // only the device token has named it
	Lost     bool // a push service has said that it is gone; it is tried once more
}

// Routes returns the addresses to which messages to the phone go: the last that its key has proven, and the newest that
// only the device token has named. So a thief of the token takes no message away from the phone, and an app that has only
// the token gets messages at its new address. A lost address is left out until it is to be tried again.
func (e *Enrollment) Routes() []Route {
	var routes []Route
	for _, unproven := range []bool{false, true} {
		if r, ok := e.Route(unproven); ok {
			routes = append(routes, r)
		}
	}
	return routes
}

// Route returns the address for a message that was queued for the unproven address, or for the proven one.
func (e *Enrollment) Route(unproven bool) (r Route, ok bool) {
	kept := e.slot(unproven)
	return Route{To: kept.Open(), Unproven: unproven, Lost: kept.Lost}, kept.Serves()
}

func (e *Enrollment) slot(unproven bool) *push.KeptAddress {
	if unproven {
		return &e.Push.Unproven
	}
	return &e.Push.Address
}

// PushAddress returns the address that the app has named last, proven or not. It is zero when there is none.
func (e *Enrollment) PushAddress() push.Address {
	if named := e.Push.Unproven.Open(); !named.IsZero() {
		return named
	}
	return e.Push.Address.Open()
}

// nameAddress notes the push address that the app names. A call that the key signs proves the address; an address that only
// the token names is kept beside the proven one. When the app names a lost address again, it is tried once more.
func (e *Enrollment) nameAddress(to push.Address, byToken bool, now time.Time) {
	kept := e.named(to, now)
	switch {
	case !byToken, to == e.Push.Address.Open():
		e.Push.Address = kept
		e.Push.Unproven = push.KeptAddress{}
	default:
		e.Push.Unproven = kept
	}
}

// named returns the stored form of an address that the app names. A lost address stays lost until a push reaches it:
// naming it again only shows that the app believes in it.
func (e *Enrollment) named(to push.Address, now time.Time) push.KeptAddress {
	kept := to.Keep()
	for _, unproven := range []bool{false, true} {
		if had := e.slot(unproven); had.Lost && had.Open() == to {
			kept = *had
			kept.Retry = true
		}
	}
	kept.Named = now
	return kept
}

// nameIdentifier notes the identifier that the app names. When only the token has named it, a later enrolment ignores it and
// compares the identifier before it.
func (b *PushBinding) nameIdentifier(identifier string, byToken bool) {
	proven := b.provenIdentifier()
	b.Identifier = identifier
	b.ProvenAs = ""
	if byToken && identifier != proven {
		b.ProvenAs = proven
	}
}

// provenIdentifier returns the identifier by which another enrolment of the same phone is recognised.
func (b *PushBinding) provenIdentifier() string {
	if b.ProvenAs != "" {
		return b.ProvenAs
	}
	return b.Identifier
}

// retryLost marks lost addresses to be tried once more, and reports whether there is one.
func (e *Enrollment) retryLost() bool {
	found := false
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); kept.Lost && !kept.Retry && len(kept.Token) > 0 {
			kept.Retry = true
			found = true
		}
	}
	return found
}

// hasLost reports whether retryLost would find one.
func (e *Enrollment) hasLost() bool {
	again := *e
	return again.retryLost()
}

// dropAddress erases an address, be it the proven or the unproven one. Its caller writes the enrollment.
func (e *Enrollment) dropAddress(to push.Address) {
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); kept.Open() == to {
			*kept = push.KeptAddress{}
		}
	}
}
