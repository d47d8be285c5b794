package dashboard

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/server/web/page"
	"tutela/storage/audit"
)

const webhooksPath = "admin/webhooks"

func (p *pages) mountWebhooks() {
	const (
		manage = webhook.ScopeManage
		one    = "/admin/webhooks/:id"
	)
	p.get("/admin/webhooks", manage, p.webhooks)
	p.post("/admin/webhooks", manage, p.addWebhook)
	p.get(one, manage, p.webhook)
	p.form(one+"/switch", manage, p.switchWebhook, p.webhook)
	p.form(one+"/test", manage, p.testWebhook, p.webhook)
	p.form(one+"/retry", manage, p.retryDelivery, p.webhook)
	p.form(one+"/secret", manage, p.rotateWebhook, p.webhook)
	p.form(one+"/remove", manage, p.removeWebhook, p.webhook)
}

// standing of a webhook, below admin_webhooks.is in the catalogue.
const (
	hookParked  = "parked"  // it takes nothing, and is told of nothing until somebody says so
	hookOff     = "off"     // somebody has switched it off
	hookFailing = "failing" // the last attempts have failed
	hookWorks   = "works"
	hookUntold  = "untold" // nothing was told yet
)

// shownWebhook is a webhook as it stands.
type shownWebhook struct{ webhook.Webhook }

// Is says how it stands.
func (w shownWebhook) Is() string {
	switch {
	case !w.Parked.IsZero():
		return hookParked
	case !w.Enabled:
		return hookOff
	case !w.Failing.IsZero():
		return hookFailing
	case w.LastSuccess.IsZero():
		return hookUntold
	}
	return hookWorks
}

// All reports whether it is told of everything.
func (w shownWebhook) All() bool { return slices.Contains(w.Events, audit.EveryType) }

// Told reports whether it is told of what happens now.
func (w shownWebhook) Told() bool { return w.Enabled && w.Parked.IsZero() }

// webhooksPage is the list of webhooks, and the form for another.
type webhooksPage struct {
	Shell
	List  []shownWebhook
	Kinds []string
	Owner bool   // may make one that mails
	URL   string // as it was sent
	Said  string // what is wrong with what was sent, in the domain's words; "": nothing
}

func (p *pages) webhooks(c *Call) (page.Reply, error) { return p.webhooksPage(c, webhooksPage{}) }

func (p *pages) webhooksPage(c *Call, shown webhooksPage) (page.Reply, error) {
	list, err := p.Hooks.Webhooks(c.UserContext())
	shown.Shell = c.Shell(webhooksPath)
	shown.Owner = c.Session.User.Role == user.Owner
	for _, k := range kinds {
		shown.Kinds = append(shown.Kinds, k.name)
	}
	for _, w := range list {
		shown.List = append(shown.List, shownWebhook{w})
	}
	status := http.StatusOK
	if shown.Said != "" {
		status = http.StatusBadRequest
	}
	return page.Reply{Status: status, Template: "webhooks.html", Data: shown}, err
}

// typesOf returns the types of events of the kinds that were chosen.
func typesOf(chosen []string) (types []audit.Type) {
	if slices.Contains(chosen, "all") {
		return []audit.Type{audit.EveryType}
	}
	for _, k := range kinds {
		if slices.Contains(chosen, k.name) {
			types = append(types, k.types...)
		}
	}
	return types
}

// all returns the members of the call's form of a name.
func (c *Call) all(name string) (values []string) {
	for _, value := range c.Request().PostArgs().PeekMulti(name) {
		values = append(values, string(value))
	}
	return values
}

func (p *pages) addWebhook(c *Call) (page.Reply, error) {
	url := strings.TrimSpace(c.Posted("url"))
	types := typesOf(c.all("kind"))
	mails := c.Posted("mails") != ""
	added, secret, err := p.Hooks.Add(c.UserContext(), c.Session.Actor().In(audit.CallCreateWebhook), webhook.Change{
		URL:    &url,
		Events: &types,
		Mails:  &mails,
	})
	if errors.Is(err, webhook.ErrInvalid) {
		return p.webhooksPage(c, webhooksPage{URL: url, Said: err.Error()})
	}
	if err != nil {
		return page.Reply{}, err
	}
	return p.webhookPage(c, webhookPage{Hook: shownWebhook{added}, Secret: secret})
}

