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
	return p.showPasskey(c, c.Query("ticket"), c.Query("key") != "", "")
}

func (p *pages) showPasskey(c *page.Call, ticket string, key bool, wrong string) (page.Reply, error) {
	state, err := p.look(c.UserContext(), ticket, session(c, ticket))
	if err != nil {
		return page.Reply{}, err
	}
	started := state.Started
	if started == nil || started.Enrolled || !p.Now().Before(started.Expires) {
		return p.show(c, ticket)
	}
	key = key && state.Takes(device.FactorRoaming) || !state.Takes(device.FactorPlatform)
	shown := passkeyed{
		enrollment: enrollment{Frame: c.Frame(), TicketPage: state, Ticket: ticket},
		Key:        key,
		Other:      state.Takes(device.FactorRoaming) && state.Takes(device.FactorPlatform),
		Wrong:      wrong,
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
		return p.show(c, ticket)
	}
	actor := audit.ByUser().WithOrigin(c.Address(), c.Agent())
	made := passkey.Response(c.Posted("credential"))
	err = p.Passkeys.EnrollByTicket(c.UserContext(), p.Devices, state.Started.TxID, typeOf(key), made, actor)
	switch {
	case errors.Is(err, device.ErrRegistered):
		return p.showPasskey(c, ticket, key, "enrollment.passkey.known")
	case errors.Is(err, passkey.ErrResponse), errors.Is(err, passkey.ErrCeremony), errors.Is(err, passkey.ErrRefused):
		return p.showPasskey(c, ticket, key, "enrollment.passkey.refused")
	case errors.Is(err, device.ErrTicket):
		return p.show(c, ticket) // a phone was first, or it is too old
	case errors.Is(err, device.ErrFactorOff):
		return p.showScan(c, ticket, scanning{Again: page.Soon})
	case err != nil:
		return page.Reply{}, err
	}
	return c.GoTo("mfa/enrollment", url.Values{"ticket": {ticket}}), nil
}
