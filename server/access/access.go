// Package access says who may call. It holds the clients with their secrets, scopes and grants, the signing keys, and the
// tokens and receipts that these keys sign for other programs.
//
// What always holds:
//
//   - The store holds only a keyed hash of a client's secret, and no number of wrong secrets locks a client out.
//   - The algorithm and the typ of a token follow from its kind and our key, never from the token itself. So nobody can
//     pass off a token of one kind as another ([Kinds]).
//   - A management token allows what its client may do at the moment of use, and nothing once the client is removed.
//   - A token about a user never has an audience of ours.
package access

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
)

// Options says where the installation is reached.
type Options struct {
	// PublicURLs are the URLs under which clients know us, without a slash at the end. The first makes the issuer
	// and the documents; the others count in audiences only.
	PublicURLs []string
}

// Service is the use cases of access. Safe for concurrent use.
type Service struct {
	store     *storage.Store
	ring      *keyring.Ring
	public    []string // without a slash at the end
	issuer    string
	discovery []byte
	decoy     *registered
	callers   *storage.Memo[registered] // the clients that call

	uses uses

	loading sync.Mutex // held while reading the keys from the store
	keys    atomic.Pointer[keySet]
}

// ErrPublicURL reports an invalid public URL.
var ErrPublicURL = storage.NewError(storage.Invalid, "a public URL is http or https, a host, and no query")

// New makes the service. In a new store it also makes the first signing keys.
//
// Errors: ErrPublicURL; those of the store.
func New(ctx context.Context, store *storage.Store, ring *keyring.Ring, o Options) (*Service, error) {
	s := &Service{store: store, ring: ring}
	for _, public := range o.PublicURLs {
		if err := CheckPublicURL(public); err != nil {
			return nil, err
		}
		s.public = append(s.public, strings.TrimRight(public, "/"))
	}
	if len(s.public) == 0 {
		return nil, ErrPublicURL.With("there is no public URL")
	}
	s.issuer = s.public[0] + "/"
	var err error
	if s.discovery, err = json.Marshal(discoveryOf(s.public[0])); err != nil {
		return nil, err
	}
	s.decoy = newDecoy(ring)
	if s.callers, err = storage.NewMemo(clients, rememberedClients); err != nil {
		return nil, err
	}
	if _, err := s.reload(ctx, nil); err != nil {
		return nil, err
	}
	if err := s.ensureKeys(ctx, audit.Actor{}, es256, edDSA); err != nil {
		return nil, err
	}
	return s, nil
}

// CheckPublicURL returns an error unless public can be a public URL.
//
// Errors: ErrPublicURL.
func CheckPublicURL(public string) error {
	u, err := url.Parse(public)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return ErrPublicURL.With("%q is not a public URL: it is http or https, a host, and no query", public)
	}
	return nil
}

// Issuer returns the iss of every token: the first public URL and a slash.
func (s *Service) Issuer() string { return s.issuer }

// Public returns the first public URL, without a slash at the end.
func (s *Service) Public() string { return s.public[0] }

// ManagementAudience returns the audience of management tokens for the first public URL.
func (s *Service) ManagementAudience() string { return s.public[0] + managementPath }

// The paths that, after a public URL, make audiences of our own.
const (
	managementPath = "/api/v2/"
	enrollmentPath = "/mfa/" // of an enrolment token

	// Of assertions of clients.
	tokenPath       = "/oauth/token"
	backchannelPath = "/bc-authorize"
)

// isManagement reports whether audience is exactly the management audience of one of the public URLs.
func (s *Service) isManagement(audience string) bool {
	for _, public := range s.public {
		if audience == public+managementPath {
			return true
		}
	}
	return false
}

// isOurs reports whether audience is one of ours, or a program that compares loosely could take it for one.
func (s *Service) isOurs(audience string) bool {
	loose := strings.TrimRight(audience, "/")
	for _, public := range s.public {
		for _, path := range []string{managementPath, enrollmentPath} {
			if strings.EqualFold(loose, strings.TrimRight(public+path, "/")) {
				return true
			}
		}
	}
	return false
}
