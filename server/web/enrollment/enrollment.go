// Package enrollment serves the pages on which a person connects her phone.
//
// The first shows whom the ticket is for. Start leads to the page with the QR code, which waits for the phone. The last
// shows the recovery code until the person has confirmed it.
//
// The page with the QR code moves on by itself. A script asks whether the phone has enrolled, and the server holds that
// call until then. Without a script the browser loads the page again, and it shows the same QR code, since the code follows
// from the browser's session.
package enrollment

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/device"
	"tutela/device/otp"
	"tutela/device/passkey"
	"tutela/server/web/page"
	"tutela/storage/audit"
)

//go:embed pages/*.html
var files embed.FS

// Services are what the pages call.
type Services struct {
	Devices  *device.Service
	Passkeys *passkey.Service
	Now      func() time.Time // the store's time
}

// pages are the mounted pages.
type pages struct {
	Services
	kit *page.Kit
}

// Mount puts the pages on the kit's server.
func Mount(kit *page.Kit, services Services) {
	p := &pages{services, kit}
	set := kit.Set(files, page.WithTrouble(p.trouble))
	keys := kit.Set(files, page.WithTrouble(p.trouble), page.WithPasskeys())
	app := kit.App()
	set.Get(app, "/mfa/enrollment", p.open)
	set.Post(app, "/mfa/enrollment/start", p.start)
	set.Get(app, "/mfa/enrollment/scan", p.scan)
	set.Post(app, "/mfa/enrollment/otp", p.confirmOTP)
	keys.Get(app, "/mfa/enrollment/passkey", p.passkey)
	keys.Post(app, "/mfa/enrollment/passkey", p.confirmPasskey)
	set.Get(app, "/mfa/enrollment/code", p.code)
	set.Post(app, "/mfa/enrollment/code", p.confirm)
	// A browser may come back to the address of a form, by GET.
	set.Get(app, "/mfa/enrollment/start", p.noTicket)
	set.Get(app, "/mfa/enrollment/otp", p.noTicket)
}

func (p *pages) noTicket(*page.Call) (page.Reply, error) { return page.Reply{}, device.ErrTicket }

// gone is the page about a link that works no longer.
type gone struct {
	page.Frame
	Reference []string
}

// trouble shows what is wrong with a ticket.
func (p *pages) trouble(c *page.Call, err error) (page.Reply, error) {
	if errors.Is(err, device.ErrTicket) {
		err = c.Charge(err)
	}
	switch {
	case !errors.Is(err, device.ErrTicket):
		return page.Reply{}, err
	case c.Method() == fiber.MethodPost:
		return goTo(c, "mfa/enrollment", c.Posted("ticket")), nil // which says it
	}
	return page.Reply{
		Status:   http.StatusNotFound,
		Template: "gone.html",
		Data:     gone{c.Frame(), c.Reference()},
	}, nil
}

// enrollment is what the pages about one ticket show.
type enrollment struct {
	page.Frame
	device.TicketPage
	Ticket string
	Phone  string // name of the phone that has enrolled
}

// Passkey reports whether a passkey has enrolled, and no phone.
func (e enrollment) Passkey() bool {
	return e.Started != nil && (e.Started.Type == device.TypePlatform || e.Started.Type == device.TypeRoaming)
}

// OfCodes reports whether an app has enrolled that shows one-time codes and does no more.
func (e enrollment) OfCodes() bool { return e.Started != nil && e.Started.Type == device.TypeOTP }

// ByApp reports whether the ticket enrols an app, of whatever kind.
func (e enrollment) ByApp() bool { return e.Takes(device.FactorPush) || e.Takes(device.FactorOTP) }

// ByPasskey reports whether the ticket enrols a passkey, of whatever kind.
func (e enrollment) ByPasskey() bool {
	return e.Takes(device.FactorPlatform) || e.Takes(device.FactorRoaming)
}

// Kind names what the page asks the person to connect: phone, codes, passkey or key.
func (e enrollment) Kind() string {
	switch {
	case e.Takes(device.FactorPush):
		return "phone"
	case e.Takes(device.FactorOTP):
		return "codes"
	case e.Takes(device.FactorPlatform):
		return "passkey"
	case e.Takes(device.FactorRoaming):
		return "key"
	default:
		return "phone"
	}
}

func (p *pages) open(c *page.Call) (page.Reply, error) {
	return p.show(c, c.Query("ticket"))
}

