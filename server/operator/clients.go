package operator

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"tutela/device"
	"tutela/server/access"
)

// The calls about clients.
var (
	// AddClient registers a client. Errors: those of access.Service.AddClient; user.ErrUnknown.
	AddClient = declare("client/add", (*Local).addClient)

	// ListClients returns all clients, the oldest first.
	ListClients = declare("client/list", (*Local).listClients)

	// RotateSecret gives a client another secret. Errors: access.ErrNoClient; access.ErrOverlap.
	RotateSecret = declare("client/rotate-secret", (*Local).rotateSecret)

	// RemoveClient removes the client with an id. Errors: access.ErrNoClient.
	RemoveClient = declare("client/remove", (*Local).removeClient)
)

// NewClient is a client to be registered; see access.Client.
type NewClient struct {
	Name         string          `json:"name"`
	Scopes       []string        `json:"scopes,omitempty"`
	Grants       []string        `json:"grants,omitempty"`
	RedirectURIs []string        `json:"redirect_uris,omitempty"`
	WebOrigins   []string        `json:"web_origins,omitempty"`
	IDTokenAlg   string          `json:"id_token_alg,omitempty"`
	Presence     device.Presence `json:"presence,omitempty"`
	DeliveryMode string          `json:"delivery_mode,omitempty"`
	NotifyAt     string          `json:"notification_endpoint,omitempty"`
	RequestAlg   string          `json:"request_alg,omitempty"`
	ActsAs       string          `json:"acts_as,omitempty"` // a user's id
	Keys         json.RawMessage `json:"jwks,omitempty"`
}

// Credentials are a new client's. The secret is shown here and nowhere else.
type Credentials struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret,omitempty"` // none of a client with keys
}

func (l *Local) addClient(ctx context.Context, c NewClient) (Credentials, error) {
	added := access.Client{
		Name:         c.Name,
		Scopes:       c.Scopes,
		Grants:       c.Grants,
		RedirectURIs: c.RedirectURIs,
		WebOrigins:   c.WebOrigins,
		IDTokenAlg:   c.IDTokenAlg,
		Presence:     c.Presence,
		DeliveryMode: c.DeliveryMode,
		NotifyAt:     c.NotifyAt,
		RequestAlg:   c.RequestAlg,
		Keys:         c.Keys,
	}
	if c.ActsAs != "" {
		u, err := l.Admins.ReadUser(ctx, c.ActsAs)
		if err != nil {
			return Credentials{}, ofUser(c.ActsAs, err)
		}
		added.ActsAs = u.UID
	}
	added, secret, err := l.Access.AddClient(ctx, l.actor, added)
	return Credentials{ClientID: added.ID, ClientSecret: secret}, err
}

// ListedClient is a client, and when it was there last.
type ListedClient struct {
	access.Client
	LastUsed time.Time `json:"last_used,omitzero"` // see access.Service.LastUses
}

func (l *Local) listClients(ctx context.Context, _ None) ([]ListedClient, error) {
	all, err := l.Access.ListClients(ctx)
	if err != nil {
		return nil, err
	}
	used, err := l.Access.LastUses(ctx)
	list := make([]ListedClient, 0, len(all))
	for _, c := range all {
		list = append(list, ListedClient{c, used[c.ID]})
	}
	return list, err
}

// Rotation says whose secret is rotated, and for how long the secret before counts.
type Rotation struct {
	ClientID string        `json:"client_id"`
	Overlap  time.Duration `json:"overlap"`
}

func (l *Local) rotateSecret(ctx context.Context, r Rotation) (Credentials, error) {
	secret, err := l.Access.RotateSecret(ctx, l.actor, r.ClientID, r.Overlap)
	if errors.Is(err, access.ErrNoClient) {
		err = access.ErrNoClient.With("there is no client with the id %q: see tutela client list", r.ClientID)
	}
	return Credentials{ClientID: r.ClientID, ClientSecret: secret}, err
}

func (l *Local) removeClient(ctx context.Context, id string) (None, error) {
	err := l.Access.RemoveClient(ctx, l.actor, id)
	if errors.Is(err, access.ErrNoClient) {
		err = access.ErrNoClient.With("there is no client with the id %q: see tutela client list", id)
	}
	return None{}, err
}
