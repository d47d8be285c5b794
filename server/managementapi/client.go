package managementapi

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"tutela/device"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
)

// manageClients are the scopes of the calls about clients.
var manageClients = []string{access.ScopeManageClients}

// apiClient is a client as this API shows it.
type apiClient struct {
	ID           string          `json:"client_id"`
	Name         string          `json:"name"`
	Scopes       []string        `json:"scopes" nullable:"false"`
	Grants       []string        `json:"grants" nullable:"false"`
	RedirectURIs []string        `json:"redirect_uris" nullable:"false"`
	WebOrigins   []string        `json:"web_origins" nullable:"false"`
	IDTokenAlg   string          `json:"id_token_alg" enum:"ES256,RS256"`
	Presence     device.Presence `json:"presence,omitempty" enum:"number,tap" doc:"Left out: the policy decides."`
	DeliveryMode string          `json:"delivery_mode" enum:"poll,ping" doc:"How it learns that an approval is decided (CIBA)."`
	NotifyAt     string          `json:"notification_endpoint,omitempty" doc:"The URL of a ping."`
	RequestAlg   string          `json:"request_alg,omitempty" doc:"By which it signs its authentication requests (CIBA), every one. Left out: it signs none."`
	ActsAs       string          `json:"acts_as,omitempty" doc:"Id of the user for whom it makes management calls."`
	Keys         json.RawMessage `json:"jwks,omitempty" doc:"A JWK Set: it authenticates by a JWT that one of them has signed, and has no secret."`
	Created      instant         `json:"created_at"`
	LastUsed     *instant        `json:"last_used,omitempty" doc:"When it last showed its secret, signed by one of its keys, or called with a management token."`
	Secret       string          `json:"client_secret,omitempty" doc:"Shown once: when the client is made, or its secret rotated."`
}

type clientOutput struct{ Body apiClient }

type clientsOutput struct{ Body list[apiClient] }

// ClientPath names a client.
type ClientPath struct {
	ID string `path:"id" maxLength:"255"`
}

// clientFields are those that a caller sets. A field that is left out is the default of a new client, and stays at another.
type clientFields struct {
	Name         *string          `json:"name,omitempty" nullable:"true"`
	Scopes       *[]string        `json:"scopes,omitempty" nullable:"true"`
	Grants       *[]string        `json:"grants,omitempty" nullable:"true"`
	RedirectURIs *[]string        `json:"redirect_uris,omitempty" nullable:"true"`
	WebOrigins   *[]string        `json:"web_origins,omitempty" nullable:"true"`
	IDTokenAlg   *string          `json:"id_token_alg,omitempty" nullable:"true"`
	Presence     *device.Presence `json:"presence,omitempty" nullable:"true" doc:"tap is set by the operator."`
	DeliveryMode *string          `json:"delivery_mode,omitempty" nullable:"true" doc:"poll or ping. ping wants a notification_endpoint."`
	NotifyAt     *string          `json:"notification_endpoint,omitempty" nullable:"true"`
	RequestAlg   *string          `json:"request_alg,omitempty" nullable:"true" doc:"By which it signs its authentication requests (CIBA): an algorithm of one of its keys, or empty when it signs none."`
	ActsAs       *string          `json:"acts_as,omitempty" nullable:"true" doc:"Set by the operator."`
	Keys         *map[string]any  `json:"jwks,omitempty" nullable:"true" doc:"Its public keys, a JWK Set or one JWK. They end its secret, and a key that is taken away ends its tokens."`
}

type newClient struct{ Body clientFields }

type clientChange struct {
	ClientPath

	Body clientFields
}

type rotation struct {
	ClientPath

	Body *struct {
		Overlap int `json:"overlap,omitempty" minimum:"0" maximum:"604800" doc:"Seconds for which the secret before still counts. 0 ends it at once, and every management token that was issued before."`
	}
}

func (a *api) mountClients() {
	const path = "/clients"
	const onePath = path + "/{id}"
	register(a, call{
		Word:    audit.CallListClients,
		Method:  http.MethodGet,
		Path:    path,
		Summary: "List Clients",
		Scopes:  manageClients,
	}, a.listClients)
	register(a, call{
		Word:    audit.CallCreateClient,
		Method:  http.MethodPost,
		Path:    path,
		Summary: "Create a Client",
		Scopes:  manageClients,
		Status:  http.StatusCreated,
	}, a.createClient)
	register(a, call{
		Word:    audit.CallGetClient,
		Method:  http.MethodGet,
		Path:    onePath,
		Summary: "Get a Client",
		Scopes:  manageClients,
	}, a.readClient)
	register(a, call{
		Word:    audit.CallChangeClient,
		Method:  http.MethodPatch,
		Path:    onePath,
		Summary: "Update a Client",
		Scopes:  manageClients,
	}, a.changeClient)
	register(a, call{
		Word:        audit.CallDeleteClient,
		Method:      http.MethodDelete,
		Path:        onePath,
		Summary:     "Delete a Client",
		Description: "Its secret and its tokens open nothing from then on.",
		Scopes:      manageClients,
		Status:      http.StatusNoContent,
	}, a.deleteClient)
	register(a, call{
		Word:    audit.CallRotateClientSecret,
		Method:  http.MethodPost,
		Path:    onePath + "/rotate-secret",
		Summary: "Rotate a Client Secret",
		Scopes:  manageClients,
	}, a.rotateSecret)
}

