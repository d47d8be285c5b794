// Package device keeps a user's enrollments: the tickets that make them, the phones and their keys, and what a phone may do
// with its own enrollment.
package device

import (
	"strings"
	"unicode/utf8"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/keyring"
	"tutela/storage/legible"
)

// Service has the use cases of enrollments. Safe for concurrent use.
type Service struct {
	store    *storage.Store
	ring     *keyring.Ring
	recovery *recovery.Service
	bases    Bases
	issuer   string
	deliver  *push.Gateway
	verified verified
	traffic  traffic

	knowsClient func(tx *storage.Tx, client string) (bool, error)
}

// Options says how the service presents itself.
type Options struct {
	Bases   Bases
	Issuer  string        // the organisation's name, as apps show it
	Deliver *push.Gateway // nil without a push service: apps pull

	KnowsClient func(tx *storage.Tx, client string) (bool, error) // reports whether a client is registered; nil: all are
}

// MaxIssuerCharacters bounds the organisation's name: it stands in the head of pages and twice in each QR code.
const MaxIssuerCharacters = 64

// ErrIssuer reports a text that cannot be the organisation's name.
var ErrIssuer = storage.NewError(storage.Invalid, "this is not a valid name for an organisation")

// CheckIssuer returns an error unless a text can be the organisation's name.
//
// Errors: ErrIssuer.
func CheckIssuer(name string) error {
	err := legible.Require("it", name, utf8.UTFMax*MaxIssuerCharacters)
	switch {
	case err != nil:
		return ErrIssuer.With("%q is not a valid name for an organisation: %v", name, err)
	case utf8.RuneCountInString(name) > MaxIssuerCharacters, strings.TrimSpace(name) != name:
		return ErrIssuer.With("%q is not a valid name for an organisation: it has at most %d characters, and no blanks at its edges", name, MaxIssuerCharacters)
	}
	return nil
}

// New makes the service.
func New(store *storage.Store, ring *keyring.Ring, codes *recovery.Service, o Options) *Service {
	return &Service{
		store:    store,
		ring:     ring,
		recovery: codes,
		bases:    o.Bases,
		issuer:   o.Issuer,
		deliver:  o.Deliver,

		knowsClient: o.KnowsClient,
	}
}

// Issuer returns the organisation's name, as apps show it.
func (s *Service) Issuer() string { return s.issuer }

// PublicURL returns the URL under which people reach the server.
func (s *Service) PublicURL() string { return s.bases.Public() }
