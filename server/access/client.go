package access

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/legible"
)

// Client is a program with credentials: a login system, or an admin's program.
type Client struct {
	ID           string          `json:"client_id"`
	Name         string          `json:"name"`
	Scopes       []string        `json:"scopes"`
	Grants       []string        `json:"grants"` // whole grant_types
	RedirectURIs []string        `json:"redirect_uris,omitempty"`
	WebOrigins   []string        `json:"web_origins,omitempty"`
	IDTokenAlg   string          `json:"id_token_alg"`                    // ES256 or RS256: signs its ID tokens and the access tokens of its users
	Presence     device.Presence `json:"presence,omitempty"`              // of its approvals: tap when it can show no number; empty: the policy decides
	DeliveryMode string          `json:"delivery_mode,omitempty"`         // how it learns that an approval is decided: ping; empty: it polls
	NotifyAt     string          `json:"notification_endpoint,omitempty"` // the URL of a ping
	ActsAs       storage.UID     `json:"acts_as,omitzero"`                // the user for whom it makes management calls
	RequestAlg   string          `json:"request_alg,omitempty"`           // by which it signs its authentication requests (CIBA), every one; empty: it signs none
	Keys         json.RawMessage `json:"jwks,omitempty"`                  // a JWK Set: it authenticates by a JWT that one of them has signed, and has no secret
	Created      time.Time       `json:"created"`
	Tokens       int             `json:"-"` // version of its management tokens, as Authenticate has read it
}

// registered is a client as it is stored.
type registered struct {
	Client
	SecretHash   string    `json:"secret_hash"`             // keyed, over id and secret
	Formers      []former  `json:"formers,omitempty"`       // secrets before, the oldest first; at most maxFormers
	TokenVersion int       `json:"token_version,omitempty"` // of its management tokens: earlier ones are ended
	LastUsed     time.Time `json:"last_used,omitzero"`      // when it was there last, as far as that is written down: see WriteUses

	Behind []storage.UID `json:"behind,omitempty"` // persons who can act as it: whose session made it, or who saw a secret of it
}

// mostBehind bounds the persons who are remembered as standing behind a client: the last ones.
const mostBehind = 64

// seenBy notes who sees a secret of the client, or gives it its keys: by it he acts on himself as little as by his session.
func (c *registered) seenBy(actor audit.Actor) {
	for _, uid := range actor.Persons() {
		if !slices.Contains(c.Behind, uid) {
			c.Behind = append(c.Behind, uid)
		}
	}
	c.Behind = c.Behind[max(0, len(c.Behind)-mostBehind):]
}

// former is a secret before, which still counts.
type former struct {
	Hash  string    `json:"hash"`
	Until time.Time `json:"until"` // by the house's time
}

var (
	clients  = storage.Declare(storage.Spec[registered]{Name: "client", Class: storage.Settings})
	byOrigin = clients.Plain("web_origin", func(c *registered) []string { return c.WebOrigins })
)

// Errors about clients.
var (
	ErrClient       = storage.NewError(storage.Denied, "the client is unknown, or its secret is wrong")
	ErrNoClient     = storage.NewError(storage.NotFound, "there is no such client")
	ErrNewClient    = storage.NewError(storage.Invalid, "the client cannot be registered so")
	ErrBeyondCaller = storage.NewError(storage.Denied, "this caller cannot give a client that much")
	ErrGrant        = storage.NewError(storage.Denied, "the client may not use this grant")
)

const (
	clientIDLength      = 32 // 190 bits
	clientSecretLength  = 48 // 285 bits
	secretPurpose       = "client_secret"
	maxClientNameBytes  = 255
	maxClientURLs       = 100
	maxClientURLBytes   = 2000
	maxCredentialLength = 255 // of a client id; no client has a longer one
	rememberedClients   = 1000
)