func (a *api) listClients(ctx context.Context, _ audit.Actor, in *Paging) (*clientsOutput, error) {
	skip, err := in.skip()
	if err != nil {
		return nil, err
	}
	all, err := a.Access.ListClients(ctx)
	if err != nil {
		return nil, err
	}
	skip = min(skip, len(all))
	shown := all[skip:min(skip+in.PerPage, len(all))]
	out := &clientsOutput{list[apiClient]{name: "clients"}}
	if out.Body.items, err = a.showClients(ctx, shown); err != nil {
		return nil, err
	}
	if in.IncludeTotals {
		out.Body.shape = totals{
			Start:  in.Page * in.PerPage,
			Limit:  in.PerPage,
			Length: len(shown),
			Total:  len(all),
		}
	}
	return out, nil
}

// showClients names the users for whom clients act.
func (a *api) showClients(ctx context.Context, clients []access.Client) ([]apiClient, error) {
	var uids []storage.UID
	for _, c := range clients {
		if !c.ActsAs.IsZero() {
			uids = append(uids, c.ActsAs)
		}
	}
	users, err := a.Admins.UsersOf(ctx, uids)
	if err != nil {
		return nil, err
	}
	used, err := a.Access.LastUses(ctx)
	if err != nil {
		return nil, err
	}
	shown := make([]apiClient, 0, len(clients))
	for _, c := range clients {
		one := apiClient{
			ID:           c.ID,
			Name:         c.Name,
			Scopes:       orNone(c.Scopes),
			Grants:       orNone(c.Grants),
			RedirectURIs: orNone(c.RedirectURIs),
			WebOrigins:   orNone(c.WebOrigins),
			IDTokenAlg:   c.IDTokenAlg,
			Presence:     c.Presence,
			DeliveryMode: cmp.Or(c.DeliveryMode, access.DeliveryPoll),
			NotifyAt:     c.NotifyAt,
			RequestAlg:   c.RequestAlg,
			ActsAs:       users[c.ActsAs].ID,
			Keys:         c.Keys,
			Created:      instant{c.Created},
		}
		if at := used[c.ID]; !at.IsZero() {
			one.LastUsed = &instant{at}
		}
		shown = append(shown, one)
	}
	return shown, nil
}

// orNone returns a list that is written as [] when it is empty.
func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// showClient is showClients for one.
func (a *api) showClient(ctx context.Context, c access.Client, secret string) (*clientOutput, error) {
	shown, err := a.showClients(ctx, []access.Client{c})
	if err != nil {
		return nil, err
	}
	shown[0].Secret = secret
	return &clientOutput{shown[0]}, nil
}

// changeOf reads what a caller sets.
//
// Errors: user.ErrUnknown, for whom the client is to act.
func (a *api) changeOf(ctx context.Context, in clientFields) (access.ClientChange, error) {
	change := access.ClientChange{
		Name:         in.Name,
		Scopes:       in.Scopes,
		Grants:       in.Grants,
		RedirectURIs: in.RedirectURIs,
		WebOrigins:   in.WebOrigins,
		IDTokenAlg:   in.IDTokenAlg,
		Presence:     in.Presence,
		DeliveryMode: in.DeliveryMode,
		NotifyAt:     in.NotifyAt,
		RequestAlg:   in.RequestAlg,
	}
	if in.Keys != nil {
		keys, err := json.Marshal(*in.Keys)
		if err != nil {
			return change, err
		}
		change.Keys = (*json.RawMessage)(&keys)
	}
	if in.ActsAs == nil {
		return change, nil
	}
	change.ActsAs = &storage.UID{}
	if *in.ActsAs == "" {
		return change, nil
	}
	u, err := a.Admins.ReadUser(ctx, *in.ActsAs)
	change.ActsAs = &u.UID
	return change, err
}

func (a *api) createClient(ctx context.Context, actor audit.Actor, in *newClient) (*clientOutput, error) {
	change, err := a.changeOf(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	added, secret, err := a.Access.AddClient(ctx, actor, change.Client())
	if err != nil {
		return nil, err
	}
	return a.showClient(ctx, added, secret)
}

func (a *api) readClient(ctx context.Context, _ audit.Actor, in *ClientPath) (*clientOutput, error) {
	c, err := a.Access.Client(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return a.showClient(ctx, c, "")
}

func (a *api) changeClient(ctx context.Context, actor audit.Actor, in *clientChange) (*clientOutput, error) {
	change, err := a.changeOf(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	changed, err := a.Access.ChangeClient(ctx, actor, in.ID, change)
	if err != nil {
		return nil, err
	}
	return a.showClient(ctx, changed, "")
}

func (a *api) deleteClient(ctx context.Context, actor audit.Actor, in *ClientPath) (*nothing, error) {
	return nil, a.Access.RemoveClient(ctx, actor, in.ID)
}

func (a *api) rotateSecret(ctx context.Context, actor audit.Actor, in *rotation) (*clientOutput, error) {
	overlap := 0
	if in.Body != nil {
		overlap = in.Body.Overlap
	}
	secret, err := a.Access.RotateSecret(ctx, actor, in.ID, time.Duration(overlap)*time.Second)
	if err != nil {
		return nil, err
	}
	c, err := a.Access.Client(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return a.showClient(ctx, c, secret)
}