// show shows the page that fits the state of a ticket in this browser.
func (p *pages) show(c *page.Call, ticket string) (page.Reply, error) {
	state, err := p.look(c.UserContext(), ticket, session(c, ticket))
	if err != nil {
		return page.Reply{}, err
	}
	e := enrollment{Frame: c.Frame(), TicketPage: state, Ticket: ticket}
	if state.Started == nil || !state.Started.Enrolled {
		return page.Reply{Template: "start.html", Data: e}, nil
	}
	e.Phone = state.Started.Phone
	r := page.Reply{Template: "connected.html", Data: e}
	if state.Hosted != "" && !state.Started.CodeKept {
		back := e.Root + "challenge?" + url.Values{"request": {state.Hosted}}.Encode()
		r.Header = map[string]string{"Refresh": backAfter + "; url=" + back} // the login goes on by itself
	}
	return r, nil
}

// backAfter is after how many seconds the last page goes back to the login that has led here.
const backAfter = "4"

// look returns what the page shows of a ticket. It returns an error for a ticket that another browser has spent, and for one whose factors
// are all switched off.
//
// Errors: device.ErrTicket.
func (p *pages) look(ctx context.Context, ticket, browser string) (device.TicketPage, error) {
	state, err := p.Devices.OpenTicket(ctx, ticket, browser)
	enrolled := state.Started != nil && state.Started.Enrolled
	if err == nil && !enrolled && (state.Spent || len(state.Factors) == 0) {
		err = device.ErrTicket
	}
	return state, err
}

// start starts the ticket for this browser, and sends the browser to the page with the QR code.
func (p *pages) start(c *page.Call) (page.Reply, error) {
	ticket := c.Posted("ticket")
	browser := session(c, ticket)
	state, err := p.look(c.UserContext(), ticket, browser)
	if err != nil {
		return page.Reply{}, err
	}
	if state.Spent {
		return goTo(c, "mfa/enrollment", ticket), nil
	}
	next := newSession()
	if _, err := p.Devices.StartTicket(c.UserContext(), ticket, browser, next); err != nil {
		return page.Reply{}, err
	}
	giveSession(c, ticket, next)
	return goTo(c, "mfa/enrollment/scan", ticket), nil
}

// goTo answers a form: it sends the browser to a page about a ticket.
func goTo(c *page.Call, to, ticket string) page.Reply {
	return c.GoTo(to, url.Values{"ticket": {ticket}})
}

// scanning is the page with the QR code.
type scanning struct {
	enrollment
	QR    page.QR
	URI   template.URL // the text of the QR code, for an app on this very phone
	Key   string       // what the person can type into the app instead
	Typed bool         // the person wants to type it
	Codes bool         // the person's app only shows codes
	Wrong string       // why the code that she typed was not taken; empty: she has typed none
	Again int          // seconds until the page asks again
}

// scan shows the page with the QR code. It answers at once the first time, and later only when there is something new.
func (p *pages) scan(c *page.Call) (page.Reply, error) {
	ticket := c.Query("ticket")
	again := page.Soon
	if c.Query("wait") != "" {
		var err error
		if again, err = p.await(c, ticket, session(c, ticket)); err != nil {
			return page.Reply{}, err
		}
	}
	shown := scanning{
		Typed: c.Query("typed") != "",
		Codes: c.Query("codes") != "",
		Again: again,
	}
	if shown.Codes {
		switch told(c, ticket) {
		case wrongDigits:
			shown.Wrong = c.T("enrollment.scan.six_digits")
		case wrongOTP:
			shown.Wrong = c.T("enrollment.scan.wrong_otp")
		}
	}
	return p.showScan(c, ticket, shown)
}

// await waits for the phone of a ticket, and returns how soon the page is to ask again. The caller must look at the ticket
// again after it, and finds there whatever went wrong.
//
// Errors: storage.ErrHeld.
func (p *pages) await(c *page.Call, ticket, browser string) (again int, err error) {
	if browser == "" {
		return page.Later, nil
	}
	return c.Hold("enrollment:"+browser, 4, func(ctx context.Context, most time.Duration) error {
		return p.Devices.AwaitEnrolled(ctx, ticket, browser, most)
	})
}

// showScan shows the page with the QR code, in one of its ways.
func (p *pages) showScan(c *page.Call, ticket string, shown scanning) (page.Reply, error) {
	state, err := p.look(c.UserContext(), ticket, session(c, ticket))
	if err != nil {
		return page.Reply{}, err
	}
	started := state.Started
	if started == nil || started.Enrolled {
		return p.show(c, ticket)
	}
	e := enrollment{Frame: c.Frame(), TicketPage: state, Ticket: ticket}
	switch {
	case !p.Now().Before(started.Expires):
		return page.Reply{Template: "old.html", Data: e}, nil
	case !e.ByApp():
		return goTo(c, "mfa/enrollment/passkey", ticket), nil
	}
	e.Body = "person wide"
	shown.enrollment = e
	shown.Typed = shown.Typed && state.Takes(device.FactorPush)
	shown.Codes = state.Takes(device.FactorOTP) && (shown.Codes || !state.Takes(device.FactorPush))
	shown.URI = page.Link(started.URI)
	shown.Key = started.TxID
	shown.QR, err = page.NewQR(started.URI, c.T("enrollment.scan.qr", state.Account))
	if shown.Wrong != "" {
		return page.Reply{Status: http.StatusBadRequest, Template: "scan.html", Data: shown}, err
	}
	r := page.Reply{Template: "scan.html", Data: shown}
	if !shown.Codes { // a page that loads itself again would take away what she types
		again := url.Values{"ticket": {ticket}, "wait": {"1"}}
		if shown.Typed {
			again.Set("typed", "1")
		}
		r.Live = &page.Live{Address: "mfa/enrollment/scan?" + again.Encode(), Again: shown.Again}
	}
	return r, err
}