// AddClient registers a client, and returns it with its secret, which nobody can read again. c has no ID and no Created.
// IDTokenAlg is ES256 by default; for the first client with RS256, AddClient makes an RS256 key. Without Grants, a client
// with the scope openid gets CIBA and the MFA grants, with a redirect URI also authorization_code, and a client with a management scope gets client_credentials. A client
// with Keys has no secret.
//
// Errors: ErrNewClient, which says what is wrong; ErrBeyondCaller when a client gives a scope that it lacks or acts for a user, or
// anybody but an operator sets ActsAs or presence tap; ErrToken when the caller's token was ended meanwhile; user.ErrUnknown for
// ActsAs.
func (s *Service) AddClient(ctx context.Context, actor audit.Actor, c Client) (added Client, secret string, err error) {
	if err := c.complete(); err != nil {
		return Client{}, "", err
	}
	// A client that is refused makes no key.
	if err := s.store.View(ctx, func(tx *storage.Tx) error { return mayBe(tx, actor, c) }); err != nil {
		return Client{}, "", err
	}
	if c.IDTokenAlg == string(rs256) {
		if err := s.ensureKeys(ctx, actor, rs256); err != nil {
			return Client{}, "", err
		}
	}
	c.ID = storage.NewID("", clientIDLength)
	if len(c.Keys) == 0 {
		secret = storage.NewID("", clientSecretLength)
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := mayBe(tx, actor, c); err != nil {
			return err
		}
		c.Created = tx.Now().Truncate(time.Millisecond)
		hash := ""
		if secret != "" {
			hash = s.ring.Hash(secretPurpose, []byte(c.ID), []byte(secret))
		}
		added := &registered{Client: c, SecretHash: hash}
		added.seenBy(actor)
		return errors.Join(
			clients.Insert(tx, storage.House, c.ID, added),
			audit.Record(tx, actor, audit.Event{Type: audit.ClientAdded, Client: c.ID, Facts: c.facts()}, audit.Detail{}),
			audit.RecordCall(tx, actor, storage.House),
		)
	})
	if err != nil {
		return Client{}, "", fmt.Errorf("add client: %w", err)
	}
	return c, secret, nil
}

// mayBe returns an error unless the actor may make a client like this one.
//
// Errors: those of mayGive; user.ErrUnknown for ActsAs.
func mayBe(tx *storage.Tx, actor audit.Actor, c Client) error {
	if err := mayGive(tx, actor, c); err != nil || c.ActsAs.IsZero() {
		return err
	}
	_, err := user.Get(tx, c.ActsAs)
	return err
}

// complete checks a new client and sets the fields that were left out.
func (c *Client) complete() error {
	if err := legible.Require("the client's name", c.Name, maxClientNameBytes); err != nil {
		return ErrNewClient.With("%v", err)
	}
	for _, scope := range c.Scopes {
		if !knownScope(scope) {
			return ErrNewClient.With("there is no scope %q", scope)
		}
	}
	for _, grant := range c.Grants {
		if !slices.Contains(grants, grant) {
			return ErrNewClient.With("there is no grant %q: a grant is one of %s", grant, strings.Join(grants, ", "))
		}
	}
	// Without grants, the scopes say which ones the client needs.
	c.Scopes = distinct(c.Scopes)
	c.Grants = distinct(c.Grants)
	if len(c.Grants) == 0 {
		c.Grants = defaultGrants(c.Scopes)
		if slices.Contains(c.Scopes, ScopeOpenID) && len(c.RedirectURIs) > 0 {
			c.Grants = append(c.Grants, GrantAuthorizationCode)
		}
	}
	if len(c.Grants) == 0 {
		return ErrNewClient.With("a client with no scope and no grant could do nothing: give it a scope")
	}
	// How its logins and tokens look.
	switch c.IDTokenAlg {
	case "":
		c.IDTokenAlg = string(es256)
	case string(es256), string(rs256):
	default:
		return ErrNewClient.With("ID tokens are signed by ES256 or RS256, not %q", c.IDTokenAlg)
	}
	if c.Presence != "" && c.Presence != device.PresenceNumber && c.Presence != device.PresenceTap {
		return ErrNewClient.With("presence is number or tap, not %q", c.Presence)
	}
	if len(c.Keys) > 0 {
		keys, err := ParseClientKeys(c.Keys)
		if err != nil {
			return err
		}
		c.Keys = keys
	}
	if err := c.completeDelivery(); err != nil {
		return err
	}
	if err := c.completeRequestAlg(); err != nil {
		return err
	}
	return c.completeURLs()
}

// How a client learns that an approval is decided. Source: CIBA Core 1.0 §5.
const (
	DeliveryPoll = "poll"
	DeliveryPing = "ping"
)

// completeDelivery checks how the client is told. A URL inside is refused when it is called, as that of a webhook.
func (c *Client) completeDelivery() error {
	switch c.DeliveryMode {
	case "", DeliveryPoll:
		c.DeliveryMode = ""
		if c.NotifyAt != "" {
			return ErrNewClient.With("a notification endpoint is of delivery mode ping alone")
		}
		return nil
	case DeliveryPing:
	default:
		return ErrNewClient.With("the delivery mode is poll or ping, not %q", c.DeliveryMode)
	}
	u, err := url.Parse(c.NotifyAt)
	switch {
	case c.NotifyAt == "":
		return ErrNewClient.With("delivery mode ping wants a notification endpoint")
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.User != nil,
		strings.Contains(c.NotifyAt, "#"), len(c.NotifyAt) > maxClientURLBytes:
		return ErrNewClient.With("a notification endpoint is https:// and a host, without a user and a fragment, of at most %d characters", maxClientURLBytes)
	case !slices.Contains(c.Grants, GrantCIBA):
		return ErrNewClient.With("delivery mode ping is for a client with the grant %s", GrantCIBA)
	}
	return nil
}

