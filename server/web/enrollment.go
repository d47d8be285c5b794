package web

import (
	"cmp"
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/device"
	"tutela/device/otp"
	"tutela/server"
	"tutela/storage"
	"tutela/storage/audit"
)

// The enrolment pages. The first shows whom the ticket is for. Start leads to the page with the QR code, which waits for
// the phone. The last shows the recovery code until the person has confirmed it.
//
// The page with the QR code moves on by itself. A script asks whether the phone has enrolled, and the server holds that
// call until then. Without a script the page loads itself again, and shows the same QR code, since the code follows from
// the browser's session.
//
// The forms need no token against forgery. A form does something only with a ticket in its body and with the cookie of the
// session in which the ticket was started; a form on another site does not send that cookie (SameSite=Lax). An attacker who
// has a ticket and makes a browser send its form could just as well send its link.
func (w *web) mountEnrollment(app *fiber.App) {
	app.Get("/mfa/enrollment", w.handle(w.open))
	app.Post("/mfa/enrollment/start", w.handle(w.start))
	app.Get("/mfa/enrollment/scan", w.handle(w.scan))
	app.Post("/mfa/enrollment/otp", w.handle(w.confirmOTP))
	app.Get("/mfa/enrollment/code", w.handle(w.code))
	app.Post("/mfa/enrollment/code", w.handle(w.confirm))
	// A browser may come back to the address of a form, by GET.
	app.Get("/mfa/enrollment/start", w.handle(w.noTicket))
	app.Get("/mfa/enrollment/otp", w.handle(w.noTicket))
}

func (w *web) noTicket(*fiber.Ctx) (reply, error) { return reply{}, device.ErrTicket }

// posted returns a member of the call's form. It never reads the query, which other programs may log.
func posted(c *fiber.Ctx, name string) string { return string(c.Context().PostArgs().Peek(name)) }

// enrollment is what the pages about one ticket show.
type enrollment struct {
	frame
	device.TicketPage
	Ticket string
	Phone  string // name of the phone that has enrolled
}

func (w *web) open(c *fiber.Ctx) (reply, error) {
	return w.show(c, c.Query("ticket"))
}

// show shows the page that fits the state of a ticket in this browser.
func (w *web) show(c *fiber.Ctx, ticket string) (reply, error) {
	page, err := w.look(c.UserContext(), ticket, w.session(c, ticket))
	if err != nil {
		return reply{}, err
	}
	e := enrollment{frame: w.frame(c), TicketPage: page, Ticket: ticket}
	if page.Started == nil || !page.Started.Enrolled {
		w.probe(c)
		return reply{status: http.StatusOK, page: "start.html", data: e}, nil
	}
	e.Phone = page.Started.Phone
	return reply{status: http.StatusOK, page: "connected.html", data: e}, nil
}

// look returns what the page shows of a ticket. It returns an error for a ticket that another browser has spent.
//
// Errors: device.ErrTicket.
func (w *web) look(ctx context.Context, ticket, session string) (device.TicketPage, error) {
	page, err := w.Devices.OpenTicket(ctx, ticket, session)
	if err == nil && page.Spent && (page.Started == nil || !page.Started.Enrolled) {
		err = device.ErrTicket
	}
	return page, err
}

// start starts the ticket for this browser, and sends the browser to the page with the QR code.
func (w *web) start(c *fiber.Ctx) (reply, error) {
	ticket := posted(c, "ticket")
	browser := w.session(c, ticket)
	page, err := w.look(c.UserContext(), ticket, browser)
	if err != nil {
		return reply{}, err
	}
	if page.Spent {
		return w.show(c, ticket)
	}
	if !w.keepsCookies(c, browser) {
		w.probe(c)
		e := enrollment{frame: w.frame(c), TicketPage: page, Ticket: ticket}
		return reply{status: http.StatusBadRequest, page: "cookies.html", data: e}, nil
	}
	next := newSession()
	if _, err := w.Devices.StartTicket(c.UserContext(), ticket, browser, next); err != nil {
		return reply{}, err
	}
	w.giveSession(c, ticket, next)
	return w.goTo(c, "enrollment/scan", ticket), nil
}

