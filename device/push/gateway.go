package push

import (
	"context"
	"sync/atomic"
	"time"

	"tutela/storage"
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

// Direct finds the carriers of credentials that lie in the store. Safe for concurrent use.
type Direct interface {
	// Carries reports whether the credentials of the store rule for a service, and then whether a message can go by them.
	Carries(tx *storage.Tx, to Service) (carries, rules bool, err error)

	// Carrier returns the carrier of the credentials of the store, when they rule for a service; nil when there are none.
	Carrier(ctx context.Context, to Service) (c Carrier, rules bool, err error)
}

// Gateway brings messages to phones, by the push service that an address names. A service without a carrier gets no
// messages: the apps with an address of it pull. Carriers can be changed while it is in use. A nil Gateway carries nothing.
// Safe for concurrent use.
type Gateway struct {
	direct  Direct // nil: none
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

// HasCarrier reports whether a service has a carrier of the command line, whatever credentials of the store rule.
func (g *Gateway) HasCarrier(s Service) bool { return g.carrier(s) != nil }

// Prefer has the gateway ask d first. Before the gateway is used.
func (g *Gateway) Prefer(d Direct) { g.direct = d }

// Carries reports whether messages to the address are carried, as it is in the open transaction.
func (g *Gateway) Carries(tx *storage.Tx, to Address) (bool, error) {
	if g != nil && g.direct != nil {
		carries, rules, err := g.direct.Carries(tx, to.Service)
		if err != nil || rules {
			return carries, err
		}
	}
	return g.carrier(to.Service) != nil, nil
}

// Deliver brings a message to a phone. No error's text has the phone's token or the path of its endpoint.
//
// Errors: ErrNotCarried; those of [Carrier].
func (g *Gateway) Deliver(ctx context.Context, to Address, m Message) error {
	c, err := g.ruling(ctx, to.Service)
	if err != nil {
		return err
	}
	if c == nil {
		return ErrNotCarried
	}
	began := time.Now()
	err = hush(c.Deliver(ctx, to, m), to)
	g.count(to, began, err)
	return err
}

// ruling returns the carrier to a service as the store says now; nil for none.
func (g *Gateway) ruling(ctx context.Context, s Service) (Carrier, error) {
	if g != nil && g.direct != nil {
		c, rules, err := g.direct.Carrier(ctx, s)
		if err != nil || rules {
			return c, err
		}
	}
	return g.carrier(s), nil
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
