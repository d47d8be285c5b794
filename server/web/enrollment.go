package web

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/device"
	"tutela/server"
	"tutela/storage"
)

// The enrolment page: opening it shows whom the ticket is for; Start draws the QR code; a frame in the page waits for
// the phone; then the recovery code is shown, once.
//
// The QR code is drawn once, for only a hash of what is in it is kept. So the page stays, and what turns live is a frame
// inside it, which the server holds until the phone has enrolled. Without a script nothing but a frame can do that.
//
// No token against forged forms is needed. A form does something only with a ticket in its body, and for the browser
// session that its cookie names: showing a code wants the session that drew the QR code, whose cookie comes with no form
// of another site (SameSite=Lax). Whoever has a ticket and could have a form of it sent could send its link just as well.
func (w *web) mountEnrollment(app *fiber.App) {
	app.Get("/mfa/enrollment", w.handle(w.open))
	app.Post("/mfa/enrollment/start", w.handle(w.start))
	app.Get("/mfa/enrollment/state", w.handle(w.state))
	app.Post("/mfa/enrollment/code", w.handle(w.code))
	// Where a browser goes that is sent back to the address of a form.
	app.Get("/mfa/enrollment/start", w.handle(w.noTicket))
	app.Get("/mfa/enrollment/code", w.handle(w.noTicket))
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
	Code   string
	Link   template.URL // data of the code as a file
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

// started is the page with the QR code.
type started struct {
	enrollment
	QR  picture
	URI template.URL // the text of the QR code, for an app on this very phone
	Key string       // what can be typed into the app instead
}

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
	e := enrollment{frame: w.frame(c), TicketPage: page, Ticket: ticket}
	if !w.keepsCookies(c, browser) {
		w.probe(c)
		return reply{status: http.StatusBadRequest, page: "cookies.html", data: e}, nil
	}
	next := newSession()
	begun, err := w.Devices.StartTicket(c.UserContext(), ticket, browser, next)
	if err != nil {
		return reply{}, err
	}
	w.giveSession(c, ticket, next)
	code, err := draw(begun.URI)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, page: "scan.html", data: started{
		enrollment: e,
		QR:         code,
		URI:        link(begun.URI),
		Key:        begun.TxID,
	}}, nil
}

// code shows the recovery code, once. It answers a form and not a link: what fetches links ahead does not burn it.
func (w *web) code(c *fiber.Ctx) (reply, error) {
	ticket := posted(c, "ticket")
	browser := w.session(c, ticket)
	page, err := w.look(c.UserContext(), ticket, browser)
	if err != nil {
		return reply{}, err
	}
	code, err := w.Devices.ShowCode(c.UserContext(), ticket, browser)
	if errors.Is(err, device.ErrTicket) {
		return w.show(c, ticket) // shown already: the page says so
	}
	if err != nil {
		return reply{}, err
	}
	e := enrollment{
		frame:      w.frame(c),
		TicketPage: page,
		Ticket:     ticket,
		Code:       code,
		Link:       w.file(page.Account, code),
	}
	e.Phone = page.Started.Phone
	return reply{status: http.StatusOK, page: "code.html", data: e}, nil
}

// file is the code as the data of a text file, made with the page: nothing of it is kept here.
func (w *web) file(account, code string) template.URL {
	text := w.name + " recovery code\n" + account + "\n\n"
	for i, group := range groups(code) {
		if i > 0 {
			text += "-"
		}
		text += group
	}
	text += "\n\nIt works once. Issued " + w.Now().Format("2006-01-02") + ".\n"
	return link("data:text/plain;charset=utf-8," + url.PathEscape(text))
}

// heldFor is how long the frame's call is held: shorter than proxies allow, on the whole.
const heldFor = 25 * time.Second

// How soon the frame asks again, in seconds: at once while it is well, later when calls are not held.
const (
	soon  = 1
	later = 5
)

// waiting is the frame inside the page with the QR code.
type waiting struct {
	enrollment
	Enrolled bool
	CodeKept bool
	Over     bool // the QR code works no longer
	Again    int  // seconds until the frame asks again
	Wait     bool // and then its call may be held
}

// state is the frame: it answers at once the first time, and then only when there is something new.
func (w *web) state(c *fiber.Ctx) (reply, error) {
	ticket := c.Query("ticket")
	browser := w.session(c, ticket)
	ctx := c.UserContext()
	again := soon
	waited := c.Query("wait") != ""
	if waited {
		var err error
		if again, err = w.await(ctx, ticket, browser); err != nil {
			return reply{}, err
		}
	}
	f := waiting{enrollment: enrollment{frame: w.frame(c), Ticket: ticket}, Again: again, Wait: true}
	page, err := w.look(ctx, ticket, browser)
	switch {
	case errors.Is(err, device.ErrTicket):
		f.Over = true
		err = w.server.AddressLimit().Charge(server.CallOf(ctx))
	case err == nil && page.Started == nil:
		f.Over = true
	case err == nil:
		f.Phone = page.Started.Phone
		f.Enrolled = page.Started.Enrolled
		f.CodeKept = page.Started.CodeKept
		f.Over = !f.Enrolled && !w.Now().Before(page.Started.Expires)
	}
	// Start in another tab moves what this one has started to a new session. The browser has its cookie by now.
	if f.Over && page.Started == nil && waited && browser != "" {
		f.Over = false
		f.Wait = false
	}
	return reply{status: http.StatusOK, page: "state.html", data: f}, err
}

// await waits for the phone of a ticket, and returns how soon the frame is to ask again. Whoever calls it looks again
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