func (c *Client) completeURLs() error {
	if len(c.RedirectURIs) > maxClientURLs || len(c.WebOrigins) > maxClientURLs {
		return ErrNewClient.With("a client has at most %d redirect URIs, and as many web origins", maxClientURLs)
	}
	for _, uri := range c.RedirectURIs {
		if !validRedirect(uri) {
			return ErrNewClient.With("%q is not a redirect URI: it is absolute, has no fragment, and is http, https, "+
				"or of a private-use scheme with a dot", uri)
		}
	}
	origins := make([]string, 0, len(c.WebOrigins))
	for _, given := range c.WebOrigins {
		origin, ok := webOrigin(given)
		if !ok {
			return ErrNewClient.With("%q is not a web origin: it is http or https, a host, and no path", given)
		}
		origins = append(origins, origin)
	}
	c.RedirectURIs = distinct(c.RedirectURIs)
	c.WebOrigins = distinct(origins)
	return nil
}

// validRedirect reports whether uri can be a redirect URI. Sources: RFC 6749 §3.1.2; RFC 8252 §7.1 (private-use
// schemes are a reversed domain name, so javascript: and data: are none).
func validRedirect(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || len(uri) > maxClientURLBytes || strings.Contains(uri, "#") || u.User != nil {
		return false
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return u.Host != ""
	}
	return strings.Contains(u.Scheme, ".")
}

// webOrigin returns an origin as browsers write it in the header Origin. Source: RFC 6454 §6.2.
func webOrigin(given string) (origin string, ok bool) {
	u, err := url.Parse(strings.ToLower(given))
	if err != nil || len(given) > maxClientURLBytes || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		strings.TrimRight(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", false
	}
	host := u.Host
	if u.Port() == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		host = strings.TrimSuffix(host, ":"+u.Port())
	}
	return u.Scheme + "://" + host, true
}

// distinct returns the values without repetitions, in their order.
func distinct(values []string) []string {
	var once []string
	for _, value := range values {
		if !slices.Contains(once, value) {
			once = append(once, value)
		}
	}
	return once
}

// errOfAUser refuses a client that acts for a user: another client, which acts for nobody, would act on that user.
var errOfAUser = ErrBeyondCaller.With("a client that acts for a user gives nothing to other clients: let the operator do it, or a client that acts for nobody")

// mayAdd returns ErrBeyondCaller if the client would exceed what the actor has.
func mayAdd(actor audit.Actor, added Client) error {
	if actor.IsOperator() {
		return nil
	}
	if actor.IsClient() && !actor.ActsAs().IsZero() {
		return errOfAUser
	}
	for _, scope := range added.Scopes {
		if !actor.Has(scope) {
			return ErrBeyondCaller.With("a client gives other clients no scope that it lacks: %s", scope)
		}
	}
	if !added.ActsAs.IsZero() || added.Presence == device.PresenceTap {
		return ErrBeyondCaller.With("for whom a client acts, and presence tap, are set by an operator")
	}
	return nil
}

// facts returns what an event says about a client besides its id.
func (c Client) facts() audit.Facts {
	facts := audit.Facts{
		audit.FactScope:      audit.Word(strings.Join(c.Scopes, " ")),
		audit.FactIDTokenAlg: audit.Word(c.IDTokenAlg),
	}
	if len(c.Keys) > 0 {
		facts[audit.FactMethod] = audit.MethodPrivateKey
	}
	if c.Presence != "" {
		facts[audit.FactPresence] = audit.Word(c.Presence)
	}
	if c.DeliveryMode != "" {
		facts[audit.FactDeliveryMode] = audit.DeliveryPing
	}
	if c.RequestAlg != "" {
		facts[audit.FactRequestAlg] = audit.Word(c.RequestAlg)
	}
	if !c.ActsAs.IsZero() {
		facts[audit.FactActsAs] = audit.Word(c.ActsAs.String())
	}
	return facts
}

// ListClients returns all clients, the oldest first.
func (s *Service) ListClients(ctx context.Context) ([]Client, error) {
	list := []Client{}
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		rows, err := clients.All(tx, storage.House)
		for _, row := range rows {
			list = append(list, row.Record.Client)
		}
		return err
	})
	slices.SortStableFunc(list, func(a, b Client) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return list, err
}