// webhookPage is the page of one webhook.
type webhookPage struct {
	Shell
	Hook     shownWebhook
	List     []webhook.Delivery
	Secret   string // that was just drawn; it is shown once
	Removing bool   // the admin is asked whether he means it
	Tried    string // what came of a test, below admin_webhooks.tried; "": there was none
	Answer   int    // the status of its answer
	Again    bool   // a delivery was queued again
}

// mostDeliveries is how many deliveries the page of a webhook shows.
const mostDeliveries = 20

func (p *pages) webhook(c *Call) (page.Reply, error) {
	found, err := p.Hooks.Webhook(c.UserContext(), c.Params("id"))
	if err != nil {
		return page.Reply{}, err
	}
	shown := webhookPage{Hook: shownWebhook{found}, Removing: strings.HasSuffix(c.Path(), "/remove")}
	switch told := c.Told("webhook " + found.ID); {
	case len(told) == 2 && slices.Contains(trials, told[0]):
		shown.Tried = told[0]
		shown.Answer, _ = strconv.Atoi(told[1])
	case len(told) == 1:
		shown.Again = true
	}
	return p.webhookPage(c, shown)
}

func (p *pages) webhookPage(c *Call, shown webhookPage) (page.Reply, error) {
	list, err := p.Hooks.Deliveries(c.UserContext(), shown.Hook.ID, "")
	shown.Shell = c.Shell(webhooksPath)
	shown.List = list[:min(len(list), mostDeliveries)]
	return page.Reply{Template: "webhook.html", Data: shown}, err
}

// toWebhook leads to the page of the webhook that the call is about.
func (c *Call) toWebhook() page.Reply { return c.GoTo(webhooksPath+"/"+c.Params("id"), nil) }

// switchWebhook has a webhook told of what happens, or not.
func (p *pages) switchWebhook(c *Call) (page.Reply, error) {
	on := c.Posted("on") != ""
	_, _, err := p.Hooks.Change(c.UserContext(), c.Session.Actor().In(audit.CallUpdateWebhook), c.Params("id"), webhook.Change{Enabled: &on})
	return c.toWebhook(), err
}

// What can come of a test, below admin_webhooks.tried.
var trials = []string{"taken", "refused", "forbidden", "timeout", "unreachable"}

// testWebhook sends a test, and has the page say what came of it.
func (p *pages) testWebhook(c *Call) (page.Reply, error) {
	id := c.Params("id")
	tried, err := p.Hooks.Test(c.UserContext(), c.Session.Actor().In(audit.CallTestWebhook), id)
	if err != nil {
		return page.Reply{}, err
	}
	what := "refused"
	switch {
	case tried.Delivered:
		what = "taken"
	case tried.Why != "":
		what = string(tried.Why)
	}
	c.Tell("webhook "+id, what, strconv.Itoa(tried.Answer))
	return c.toWebhook(), nil
}

// retryDelivery has a webhook told again of what a delivery has told of.
func (p *pages) retryDelivery(c *Call) (page.Reply, error) {
	id := c.Params("id")
	err := p.Hooks.Retry(c.UserContext(), c.Session.Actor().In(audit.CallRetryDelivery), id, c.Posted("delivery"))
	if err != nil {
		return page.Reply{}, err
	}
	c.Tell("webhook "+id, "again")
	return c.toWebhook(), nil
}

func (p *pages) rotateWebhook(c *Call) (page.Reply, error) {
	id := c.Params("id")
	secret, err := p.Hooks.Rotate(c.UserContext(), c.Session.Actor().In(audit.CallRotateWebhook), id, overlaps[c.Posted("overlap")])
	if err != nil {
		return page.Reply{}, err
	}
	found, err := p.Hooks.Webhook(c.UserContext(), id)
	if err != nil {
		return page.Reply{}, err
	}
	return p.webhookPage(c, webhookPage{Hook: shownWebhook{found}, Secret: secret})
}

func (p *pages) removeWebhook(c *Call) (page.Reply, error) {
	err := p.Hooks.Remove(c.UserContext(), c.Session.Actor().In(audit.CallDeleteWebhook), c.Params("id"))
	return c.GoTo(webhooksPath, nil), err
}
