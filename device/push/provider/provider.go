// Package provider keeps the credentials for push services that are set by API, and makes the carriers that use them.
//
// The setting push.provider says whose credentials count: those of the command line (guardian), or those that are kept here
// (direct). What is set counts with the next message, at every server over the store: each looks at the rows before it sends. What is
// secret is sealed, and nobody reads it again.
package provider

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tutela/device/push"
	"tutela/device/push/apns"
	"tutela/device/push/fcm"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// credential is what is set for one push service.
type credential struct {
	Version string    `json:"version"` // random; another with every change
	Changed time.Time `json:"changed"`

	Bundle  string `json:"bundle_id,omitempty"` // APNs: the app
	Sandbox bool   `json:"sandbox,omitempty"`   // APNs
	P12     []byte `json:"p12,omitempty"`       // APNs: PKCS#12 without password; sealed
	Account []byte `json:"account,omitempty"`   // FCM: what is read of a key file, as one; sealed

	Expires time.Time `json:"expires,omitzero"` // APNs: of the certificate
	Fault   string    `json:"fault,omitempty"`  // why it cannot be used, for people; "" when it can
}

var credentials = storage.Declare(storage.Spec[credential]{
	Name:  "push_credential",
	Class: storage.Settings,
	Sealed: func(c *credential) []storage.Field {
		return []storage.Field{{Name: "p12", Value: &c.P12}, {Name: "account", Value: &c.Account}}
	},
})

// The values of push.provider.
const (
	Guardian = "guardian" // the credentials of the command line
	Direct   = "direct"   // those that are set by API
)

var selected = setting.OneOf("push.provider",
	"whose credentials for FCM and APNs messages go by: those of the command line (guardian), or those that are set by API (direct)",
	Guardian, Direct)

// Setting is the name of the setting that says whose credentials count.
func Setting() string { return selected.Name() }

// Options says where the services are, when they are not where Google and Apple have them.
type Options struct {
	FCMEndpoint  string         // as in package fcm
	FCMTokens    string         // in place of Google's token endpoint
	APNsEndpoint string         // as in package apns
	APNsRoots    *x509.CertPool // as in package apns
	Log          *slog.Logger
}

// Service is the use cases of credentials, and what a gateway asks for carriers. Safe for concurrent use.
type Service struct {
	store *storage.Store
	log   *slog.Logger

	mu    sync.Mutex // guards what is below
	at    Options
	built map[push.Service]*made
}

// made is the carrier of a version of credentials. Whoever asks first makes it, while others may wait: to open a certificate may take
// seconds, and nobody waits for that of another service.
type made struct {
	version string
	once    func() (built, error)
}

type built struct {
	push.Carrier
	close func()
}

// New makes the service.
func New(store *storage.Store, o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{
		store: store,
		log:   o.Log,
		at:    o,
		built: map[push.Service]*made{},
	}
}

// Reach says where the services are. Before any message is sent.
func (s *Service) Reach(fcmEndpoint, apnsEndpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at.FCMEndpoint = fcmEndpoint
	s.at.APNsEndpoint = apnsEndpoint
}

// Carries implements [push.Direct].
func (s *Service) Carries(tx *storage.Tx, to push.Service) (carries, rules bool, err error) {
	c, rules, err := ruling(tx, to)
	return rules && c.usable(), rules, err
}

// usable reports whether a carrier can be made of the credentials, of which there may be none.
func (c *credential) usable() bool {
	return c != nil && c.Fault == "" && (len(c.P12) > 0 || len(c.Account) > 0)
}

// ruling returns the credentials of a service, when those that are kept here count. Without any they are nil.
func ruling(tx *storage.Tx, to push.Service) (c *credential, rules bool, err error) {
	if to == push.WebPush {
		return nil, false, nil
	}
	value, err := selected.Get(tx)
	if err != nil || value != Direct {
		return nil, false, err
	}
	c, err = read(tx, to)
	return c, true, err
}

// read returns the credentials of a service; nil when there are none. GCM and FCM are one service.
func read(tx *storage.Tx, of push.Service) (*credential, error) {
	c, err := credentials.Get(tx, storage.House, key(of))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	return c, err
}

// key returns the key of a service's row.
func key(of push.Service) string { return string(of.Provider()) }

// Carrier implements [push.Direct].
func (s *Service) Carrier(ctx context.Context, to push.Service) (carrier push.Carrier, rules bool, err error) {
	var c *credential
	err = s.store.View(ctx, func(tx *storage.Tx) (err error) {
		c, rules, err = ruling(tx, to)
		return err
	})
	if err != nil || !rules || !c.usable() {
		return nil, rules, err
	}
	carrier, err = s.carrierOf(to, c)
	return carrier, true, err
}