// confirmOTP connects an app that only shows codes, by a code that the person has typed.
func (p *pages) confirmOTP(c *page.Call) (page.Reply, error) {
	ticket := c.Posted("ticket")
	state, err := p.look(c.UserContext(), ticket, session(c, ticket))
	if err != nil {
		return page.Reply{}, err
	}
	if state.Started == nil || state.Started.Enrolled {
		return goTo(c, "mfa/enrollment", ticket), nil
	}
	actor := audit.ByUser().WithOrigin(c.Address(), c.Agent())
	_, err = p.Devices.ConfirmOTP(c.UserContext(), state.Started.TxID, c.Posted("otp"), actor)
	switch {
	case errors.Is(err, otp.ErrTypo):
		return p.wrongCode(c, ticket, wrongDigits), nil
	case errors.Is(err, device.ErrWrongOTP):
		return p.wrongCode(c, ticket, wrongOTP), nil
	case errors.Is(err, device.ErrTicket):
		err = nil // a phone was first, or it is too old
	case errors.Is(err, device.ErrFactorOff):
		return goTo(c, "mfa/enrollment/scan", ticket), nil
	}
	return goTo(c, "mfa/enrollment", ticket), err
}

// wrongCode leads back to where the code of an app is typed, which says what is wrong with it.
func (p *pages) wrongCode(c *page.Call, ticket, what string) page.Reply {
	c.Tell(about(ticket), what)
	return c.GoTo("mfa/enrollment/scan", url.Values{"ticket": {ticket}, "codes": {"1"}})
}

// What a page says of the form before.
const (
	wrongDigits  = "digits"  // no code of six digits
	wrongOTP     = "otp"     // not the code of the app
	wrongEnd     = "end"     // not the end of the recovery code
	wrongKnown   = "known"   // the passkey is connected already
	wrongPasskey = "passkey" // the passkey was not accepted
)

// about names the pages of a ticket.
func about(ticket string) string { return "enrollment " + ticket }

// told returns what the page of a ticket says of the form before; "": nothing.
func told(c *page.Call, ticket string) string {
	if words := c.Told(about(ticket)); len(words) == 1 {
		return words[0]
	}
	return ""
}

// saving is the page with the recovery code.
type saving struct {
	enrollment
	Code page.Code
}

// code shows the recovery code, at every call until the person has confirmed it.
func (p *pages) code(c *page.Call) (page.Reply, error) {
	ticket := c.Query("ticket")
	browser := session(c, ticket)
	state, err := p.look(c.UserContext(), ticket, browser)
	if err != nil {
		return page.Reply{}, err
	}
	code, err := p.Devices.ShowCode(c.UserContext(), ticket, browser)
	if errors.Is(err, device.ErrTicket) {
		return p.show(c, ticket) // confirmed already, or too old: the page says so
	}
	if err != nil {
		return page.Reply{}, err
	}
	action := "mfa/enrollment/code?" + url.Values{"ticket": {ticket}}.Encode()
	shown := saving{
		enrollment: enrollment{Frame: c.Frame(), TicketPage: state, Ticket: ticket},
		Code:       c.Code(state.Account, string(code), action, page.Field{Name: "ticket", Value: ticket}),
	}
	shown.Phone = state.Started.Phone
	shown.Code.Wrong = told(c, ticket) == wrongEnd
	if shown.Code.Wrong {
		return page.Reply{Status: http.StatusBadRequest, Template: "code.html", Data: shown}, nil
	}
	return page.Reply{Template: "code.html", Data: shown}, nil
}

// confirm notes that the person has saved the code; the pages show it no more.
func (p *pages) confirm(c *page.Call) (page.Reply, error) {
	ticket := c.Posted("ticket")
	err := p.Devices.ConfirmCode(c.UserContext(), ticket, session(c, ticket), c.Posted("end"))
	switch {
	case errors.Is(err, device.ErrCodeEnd):
		c.Tell(about(ticket), wrongEnd)
		return goTo(c, "mfa/enrollment/code", ticket), nil
	case errors.Is(err, device.ErrTicket):
		err = nil // confirmed already, or too old: the page says how it stands
	}
	return goTo(c, "mfa/enrollment", ticket), err
}
