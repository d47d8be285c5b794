// Package passkey registers and checks passkeys (WebAuthn credentials): those of users, which are enrollments of the types
// webauthn-roaming and webauthn-platform, and those that open the dashboard, which are a kind of their own.
//
// A ceremony has two halves. The first draws a challenge and keeps what it has asked for; the second takes what the authenticator has
// signed, once. Signatures are checked outside of transactions, where that keeps nobody waiting: Verify… reads and checks, and what it
// returns is spent in the transaction that acts on it, which looks at the stored rows again.
//
// Source: Web Authentication Level 3 (W3C).
package passkey

import (
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/keyring"
)

// Service is the use cases of passkeys. Safe for concurrent use.
type Service struct {
	store      *storage.Store
	ring       *keyring.Ring
	issuer     string
	origins    []string // of the public URLs
	host       string   // of the first public URL that has a domain and no address; empty when none has
	registered func(tx *storage.Tx, origin string) (bool, error)
}

// Options says where pages run that ask for passkeys.
type Options struct {
	Bases  device.Bases // the public URLs
	Issuer string       // the organisation's name, as browsers show it

	// Registered reports whether a client has registered an origin for its pages. nil: none has.
	Registered func(tx *storage.Tx, origin string) (bool, error)
}

// New makes the service.
func New(store *storage.Store, ring *keyring.Ring, o Options) *Service {
	s := &Service{
		store:      store,
		ring:       ring,
		issuer:     o.Issuer,
		registered: o.Registered,
	}
	for _, base := range o.Bases {
		origin, host := originOf(base)
		if s.host == "" && isDomain(host) {
			s.host = host
		}
		s.origins = append(s.origins, origin)
	}
	return s
}

// originOf returns the origin of a URL, as browsers name it, and its host.
func originOf(of string) (origin, host string) {
	u, err := url.Parse(of)
	if err != nil {
		return "", ""
	}
	host = strings.ToLower(u.Hostname())
	origin = strings.ToLower(u.Scheme + "://" + u.Host)
	switch {
	case u.Scheme == "https" && u.Port() == "443":
		origin = strings.TrimSuffix(origin, ":443")
	case u.Scheme == "http" && u.Port() == "80":
		origin = strings.TrimSuffix(origin, ":80")
	}
	return origin, host
}

// isDomain reports whether browsers take a host as a relying party: an IP address is not a domain.
func isDomain(host string) bool { return protocol.ValidateRPID(host) == nil }

// Errors of passkeys.
var (
	// ErrNoDomain reports an installation whose public URL has an address in the place of a domain: browsers have no passkeys there.
	ErrNoDomain = storage.NewError(storage.Conflict, "passkeys need a public URL with a domain: browsers refuse them for an address")

	// ErrNone reports a user who has no passkey in use.
	ErrNone = storage.NewError(storage.NotFound, "the user has no passkey in use here")

	// ErrCeremony reports a challenge that is unknown, used or too old.
	ErrCeremony = storage.NewError(storage.Expired, "the challenge for a passkey is unknown, used or too old: ask for a new one")

	// ErrResponse reports what is no answer of an authenticator.
	ErrResponse = storage.NewError(storage.Invalid, "this is not a credential as browsers make them")

	// ErrRefused reports an answer that is not accepted. It does not say whether the passkey is unknown or the signature wrong.
	ErrRefused = storage.NewError(storage.Denied, "the passkey is not accepted")

	// ErrCopied reports a passkey whose count did not advance, so that there may be a copy of it.
	ErrCopied = storage.NewError(storage.Denied, "the passkey is refused: its count says that there may be a copy of it. Tell an admin")

	// ErrBound reports a passkey that could be copied to other devices, and now says that it cannot.
	ErrBound = storage.NewError(storage.Denied, "the passkey is refused: it is another kind of passkey than was registered")

	// ErrTooOften reports that a user's challenges are all used up for the moment.
	ErrTooOften = storage.NewError(storage.Limited, "too many passkeys were used at once: try again in some minutes")
)

// life is how long a challenge can be answered.
const life = 5 * time.Minute

// library returns the library set up for a relying party and the origins whose pages may answer.
func (s *Service) library(relyingParty string, origins []string) (*webauthn.WebAuthn, error) {
	timeout := webauthn.TimeoutConfig{Timeout: life, TimeoutUVD: life}
	return webauthn.New(&webauthn.Config{
		RPID:          relyingParty,
		RPDisplayName: s.issuer,
		RPOrigins:     origins,
		Timeouts:      webauthn.TimeoutsConfig{Login: timeout, Registration: timeout},

		// Password managers answer what was not asked for.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
}
