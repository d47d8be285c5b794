package push

import (
	"context"
	"sync/atomic"
	"time"

	"tutela/storage/meter"
)

// Carrier brings messages to one push service, or to a stand-in of it. Safe for concurrent use.
type Carrier interface {
	// Deliver returns nil when the push service has taken the message.
	//
	// Errors: *Refusal, when the service has answered that it does not take the message; any other error when it cannot be
	// reached, does not answer in time, or answers what nobody understands. The caller may then try again.
	Deliver(ctx context.Context, to Address, m Message) error
}

// Gateway brings messages to phones, by the push service that an address names. A service without a carrier gets no
// messages: the apps with an address of it pull. Carriers can be changed while it is in use. A nil Gateway carries nothing.
// Safe for concurrent use.
type Gateway struct {
	fcm     atomic.Pointer[Carrier]
	apns    atomic.Pointer[Carrier]
	webPush atomic.Pointer[Carrier]
	meter   *meter.Set // nil: nothing is counted
}

// NewGateway returns a gateway that uses one carrier for all services, or none when it is nil.
func NewGateway(all Carrier) *Gateway {
	g := &Gateway{}
	if all == nil {
		return g
	}
	for _, s := range []Service{FCM, APNs, WebPush} {
		g.Use(s, all)
	}
	return g
}

// Use has messages to a service go by a carrier from now on; nil: messages to the service are not carried any more. GCM and FCM
// are one service. A service that [ParseAddress] does not know is ignored.
func (g *Gateway) Use(s Service, c Carrier) {
	slot := g.slot(s)
	if slot == nil {
		return
	}
	if c == nil {
		slot.Store(nil)
		return
	}
	slot.Store(&c)
}

// Carries reports whether messages to the address are carried.
func (g *Gateway) Carries(to Address) bool { return g.carrier(to.Service) != nil }

// Deliver brings a message to a phone. No error's text has the phone's token or the path of its endpoint.
//
// Errors: ErrNotCarried; those of [Carrier].
func (g *Gateway) Deliver(ctx context.Context, to Address, m Message) error {
	c := g.carrier(to.Service)
	if c == nil {
		return ErrNotCarried
	}
	began := time.Now()
	err := hush(c.Deliver(ctx, to, m), to)
	g.count(to, began, err)
	return err
}

func (g *Gateway) carrier(s Service) Carrier {
	if g == nil {
		return nil
	}
	slot := g.slot(s)
	if slot == nil {
		return nil
	}
	c := slot.Load()
	if c == nil {
		return nil
	}
	return *c
}

func (g *Gateway) slot(s Service) *atomic.Pointer[Carrier] {
	switch s {
	case GCM, FCM:
		return &g.fcm
	case APNs:
		return &g.apns
	case WebPush:
		return &g.webPush
	default:
		return nil
	}
}