// RemoveClient removes a client. Its secret and all its management tokens end at once.
//
// Errors: ErrNoClient; ErrBeyondCaller; ErrToken, when the caller's token was ended meanwhile.
func (s *Service) RemoveClient(ctx context.Context, actor audit.Actor, id string) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		if _, err := ruledBy(tx, actor, id); err != nil {
			return err
		}
		e := audit.Event{Type: audit.TenantUpdate, Client: id, Facts: audit.Facts{audit.FactChange: audit.ChangeClientRemoved}}
		return errors.Join(
			clients.Delete(tx, storage.House, id),
			audit.Record(tx, actor, e, audit.Detail{}),
			audit.RecordCall(tx, actor, storage.House))
	})
}

// Client returns a client.
//
// Errors: ErrNoClient.
func (s *Service) Client(ctx context.Context, id string) (Client, error) {
	var found Client
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		c, err := client(tx, id)
		if err == nil {
			found = c.Client
		}
		return err
	})
	return found, err
}

// client reads a client. It returns ErrNoClient for an unknown id, also for one that no client can have.
func client(tx *storage.Tx, id string) (*registered, error) { return clientFrom(clients, tx, id) }

// caller reads the client that makes a call, from a memo, since calls are frequent. Its caller must not change the result.
//
// Errors: ErrNoClient.
func (s *Service) caller(tx *storage.Tx, id string) (*registered, error) {
	return clientFrom(s.callers, tx, id)
}

// clientReader is the table of clients, or a memo of it.
type clientReader interface {
	Get(tx *storage.Tx, uid storage.UID, key string) (*registered, error)
}

func clientFrom(from clientReader, tx *storage.Tx, id string) (*registered, error) {
	if len(id) > maxCredentialLength {
		id = id[:maxCredentialLength] // no client has it; it is looked up like any other
	}
	c, err := from.Get(tx, storage.House, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNoClient
	}
	return c, err
}

// HasWebOrigin reports whether any client has origin among its web origins, as [Service.AllowedOrigin] does, in the open transaction.
func HasWebOrigin(tx *storage.Tx, origin string) (bool, error) {
	if len(origin) > maxClientURLBytes {
		return false, nil
	}
	rows, err := byOrigin.Find(tx, origin, 1)
	return len(rows) > 0, err
}

// WebOrigins returns the origins that clients have registered for their pages, each once, in their order.
func (s *Service) WebOrigins(ctx context.Context) (origins []string, err error) {
	err = byOrigin.Peek(ctx, s.store, "", func(origin string, _ storage.UID, _ string) bool {
		if len(origins) == 0 || origins[len(origins)-1] != origin {
			origins = append(origins, origin)
		}
		return true
	})
	return origins, err
}

// AllowedOrigin reports whether any client has origin among its web origins. origin is as the browser's header Origin says.
func (s *Service) AllowedOrigin(ctx context.Context, origin string) (allowed bool, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		allowed, err = HasWebOrigin(tx, origin)
		return err
	})
	return allowed, err
}

// Authenticate returns the client with this id and secret. An unknown id costs the same work as a wrong secret, and no
// number of wrong secrets locks a client out.
//
// Errors: ErrClient, for an unknown id and for a wrong secret.
func (s *Service) Authenticate(ctx context.Context, id, secret string) (Client, error) {
	var found *registered
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		found, err = s.caller(tx, id)
		return err
	})
	known := err == nil && found.SecretHash != ""
	if errors.Is(err, ErrNoClient) || err == nil && !known {
		found = s.decoy
		err = nil
	}
	if err != nil {
		return Client{}, err
	}
	if !s.matches(found, id, secret) || !known {
		return Client{}, ErrClient
	}
	s.uses.note(id, s.store.Now())
	authenticated := found.Client
	authenticated.Tokens = found.TokenVersion
	return authenticated, nil
}

// newDecoy makes a client that no store holds. For an unknown id Authenticate compares this client's hash.
func newDecoy(ring *keyring.Ring) *registered {
	return &registered{
		Client: Client{
			ID:         storage.NewID("", clientIDLength),
			Name:       "a login system",
			Scopes:     []string{ScopeOpenID},
			Grants:     defaultGrants([]string{ScopeOpenID}),
			IDTokenAlg: string(es256),
			Created:    time.Unix(0, 0).UTC(),
		},
		SecretHash: ring.Hash(secretPurpose, []byte(storage.NewID("", clientSecretLength))),
	}
}

// MayUse reports whether the client is registered for a grant.
//
// Errors: ErrGrant.
func (c Client) MayUse(grant string) error {
	if !slices.Contains(c.Grants, grant) {
		return ErrGrant
	}
	return nil
}

// Granted returns the requested scopes that the client has, each once. It leaves the others out and refuses nothing.
func (c Client) Granted(requested []string) []string {
	var granted []string
	for _, scope := range distinct(requested) {
		if slices.Contains(c.Scopes, scope) {
			granted = append(granted, scope)
		}
	}
	return granted
}
