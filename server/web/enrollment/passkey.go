package enrollment

import (
	"errors"
	"net/http"
	"net/url"

	"tutela/device"
	"tutela/device/passkey"
	"tutela/server/web/page"
	"tutela/storage/audit"
)

// passkeyed is the page on which the browser makes a passkey.
type passkeyed struct {
	enrollment
	Options string // for the browser, JSON; "": there is none to make, and Wrong says why
	Key     bool   // a security key is asked for, and not this device
	Other   bool   // the other of the two can be made too
	Wrong   string // why the last one was not taken, as a text of the catalogue; "": there was none
}

// typeOf is the type of passkey that a call asks for.
func typeOf(key bool) device.Type {
	if key {
		return device.TypeRoaming
	}
	return device.TypePlatform
}

// passkey shows the page on which the browser makes a passkey, on this device or on a security key.
func (p *pages) passkey(c *page.Call) (page.Reply, error) {
	ticket := c.Query("ticket")
	state, err := p.look(c.UserContext(), ticket, session(c, ticket))
	if err != nil {
		return page.Reply{}, err
	}
	started := state.Started
	if started == nil || started.Enrolled || !p.Now().Before(started.Expires) {
		return p.show(c, ticket)
	}
	e := enrollment{Frame: c.Frame(), TicketPage: state, Ticket: ticket}
	if !e.ByPasskey() {
		return p.showScan(c, ticket, scanning{Again: page.Soon})
	}
	key := c.Query("key") != "" && state.Takes(device.FactorRoaming) || !state.Takes(device.FactorPlatform)
	shown := passkeyed{
		enrollment: e,
		Key:        key,
		Other:      state.Takes(device.FactorRoaming) && state.Takes(device.FactorPlatform),
	}
	switch told(c, ticket) {
	case wrongKnown:
		shown.Wrong = "enrollment.passkey.known"
	case wrongPasskey:
		shown.Wrong = "enrollment.passkey.refused"
	}
	options, err := p.Passkeys.BeginByTicket(c.UserContext(), p.Devices, started.TxID, typeOf(key))
	switch {
	case errors.Is(err, passkey.ErrNoDomain):
		shown.Wrong = "enrollment.passkey.no_domain"
	case errors.Is(err, passkey.ErrTooOften):
		shown.Wrong = "enrollment.passkey.too_often"
	case errors.Is(err, device.ErrFactorOff):
		return p.showScan(c, ticket, scanning{Again: page.Soon})
	case err != nil:
		return page.Reply{}, err
	}
	shown.Options = string(options)
	if shown.Wrong != "" && shown.Options != "" {
		return page.Reply{Status: http.StatusBadRequest, Template: "passkey.html", Data: shown}, nil
	}
	return page.Reply{Template: "passkey.html", Data: shown}, nil
}

// confirmPasskey connects the passkey that the browser has made.
func (p *pages) confirmPasskey(c *page.Call) (page.Reply, error) {
	ticket := c.Posted("ticket")
	key := c.Posted("key") != ""
	state, err := p.look(c.UserContext(), ticket, session(c, ticket))
	if err != nil {
		return page.Reply{}, err
	}
	if state.Started == nil || state.Started.Enrolled {
		return goTo(c, "mfa/enrollment", ticket), nil
	}
	actor := audit.ByUser().WithOrigin(c.Address(), c.Agent())
	made := passkey.Response(c.Posted("credential"))
	err = p.Passkeys.EnrollByTicket(c.UserContext(), p.Devices, state.Started.TxID, typeOf(key), made, actor)
	switch {
	case errors.Is(err, device.ErrRegistered):
		return p.wrongPasskey(c, ticket, key, wrongKnown), nil
	case errors.Is(err, passkey.ErrResponse), errors.Is(err, passkey.ErrCeremony), errors.Is(err, passkey.ErrRefused):
		return p.wrongPasskey(c, ticket, key, wrongPasskey), nil
	case errors.Is(err, device.ErrTicket):
		err = nil // a phone was first, or it is too old
	case errors.Is(err, device.ErrFactorOff):
		return goTo(c, "mfa/enrollment/scan", ticket), nil
	}
	return goTo(c, "mfa/enrollment", ticket), err
}

// wrongPasskey leads back to where a passkey is made, which says why the last one was not taken.
func (p *pages) wrongPasskey(c *page.Call, ticket string, key bool, what string) page.Reply {
	c.Tell(about(ticket), what)
	to := url.Values{"ticket": {ticket}}
	if key {
		to.Set("key", "1")
	}
	return c.GoTo("mfa/enrollment/passkey", to)
}
