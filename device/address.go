package device

import (
	"errors"

	"tutela/device/push"
	"tutela/storage"
)

// Route is one of the addresses at which an enrollment's phone is reached.
type Route struct {
	To       push.Address
	Unproven bool // the device token alone has named it
}

// Routes returns where messages to the phone go: the last address that its key has proven, and beside it the newest that
// the device token alone has named. So a thief of the token takes no message away from the phone, and an app that has
// nothing but the token is reached at its new address. One that is lost is left out, until it is to be tried again.
func (e *Enrollment) Routes() []Route {
	var routes []Route
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); kept.Serves() {
			routes = append(routes, Route{kept.Open(), unproven})
		}
	}
	return routes
}

// Route returns the address to which a message goes that was queued for one of the two.
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

// PushAddress is the address that the app has named last, proven or not; the zero Address when it has none, or is no phone.
func (e *Enrollment) PushAddress() push.Address {
	if !e.Push.Unproven.IsZero() {
		return e.Push.Unproven.Open()
	}
	return e.Push.Address.Open()
}

// PushState is whether pushes reach a phone.
type PushState string

// The states.
const (
	PushOK   PushState = "ok"
	PushLost PushState = "lost" // the push service has said that the address is gone
	PushNone PushState = "none" // the app has named none
)

// PushState returns whether pushes reach the phone. A lost address that is to be tried again is lost until that went well.
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

// nameAddress notes the push address that the app names. Only a call that the key signs proves it; one that the token names
// stands beside the proven one. Naming the same again has it tried again.
func (e *Enrollment) nameAddress(to push.Address, byToken bool) {
	switch {
	case !byToken, to == e.Push.Address.Open():
		e.Push.Address = to.Keep()
		e.Push.Unproven = push.KeptAddress{}
	default:
		e.Push.Unproven = to.Keep()
	}
}

// nameIdentifier notes the identifier that the app names. One that the token alone has named stands for nothing at a later
// enrolment: there the one before it counts.
func (b *PushBinding) nameIdentifier(identifier string, byToken bool) {
	proven := b.provenIdentifier()
	b.Identifier = identifier
	b.ProvenAs = ""
	if byToken && identifier != proven {
		b.ProvenAs = proven
	}
}

// provenIdentifier is the identifier by which another enrolment of the same phone is known.
func (b *PushBinding) provenIdentifier() string {
	if b.ProvenAs != "" {
		return b.ProvenAs
	}
	return b.Identifier
}

// retryLost has lost addresses tried once more, and reports whether there is one.
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

// NotePush notes how a message went to an address of an enrollment: the service took it (nil), or said that the address is
// gone (push.ErrTokenGone). One that is gone is used no more until the app asks for it; an unproven one beside a proven one
// is forgotten. An address that the app has named since then stays as it is.
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

// dropAddress erases an address, whichever of the two it is. Its caller writes the enrollment.
func (e *Enrollment) dropAddress(to push.Address) {
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); kept.Open() == to {
			*kept = push.KeptAddress{}
		}
	}
}