// goTo answers a form: it sends the browser to a page below /mfa/. The address is relative, because only the browser knows
// the whole one.
func (w *web) goTo(c *fiber.Ctx, page, ticket string) reply {
	to := w.frame(c).Root + page + "?ticket=" + url.QueryEscape(ticket)
	return reply{
		status: http.StatusSeeOther,
		page:   "moved.html",
		header: map[string]string{fiber.HeaderLocation: to},
		data:   to,
	}
}

// scanning is the page with the QR code.
type scanning struct {
	enrollment
	QR    picture
	URI   template.URL // the text of the QR code, for an app on this very phone
	Key   string       // what the person can type into the app instead
	Typed bool         // the person wants to type it
	Codes bool         // the person's app only shows codes
	Wrong string       // why the code that she typed was not taken; empty: she has typed none
	Again int          // seconds until the page asks again
}

// scan shows the page with the QR code. It answers at once the first time, and later only when there is something new.
func (w *web) scan(c *fiber.Ctx) (reply, error) {
	ticket := c.Query("ticket")
	browser := w.session(c, ticket)
	again := soon
	if c.Query("wait") != "" {
		var err error
		if again, err = w.await(c.UserContext(), ticket, browser); err != nil {
			return reply{}, err
		}
	}
	return w.showScan(c, ticket, scanning{
		Typed: c.Query("typed") != "",
		Codes: c.Query("codes") != "",
		Again: again,
	})
}

// showScan shows the page with the QR code, in one of its ways.
func (w *web) showScan(c *fiber.Ctx, ticket string, shown scanning) (reply, error) {
	page, err := w.look(c.UserContext(), ticket, w.session(c, ticket))
	if err != nil {
		return reply{}, err
	}
	started := page.Started
	if started == nil || started.Enrolled {
		return w.show(c, ticket)
	}
	e := enrollment{frame: w.frame(c), TicketPage: page, Ticket: ticket}
	if !w.Now().Before(started.Expires) {
		return reply{status: http.StatusOK, page: "old.html", data: e}, nil
	}
	shown.enrollment = e
	shown.Codes = page.Takes(device.FactorOTP) && (shown.Codes || !page.Takes(device.FactorPush))
	shown.URI = link(started.URI)
	shown.Key = started.TxID
	shown.QR, err = draw(started.URI)
	if shown.Wrong != "" {
		return reply{status: http.StatusBadRequest, page: "scan.html", data: shown}, err
	}
	return reply{status: http.StatusOK, page: "scan.html", data: shown}, err
}

// confirmOTP connects an app that only shows codes, by a code that the person has typed.
func (w *web) confirmOTP(c *fiber.Ctx) (reply, error) {
	ticket := posted(c, "ticket")
	page, err := w.look(c.UserContext(), ticket, w.session(c, ticket))
	if err != nil {
		return reply{}, err
	}
	if page.Started == nil || page.Started.Enrolled {
		return w.show(c, ticket)
	}
	actor := audit.ByUser().WithOrigin(server.CallOf(c.UserContext()).Address.String(), c.Get(fiber.HeaderUserAgent))
	_, err = w.Devices.ConfirmOTP(c.UserContext(), page.Started.TxID, posted(c, "otp"), actor)
	wrong := scanning{Codes: true, Again: soon}
	switch {
	case errors.Is(err, otp.ErrTypo):
		wrong.Wrong = "A code has six digits."
		return w.showScan(c, ticket, wrong)
	case errors.Is(err, device.ErrWrongOTP):
		wrong.Wrong = "That is not the code that the app shows now."
		return w.showScan(c, ticket, wrong)
	case errors.Is(err, device.ErrTicket):
		return w.show(c, ticket) // a phone was first, or it is too old
	case errors.Is(err, device.ErrFactorOff):
		return w.showScan(c, ticket, scanning{Again: soon})
	}
	return w.goTo(c, "enrollment", ticket), err
}

