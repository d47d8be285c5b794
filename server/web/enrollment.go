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
	"tutela/server"
	"tutela/storage"
)

// The enrolment page: opening it shows whom the ticket is for; Start leads to the page with the QR code, which waits for
// the phone; then the recovery code is shown until the person has confirmed it.
//
// The page with the QR code moves on by itself. A script asks whether the phone has enrolled, and the server holds its
// call until then. Without a script the page loads itself again, which draws the same QR code: what is in it follows
// from the browser's session.
//
// No token against forged forms is needed. A form does something only with a ticket in its body, and for the browser
// session that its cookie names: confirming a code wants the session that drew the QR code, whose cookie comes with no
// form of another site (SameSite=Lax). Whoever has a ticket and could have a form of it sent could send its link just as
// well.
func (w *web) mountEnrollment(app *fiber.App) {
	app.Get("/mfa/enrollment", w.handle(w.open))
	app.Post("/mfa/enrollment/start", w.handle(w.start))
	app.Get("/mfa/enrollment/scan", w.handle(w.scan))
	app.Get("/mfa/enrollment/code", w.handle(w.code))
	app.Post("/mfa/enrollment/code", w.handle(w.confirm))
	// Where a browser goes that is sent back to the address of a form.
	app.Get("/mfa/enrollment/start", w.handle(w.noTicket))
}

func (w *web) noTicket(*fiber.Ctx) (reply, error) { return reply{}, device.ErrTicket }

// posted is a member of the form that a call brought; never of the query, which logs of others may hold.
func posted(c *fiber.Ctx, name string) string { return string(c.Context().PostArgs().Peek(name)) }

// enrollment is what the pages about one ticket show.
type enrollment struct {
	frame
	device.TicketPage
	Ticket string
	Phone  string // that has enrolled
}

func (w *web) open(c *fiber.Ctx) (reply, error) {
	return w.show(c, c.Query("ticket"))
}

// show shows how a ticket stands for this browser.
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

// look is what the page knows of a ticket: nothing of one that was spent elsewhere than in this browser.
//
// Errors: device.ErrTicket.
func (w *web) look(ctx context.Context, ticket, session string) (device.TicketPage, error) {
	page, err := w.Devices.OpenTicket(ctx, ticket, session)
	if err == nil && page.Spent && (page.Started == nil || !page.Started.Enrolled) {
		err = device.ErrTicket
	}
	return page, err
}

// start starts the ticket for this browser, and sends it to the page with the QR code.
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

// goTo sends a browser that has sent a form to a page below /mfa/. The address is relative, for only the browser knows the
// whole one.
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
	Key   string       // what can be typed into the app instead
	Typed bool         // the person wants to type it
	Again int          // seconds until the page asks again
}

// scan is the page with the QR code: it answers at once the first time, and then only when there is something new.
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
	page, err := w.look(c.UserContext(), ticket, browser)
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
	code, err := draw(started.URI)
	return reply{status: http.StatusOK, page: "scan.html", data: scanning{
		enrollment: e,
		QR:         code,
		URI:        link(started.URI),
		Key:        started.TxID,
		Typed:      c.Query("typed") != "",
		Again:      again,
	}}, err
}

// saving is the page with the recovery code.
type saving struct {
	enrollment
	Code  string
	File  template.URL // data of the code as a file
	Home  string       // where the code is used
	Day   time.Time
	Typed string // that was not the end of the code
}

// code shows the recovery code.
func (w *web) code(c *fiber.Ctx) (reply, error) {
	return w.showCode(c, c.Query("ticket"), "")
}

// showCode shows the recovery code of a ticket, again and again until it was confirmed. typed is what was not its end.
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

// confirm ends the showing of a code, for a person who has saved it.
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

// file is the code as the data of a text file, made with the page.
func (w *web) file(account, code string) template.URL {
	text := w.name + " recovery code\n" + account + "\n\n" + strings.Join(groups(code), "-") +
		"\n\nIt works once. Issued " + w.Now().Format("2006-01-02") + ".\n"
	return link("data:text/plain;charset=utf-8," + url.PathEscape(text))
}

// heldFor is how long a call that waits for the phone is held: shorter than proxies allow, on the whole.
const heldFor = 25 * time.Second

// How soon the page asks again, in seconds: at once while all is well, later when calls are not held.
const (
	soon  = 1
	later = 5
)

// await waits for the phone of a ticket, and returns how soon the page is to ask again. Whoever calls it looks again
// afterwards, and meets whatever went wrong.
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
