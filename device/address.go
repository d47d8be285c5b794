package device

import (
	"errors"

	"tutela/device/push"
	"tutela/storage"
)

// Route is one of the addresses at which the server reaches an enrollment's phone.
type Route struct {
	To       push.Address
	Unproven bool // only the device token has named it
}

// Routes returns the addresses to which messages to the phone go: the last that its key has proven, and the newest that
// only the device token has named. So a thief of the token takes no message away from the phone, and an app that has only
// the token gets messages at its new address. A lost address is left out until it is to be tried again.
func (e *Enrollment) Routes() []Route {
	var routes []Route
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); kept.Serves() {
			routes = append(routes, Route{kept.Open(), unproven})
		}
	}
	return routes
}

// Route returns the address for a message that was queued for the unproven address, or for the proven one.
func (e *Enrollment) Route(unproven bool) (to push.Address, ok bool) {
	kept := e.slot(unproven)
	return kept.Open(), kept.Serves()
}

func (e *Enrollment) slot(unproven bool) *push.KeptAddress {
	if unproven {
		return &e.Push.Unproven
	}
	return &e.Push.Address
}

// PushAddress returns the address that the app has named last, proven or not. It is zero when there is none.
func (e *Enrollment) PushAddress() push.Address {
	if !e.Push.Unproven.IsZero() {
		return e.Push.Unproven.Open()
	}
	return e.Push.Address.Open()
}

// PushState says whether pushes reach a phone.
type PushState string

// The states.
const (
	PushOK   PushState = "ok"
	PushLost PushState = "lost" // the push service has said that the address is gone
	PushNone PushState = "none" // the app has named none
)

// PushState returns whether pushes reach the phone. A lost address that is to be tried again stays lost until a push
// reaches it.
func (e *Enrollment) PushState() PushState {
	state := PushNone
	for _, unproven := range []bool{false, true} {
		switch kept := e.slot(unproven); {
		case kept.IsZero():
		case kept.Lost:
			state = PushLost
		default:
			return PushOK
		}
	}
	return state
}

// nameAddress notes the push address that the app names. A call that the key signs proves the address; an address that only
// the token names is kept beside the proven one. When the app names a lost address again, it is tried once more.
func (e *Enrollment) nameAddress(to push.Address, byToken bool) {
	switch {
	case !byToken, to == e.Push.Address.Open():
		e.Push.Address = to.Keep()
		e.Push.Unproven = push.KeptAddress{}
	default:
		e.Push.Unproven = to.Keep()
	}
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
		if kept := e.slot(unproven); kept.Lost && !kept.Retry {
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

// NotePush notes what the push service said about a message to an address: it took the message (nil), or the address is gone
// (push.ErrTokenGone). A gone address is not used until the app asks for it; an unproven one beside a proven one is
// forgotten. An address that the app has named meanwhile stays as it is.
func NotePush(tx *storage.Tx, uid storage.UID, id string, to push.Address, went error) error {
	e, err := Get(tx, uid, id)
	if err != nil {
		return ignoreGone(err)
	}
	gone := errors.Is(went, push.ErrTokenGone)
	changed := false
	for _, unproven := range []bool{false, true} {
		kept := e.slot(unproven)
		if kept.IsZero() || kept.Open() != to || !gone && (went != nil || !kept.Lost) {
			continue
		}
		changed = true
		kept.Lost = gone
		kept.Retry = false
		if gone && unproven && !e.Push.Address.IsZero() {
			*kept = push.KeptAddress{}
		}
	}
	if !changed {
		return nil
	}
	return Put(tx, uid, e)
}

// dropAddress erases an address, be it the proven or the unproven one. Its caller writes the enrollment.
func (e *Enrollment) dropAddress(to push.Address) {
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); kept.Open() == to {
			*kept = push.KeptAddress{}
		}
	}
}
