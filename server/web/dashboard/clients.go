package dashboard

import (
	"slices"
	"strings"
	"time"

	"tutela/server/access"
	"tutela/server/web/page"
)

const clientsPath = "admin/clients"

func (p *pages) mountClients() {
	p.get("/admin/clients", "read:clients", p.clients)
	p.post("/admin/clients", "manage:clients", p.addClient)
	p.get("/admin/clients/:id", "read:clients", p.client)
	p.post("/admin/clients/:id", "manage:clients", p.changeClient)
	p.post("/admin/clients/:id/secret", "manage:clients", p.rotateSecret)
	p.get("/admin/clients/:id/secret", "read:clients", p.client)
	p.form("/admin/clients/:id/remove", "manage:clients", p.removeClient, p.client)
}

// clientsPage is the page of clients.
type clientsPage struct {
	Shell
	List    []shownClient
	MayAdd  bool
	Granted []string // scopes that this session may give
}

// shownClient is a client with when it was used last.
type shownClient struct {
	access.Client
	Used time.Time // last; zero: never
}

// Lines returns texts as a field of several lines has them.
func (shownClient) Lines(list []string) string { return strings.Join(list, "\n") }

// Words returns texts as a field of one line has them.
func (shownClient) Words(list []string) string { return strings.Join(list, " ") }

func (p *pages) clients(c *Call) (page.Reply, error) {
	list, err := p.Access.ListClients(c.UserContext())
	if err != nil {
		return page.Reply{}, err
	}
	used, err := p.Access.LastUses(c.UserContext())
	shown := clientsPage{
		Shell:   c.Shell(clientsPath),
		MayAdd:  c.Session.Has("manage:clients"),
		Granted: slices.Sorted(slices.Values(c.Session.Scopes())),
	}
	for _, client := range list {
		shown.List = append(shown.List, shownClient{client, used[client.ID]})
	}
	return page.Reply{Template: "clients.html", Data: shown}, err
}

// clientPage is the page of one client.
type clientPage struct {
	Shell
	Client   shownClient
	MayAdd   bool
	Secret   string // that was just drawn; it is shown once
	Removing bool   // the admin is asked whether he means it
}

func (p *pages) client(c *Call) (page.Reply, error) {
	shown, err := p.clientOf(c, c.Params("id"))
	shown.Removing = strings.HasSuffix(c.Path(), "/remove")
	return page.Reply{Template: "client.html", Data: shown}, err
}

func (p *pages) clientOf(c *Call, id string) (clientPage, error) {
	found, err := p.Access.Client(c.UserContext(), id)
	if err != nil {
		return clientPage{}, err
	}
	used, err := p.Access.LastUses(c.UserContext())
	return clientPage{
		Shell:  c.Shell(clientsPath),
		Client: shownClient{found, used[id]},
		MayAdd: c.Session.Has("manage:clients"),
	}, err
}

// lines returns the lines of a field that has several, and the words of one that has one.
func lines(typed string) []string { return strings.Fields(typed) }

func (p *pages) addClient(c *Call) (page.Reply, error) {
	added, secret, err := p.Access.AddClient(c.UserContext(), c.Session.Actor(), access.Client{
		Name:         strings.TrimSpace(c.Posted("name")),
		Scopes:       lines(c.Posted("scopes")),
		RedirectURIs: lines(c.Posted("redirect_uris")),
	})
	if err != nil {
		return page.Reply{}, err
	}
	shown, err := p.clientOf(c, added.ID)
	shown.Secret = secret
	return page.Reply{Template: "client.html", Data: shown}, err
}

func (p *pages) changeClient(c *Call) (page.Reply, error) {
	name := strings.TrimSpace(c.Posted("name"))
	scopes := lines(c.Posted("scopes"))
	uris := lines(c.Posted("redirect_uris"))
	id := c.Params("id")
	_, err := p.Access.ChangeClient(c.UserContext(), c.Session.Actor(), id, access.ClientChange{
		Name:         &name,
		Scopes:       &scopes,
		RedirectURIs: &uris,
	})
	return c.GoTo(clientsPath+"/"+id, nil), err
}

// overlaps are how long the secret before may count beside a new one.
var overlaps = map[string]time.Duration{"none": 0, "day": 24 * time.Hour, "week": access.MaxOverlap}

func (p *pages) rotateSecret(c *Call) (page.Reply, error) {
	id := c.Params("id")
	secret, err := p.Access.RotateSecret(c.UserContext(), c.Session.Actor(), id, overlaps[c.Posted("overlap")])
	if err != nil {
		return page.Reply{}, err
	}
	shown, err := p.clientOf(c, id)
	shown.Secret = secret
	return page.Reply{Template: "client.html", Data: shown}, err
}

func (p *pages) removeClient(c *Call) (page.Reply, error) {
	err := p.Access.RemoveClient(c.UserContext(), c.Session.Actor(), c.Params("id"))
	return c.GoTo(clientsPath, nil), err
}
