// Package webhook tells other programs what happens: it posts events to URLs that admins register, signed as Standard Webhooks
// says. What is to be told is added to the outbox in the transaction that records the event, so that it is told if and only if it
// happened; it may be told twice, under the same id, and in any order.
//
// A URL is a stranger's. It is called through the guard of the outbox, and nothing of its answers is kept but the status.
//
// Sources: Standard Webhooks 1.0.0 (specification); management-api.md "Webhooks".
package webhook

import (
	"context"
	"net/netip"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
)

// Webhook is a registered URL.
type Webhook struct {
	ID          string       `json:"id"`
	URL         string       `json:"url"`
	Events      []audit.Type `json:"events"`            // what it is told of; audit.EveryType: everything
	Mails       bool         `json:"mails,omitempty"`   // it sends mail: see mail.go
	Enabled     bool         `json:"enabled,omitempty"` // else it is told of nothing
	Created     time.Time    `json:"created"`
	LastSuccess time.Time    `json:"last_success,omitzero"` // to the minute
	Failing     time.Time    `json:"failing,omitzero"`      // since when each attempt has failed
	Parked      time.Time    `json:"parked,omitzero"`       // since when it is told of nothing, because it takes nothing
	Why         audit.Word   `json:"why,omitempty"`         // it was parked
}

// credentials are the secrets that sign for a webhook, as its receiver holds them: whsec_ and base64.
type credentials struct {
	Secret      []byte    `json:"secret"`
	Former      []byte    `json:"former,omitempty"`      // signs too while it counts
	FormerUntil time.Time `json:"former_until,omitzero"` // by the house's time
}

// The secrets lie apart, so that an event which looks at the webhooks opens no seal.
var (
	hooks   = storage.Declare(storage.Spec[Webhook]{Name: "webhook", Class: storage.Settings})
	secrets = storage.Declare(storage.Spec[credentials]{
		Name:  "webhook_secret",
		Class: storage.Settings,
		Sealed: func(c *credentials) []storage.Field {
			return []storage.Field{{Name: "secret", Value: &c.Secret}, {Name: "former", Value: &c.Former}}
		},
	})
)

// Errors of this package.
var (
	ErrNone       = storage.NewError(storage.NotFound, "there is no such webhook")
	ErrInvalid    = storage.NewError(storage.Invalid, "the webhook cannot be registered so")
	ErrRefused    = storage.NewError(storage.Denied, "this webhook is not for this caller to change")
	ErrNoDelivery = storage.NewError(storage.NotFound, "there is no such delivery")
	ErrTooMany    = storage.NewError(storage.Conflict, "there are too many webhooks")
)

// ScopeManage lets a client or a session manage webhooks.
const ScopeManage = "manage:webhooks"

// Options say how webhooks are reached.
type Options struct {
	Allow []netip.Prefix // addresses that are called though they are not of the internet, also over plain http
}

// Service is the use cases of webhooks. Safe for concurrent use.
type Service struct {
	store  *storage.Store
	poster *outbox.Poster
}

// New makes the service.
func New(store *storage.Store, o Options) *Service {
	s := &Service{store: store}
	s.Allow(o.Allow)
	return s
}

// Allow says which addresses are called though they are not of the internet. Before the service is used only.
func (s *Service) Allow(ranges []netip.Prefix) {
	s.poster = outbox.NewPoster(outbox.GuardOptions{What: "webhook", Flag: "--webhook-allow", Allow: ranges})
}

// Close closes the idle connections.
func (s *Service) Close() { s.poster.Close() }

// all returns the webhooks, in the order of their ids. One whose row is damaged is left out: no login hangs on it.
func all(tx *storage.Tx) (list []*Webhook, err error) {
	var ids []string
	if err := hooks.Keys(tx, storage.House, "", func(id string) bool {
		ids = append(ids, id)
		return true
	}); err != nil {
		return nil, err
	}
	for _, id := range ids {
		w, err := get(tx, id)
		switch {
		case err == nil:
			list = append(list, w)
		case storage.CodeOf(err) != storage.NotFound:
			return nil, err
		}
	}
	return list, nil
}

// get returns a webhook.
//
// Errors: ErrNone, also for one whose row is damaged.
func get(tx *storage.Tx, id string) (*Webhook, error) {
	w, err := hooks.Get(tx, storage.House, id)
	if isGone(err) {
		return nil, ErrNone
	}
	return w, err
}

// put writes a webhook, and has the events told that some webhook wants.
func put(tx *storage.Tx, w *Webhook) error {
	if err := hooks.Put(tx, storage.House, w.ID, w); err != nil {
		return err
	}
	return follow(tx)
}

// Webhooks returns all webhooks, the oldest first.
func (s *Service) Webhooks(ctx context.Context) (list []Webhook, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		found, err := all(tx)
		list = make([]Webhook, 0, len(found))
		for _, w := range found {
			list = append(list, *w)
		}
		return err
	})
	byAge(list)
	return list, err
}

// Webhook returns one webhook.
//
// Errors: ErrNone.
func (s *Service) Webhook(ctx context.Context, id string) (found Webhook, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		w, err := get(tx, id)
		if err == nil {
			found = *w
		}
		return err
	})
	return found, err
}