// carrierOf returns the carrier of a version of credentials. It makes it once, and closes what the version before has left open.
func (s *Service) carrierOf(to push.Service, c *credential) (push.Carrier, error) {
	mine, before := s.version(to, c)
	b, err := mine.once()
	if err != nil {
		s.forget(to, mine)
		err = fmt.Errorf("the credentials for %s that are set: %w", to, err)
	}
	if before != nil {
		if old, err := before.once(); err == nil {
			old.close()
		}
	}
	return b.Carrier, err
}

// version returns what is made of a version of credentials, and what it is the first to replace; nil for nothing.
func (s *Service) version(to push.Service, c *credential) (mine, before *made) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.built[to]
	if before != nil && before.version == c.Version {
		return before, nil
	}
	at := s.at
	mine = &made{version: c.Version, once: sync.OnceValues(func() (built, error) { return build(c, at) })}
	s.built[to] = mine
	return mine, before
}

// forget has a carrier that could not be made tried again.
func (s *Service) forget(to push.Service, failed *made) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.built[to] == failed {
		delete(s.built, to)
	}
}

// build makes a carrier of credentials.
func build(c *credential, at Options) (built, error) {
	if len(c.Account) > 0 {
		carrier, err := fcm.New(fcm.Credentials{JSON: c.Account, Endpoint: at.FCMEndpoint})
		if err != nil {
			return built{}, err
		}
		return built{carrier, carrier.Close}, nil
	}
	carrier, err := apns.New(apns.Credentials{
		Certificate: c.P12,
		Topic:       c.Bundle,
		Sandbox:     c.Sandbox && at.APNsEndpoint == "",
		Endpoint:    at.APNsEndpoint,
		Roots:       at.APNsRoots,
	})
	if err != nil {
		return built{}, err
	}
	return built{carrier, carrier.Close}, nil
}

// put writes credentials that were changed, and records what is wrong with them.
func put(tx *storage.Tx, actor audit.Actor, of push.Service, c *credential) error {
	c.Version = storage.NewID("", 16)
	c.Changed = tx.Now()
	state := audit.CredentialsOK
	switch {
	case c.Fault != "":
		state = audit.CredentialsUnusable
	case c.expired(tx.Wall()):
		state = audit.CredentialsExpired
	}
	facts := audit.Facts{
		audit.FactChange:  audit.ChangePush,
		audit.FactService: audit.Word(of.Provider()),
		audit.FactStatus:  state,
	}
	return errors.Join(
		credentials.Put(tx, storage.House, key(of), c),
		audit.Record(tx, actor, audit.Event{Type: audit.TenantUpdate, Facts: facts}, audit.Detail{}),
		audit.RecordCall(tx, actor, storage.House))
}

func (c *credential) expired(now time.Time) bool { return !c.Expires.IsZero() && now.After(c.Expires) }

// tell logs what is wrong with credentials that were set.
func (s *Service) tell(of push.Service, c *credential) {
	if trouble := c.trouble(of, s.store.Wall()); trouble != "" {
		s.log.Warn("push credentials were set", "trouble", trouble)
	}
}

// trouble says what is wrong with credentials; "" for nothing.
func (c *credential) trouble(of push.Service, now time.Time) string {
	switch {
	case c == nil:
		return ""
	case c.Fault != "":
		return fmt.Sprintf("%s is not set up: %s", of, c.Fault)
	case c.expired(now):
		return fmt.Sprintf("%s: the certificate has expired on %s", of, c.Expires.UTC().Format(time.DateOnly))
	default:
		return ""
	}
}

// Trouble returns what is wrong with the credentials that count, or nil: for /readyz.
//
// Errors: ErrTrouble.
func (s *Service) Trouble(ctx context.Context) error {
	var said []error
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		said = nil
		for _, of := range []push.Service{push.FCM, push.APNs} {
			c, _, err := ruling(tx, of)
			if err != nil {
				return err
			}
			if trouble := c.trouble(of, tx.Wall()); trouble != "" {
				said = append(said, ErrTrouble.With("%s", trouble))
			}
		}
		return nil
	})
	return errors.Join(append(said, err)...)
}

// ErrTrouble reports credentials that are selected but cannot be used.
var ErrTrouble = storage.NewError(storage.Unavailable, "the push credentials are of no use")

// Describe says how each service is set up, when the credentials that are set count; nil when those of the command line do.
func (s *Service) Describe(ctx context.Context) (how map[push.Service]string, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		how = nil
		for _, of := range []push.Service{push.FCM, push.APNs} {
			c, rules, err := ruling(tx, of)
			if err != nil || !rules {
				return err
			}
			if how == nil {
				how = map[push.Service]string{}
			}
			switch trouble := c.trouble(of, tx.Wall()); {
			case trouble != "":
				how[of] = trouble
			case c.usable():
				how[of] = "set by API"
			default:
				how[of] = "not carried: nothing is set by API, and push.provider is direct"
			}
		}
		return nil
	})
	return how, err
}
