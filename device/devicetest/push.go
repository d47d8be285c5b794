package devicetest

import (
	"context"
	"sync"

	"tutela/device/push"
)

// Pushes is a push service that remembers what it was given. Safe for concurrent use.
type Pushes struct {
	// Fail returns the error of a delivery to an address; nil: all succeed. It is set before the first delivery.
	Fail func(to push.Address) error

	mu        sync.Mutex
	delivered []Delivered
}

// Delivered is a message and where it went.
type Delivered struct {
	To push.Address
	push.Message
}

// Deliver takes a message, also one that fails.
func (p *Pushes) Deliver(_ context.Context, to push.Address, m push.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delivered = append(p.delivered, Delivered{to, m})
	if p.Fail != nil {
		return p.Fail(to)
	}
	return nil
}

// Take returns what was delivered since the last call.
func (p *Pushes) Take() []Delivered {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.delivered
	p.delivered = nil
	return taken
}
