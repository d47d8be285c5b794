package enrollment

import (
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/servertest"
	"tutela/storage/storagetest/check"
)

// newCodeTicket makes a ticket that declares the user's code lost.
func (h *house) newCodeTicket(userID string) string {
	h.t.Helper()
	ticket, err := h.Admins.NewTicket(h.t.Context(), admin.TicketRequest{
		User:          user.User{ID: userID},
		AllowMultiple: true,
		NewCode:       true,
	}, servertest.Operator)
	h.must(err)
	return ticket
}

// Each way in which nobody holds a code: the next page shows another, which the person confirms, and then it stays.
func TestEnrollment_ShowsANewCodeWhereNobodyHoldsTheOldOne(t *testing.T) {
	maria := user.User{ID: "maria"}
	for name, before := range map[string]func(h *house) (ticket string){
		"an SDK dropped it": func(h *house) string {
			p, _ := h.enrollWith(sdk, h.ticket(maria))
			_, err := p.Status(h.t.Context())
			h.must(err)
			return h.ticket(maria)
		},
		"the answer was lost": func(h *house) string {
			h.enroll(h.ticket(maria))
			return h.ticket(maria)
		},
		"an admin made it": func(h *house) string {
			h.saved(maria)
			_, err := h.Admins.Regenerate(h.t.Context(), "maria", servertest.Operator)
			h.must(err)
			return h.ticket(maria)
		},
		"her phone declared it lost": func(h *house) string {
			h.must(h.saved(maria).LoseCode(h.t.Context()))
			return h.ticket(maria)
		},
		"the ticket declares it lost": func(h *house) string {
			h.saved(maria)
			return h.newCodeTicket("maria")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			ticket := before(h)
			b := h.browser()
			b.shows(b.open(ticket), 200, "Keep the recovery code that follows")
			_, code := h.enrollWith(phone.Options{Name: "second"}, b.start(ticket).uri())
			b.shows(b.open(ticket), 200, "Show my recovery code")
			if shown := b.code(ticket).recoveryCode(); shown != code || len(code) != 24 {
				t.Errorf("shown is %q, the app got %q", shown, code)
			}
			b.shows(b.confirm(ticket, code[20:]), 200, "is the one that you have saved")

			third := h.ticket(maria)
			b.shows(b.open(third), 200, "The one that you have saved stays the same.")
			_, none := h.enrollWith(phone.Options{Name: "third"}, b.start(third).uri())
			b.shows(b.open(third), 200, "is the one that you have saved")
			if none != "" {
				t.Errorf("the code %q replaced one that was saved", none)
			}
		})
	}
}

// saved enrols a phone by the page, where the person saves the code.
func (h *house) saved(u user.User) *phone.Phone {
	h.t.Helper()
	b := h.browser()
	ticket := h.ticket(u)
	p, code := h.enrollWith(sdk, b.start(ticket).uri())
	if shown := b.code(ticket).recoveryCode(); shown != code {
		h.t.Errorf("shown is %q, the app got %q", shown, code)
	}
	b.shows(b.confirm(ticket, code[20:]), 200, "is the one that you have saved")
	return p
}

// The page says that a code is saved only where one has arrived.
func TestBrowser_SaysTheTruthAboutTheCode(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := openTab(t)
	maria := user.User{ID: "maria"}
	h.enrollWith(sdk, h.ticket(maria))
	ticket := h.ticket(maria)
	c.Go(h.link(ticket))
	c.Sees("Connect your phone")
	c.Press("button")
	h.enroll(c.drawn())
	c.Sees("Your phone is connected")
	h.clock.Advance(10 * time.Minute)
	c.Go(h.link(ticket))
	c.Until(`document.body.textContent.includes("You have no recovery code yet.")`)

	ticket = h.newCodeTicket("maria")
	c.Go(h.link(ticket))
	c.Sees("Connect your phone")
	c.Press("button")
	code := h.enroll(c.drawn())
	c.Sees("Your phone is connected")
	c.Press(`a[href*="enrollment/code"]`)
	c.Sees("Save your recovery code")
	c.confirm(code[20:])
	c.Until(`document.body.textContent.includes("is the one that you have saved")`)

	ticket = h.ticket(maria)
	c.Go(h.link(ticket))
	c.Until(`document.body.textContent.includes("The one that you have saved stays the same.")`)
	c.Press("button")
	h.enroll(c.drawn())
	c.Until(`document.body.textContent.includes("is the one that you have saved")`)
}