// saving is the page with the recovery code.
type saving struct {
	enrollment
	Code  string
	File  template.URL // the code as a file to download
	Home  string       // where the person uses the code
	Day   time.Time
	Typed string // what the person typed as the end of the code, when it was wrong
}

// code shows the recovery code.
func (w *web) code(c *fiber.Ctx) (reply, error) {
	return w.showCode(c, c.Query("ticket"), "")
}

// showCode shows the recovery code of a ticket, at every call until the person has confirmed it. typed is a wrong end of the
// code that the person typed, or empty.
func (w *web) showCode(c *fiber.Ctx, ticket, typed string) (reply, error) {
	browser := w.session(c, ticket)
	page, err := w.look(c.UserContext(), ticket, browser)
	if err != nil {
		return reply{}, err
	}
	code, err := w.Devices.ShowCode(c.UserContext(), ticket, browser)
	if errors.Is(err, device.ErrTicket) {
		return w.show(c, ticket) // confirmed already, or too old: the page says so
	}
	if err != nil {
		return reply{}, err
	}
	shown := saving{
		enrollment: enrollment{frame: w.frame(c), TicketPage: page, Ticket: ticket},
		Code:       string(code),
		File:       w.file(page.Account, string(code)),
		Home:       w.site.host,
		Day:        w.Now(),
		Typed:      typed,
	}
	shown.Phone = page.Started.Phone
	if typed != "" {
		return reply{status: http.StatusBadRequest, page: "code.html", data: shown}, nil
	}
	return reply{status: http.StatusOK, page: "code.html", data: shown}, nil
}

// confirm notes that the person has saved the code; the pages show it no more.
func (w *web) confirm(c *fiber.Ctx) (reply, error) {
	ticket := posted(c, "ticket")
	typed := posted(c, "end")
	err := w.Devices.ConfirmCode(c.UserContext(), ticket, w.session(c, ticket), typed)
	switch {
	case errors.Is(err, device.ErrCodeEnd):
		return w.showCode(c, ticket, cmp.Or(typed, " "))
	case errors.Is(err, device.ErrTicket):
		return w.show(c, ticket) // confirmed already, or too old
	}
	return w.goTo(c, "enrollment", ticket), err
}

// file returns the code as a data URL of a text file.
func (w *web) file(account, code string) template.URL {
	text := w.name + " recovery code\n" + account + "\n\n" + strings.Join(groups(code), "-") +
		"\n\nIt works once. Issued " + w.Now().Format("2006-01-02") + ".\n"
	return link("data:text/plain;charset=utf-8," + url.PathEscape(text))
}

// heldFor is how long the server holds a call that waits for the phone. Most proxies allow more.
const heldFor = 25 * time.Second

// How soon the page asks again, in seconds: at once while the server holds its calls, later when it does not.
const (
	soon  = 1
	later = 5
)

// await waits for the phone of a ticket, and returns how soon the page is to ask again. The caller must look at the ticket
// again after it, and finds there whatever went wrong.
//
// Errors: storage.ErrHeld.
func (w *web) await(ctx context.Context, ticket, browser string) (again int, err error) {
	if browser == "" {
		return later, nil
	}
	held, leave, ok := w.server.Waits().Enter(ctx, "enrollment:"+browser, 2)
	defer leave()
	if !ok {
		return later, nil
	}
	err = w.Devices.AwaitEnrolled(held, ticket, browser, heldFor)
	switch {
	case errors.Is(err, storage.ErrHeld):
		return 0, err
	case err != nil, server.Cut(held):
		return later, nil
	}
	return soon, nil
}
