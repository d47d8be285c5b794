package web

import (
	"slices"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/servertest"
	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

// link is the link of a ticket.
func (h *people) link(ticket string) string { return h.public + "/mfa/enrollment?ticket=" + ticket }

// started opens the link of a ticket in a tab, and presses Start.
func (h *people) started(c *webtest.Tab, ticket string) {
	c.Visit(h.link(ticket))
	c.Send(`form[action*="enrollment/start"]`, nil)
}

// scanned has a phone scan the QR code on a page.
func (h *people) scanned(c *webtest.Tab, name string) *webtest.Handset {
	uri := c.Text(`document.querySelector(".on-phone a").href`)
	return webtest.NewHandset(h.t, h.House, name, device.ReadTicket(uri))
}

// ofTicket is a state that follows when a tab has pressed Start on the link of a new user's ticket. more is what comes then.
func (h *people) ofTicket(name string, more func(c *webtest.Tab, ticket string)) webtest.State {
	return webtest.State{Name: name, Reach: func(c *webtest.Tab) {
		ticket := h.Ticket(user.User{ID: h.somebody().ID, Email: "b.claasen@werft.example"})
		h.started(c, ticket)
		more(c, ticket)
	}}
}

// enrollments are the states of the pages on which a person connects her phone.
func (h *people) enrollments() []webtest.State {
	at := func(c *webtest.Tab, path, ticket, more string) {
		c.Visit(h.public + "/mfa/enrollment" + path + "?ticket=" + ticket + more)
	}
	return append([]webtest.State{
		{Name: "enrollment-start", Reach: func(c *webtest.Tab) {
			c.Visit(h.link(h.Ticket(user.User{ID: h.somebody().ID, Email: "b.claasen@werft.example"})))
		}},
		{Name: "enrollment-start-with-code", Reach: func(c *webtest.Tab) {
			u := h.somebody()
			h.phone(u, "Pixel 9")
			h.saved(u)
			c.Visit(h.link(h.Ticket(u)))
		}},
		{Name: "enrollment-gone", Reach: func(c *webtest.Tab) { c.Visit(h.link("nosuch")) }},
		h.ofTicket("enrollment-start-again", func(c *webtest.Tab, ticket string) { c.Visit(h.link(ticket)) }),
		h.ofTicket("enrollment-scan", func(*webtest.Tab, string) {}),
		h.ofTicket("enrollment-scan-typed", func(c *webtest.Tab, ticket string) { at(c, "/scan", ticket, "&typed=1") }),
		h.ofTicket("enrollment-scan-codes", func(c *webtest.Tab, ticket string) { at(c, "/scan", ticket, "&codes=1") }),
		h.ofTicket("enrollment-scan-six-digits", func(c *webtest.Tab, ticket string) {
			at(c, "/scan", ticket, "&codes=1")
			c.Send(`form[action*="enrollment/otp"]`, map[string]string{"otp": "12"})
		}),
		h.ofTicket("enrollment-scan-wrong-code", func(c *webtest.Tab, ticket string) {
			at(c, "/scan", ticket, "&codes=1")
			secret := c.Text(`document.querySelector(".secret").textContent.replace(/\s/g, "")`)
			c.Send(`form[action*="enrollment/otp"]`, map[string]string{"otp": other(webtest.OTPOf(h.t, h.House, secret))})
		}),
		h.ofTicket("enrollment-old", func(c *webtest.Tab, ticket string) {
			h.Clock.Advance(10 * time.Minute)
			at(c, "/scan", ticket, "")
		}),
		h.ofTicket("enrollment-code-waits", func(c *webtest.Tab, ticket string) {
			h.scanned(c, "Galaxy S26")
			c.Visit(h.link(ticket))
		}),
		h.ofTicket("enrollment-code", func(c *webtest.Tab, ticket string) {
			h.scanned(c, "Galaxy S26")
			at(c, "/code", ticket, "")
		}),
		h.ofTicket("enrollment-code-wrong", func(c *webtest.Tab, ticket string) {
			h.scanned(c, "Galaxy S26")
			at(c, "/code", ticket, "")
			c.Send("form.confirm", map[string]string{"end": "0000"})
		}),
		h.ofTicket("enrollment-connected", func(c *webtest.Tab, ticket string) {
			p := h.scanned(c, "Galaxy S26")
			at(c, "/code", ticket, "")
			c.Send("form.confirm", map[string]string{"end": p.Enrolled.RecoveryCode[20:]})
		}),
		h.ofTicket("enrollment-connected-without-code", func(c *webtest.Tab, ticket string) {
			h.scanned(c, "Galaxy S26")
			h.Clock.Advance(10 * time.Minute)
			c.Visit(h.link(ticket))
		}),
		h.ofTicket("enrollment-app-code", func(c *webtest.Tab, ticket string) {
			at(c, "/scan", ticket, "&codes=1")
			secret := c.Text(`document.querySelector(".secret").textContent.replace(/\s/g, "")`)
			c.Send(`form[action*="enrollment/otp"]`, map[string]string{"otp": webtest.OTPOf(h.t, h.House, secret)})
			at(c, "/code", ticket, "")
		}),
		{Name: "enrollment-connected-in-a-login", Reach: func(c *webtest.Tab) {
			request := h.request(h.somebody())
			h.as(c, "tutela_challenge", browserSecret, "mfa/challenge?request="+request)
			c.Send(`form[action*="enrollment/start"]`, nil)
			p := h.scanned(c, "Galaxy S26")
			ticket := c.Text(`new URL(location.href).searchParams.get("ticket")`)
			at(c, "/code", ticket, "")
			c.Send("form.confirm", map[string]string{"end": p.Enrolled.RecoveryCode[20:]})
			c.Eval(`stop()`) // else the page goes on by itself
		}},
	}, slices.Concat(h.enrollmentPasskeys(at), h.enrollmentFactors(at), h.enrollmentSettings(at))...)
}

// other is a code of six digits that another one is not.
func other(code string) string {
	if code == "000000" {
		return "111111"
	}
	return "000000"
}

// enrollmentPasskeys are the states of the page on which a passkey is connected.
func (h *people) enrollmentPasskeys(at func(c *webtest.Tab, path, ticket, more string)) []webtest.State {
	form := `form[data-passkey=create]`
	made := func(c *webtest.Tab, a *devicetest.Authenticator) {
		a.Party.Origin = h.public
		options := c.Text(`document.querySelector("form[data-passkey=create]").dataset.options`)
		c.Send(form, map[string]string{"credential": string(a.Create([]byte(options)))})
	}
	return []webtest.State{
		h.ofTicket("enrollment-passkey", func(c *webtest.Tab, ticket string) { at(c, "/passkey", ticket, "") }),
		h.ofTicket("enrollment-passkey-key", func(c *webtest.Tab, ticket string) { at(c, "/passkey", ticket, "&key=1") }),
		h.ofTicket("enrollment-passkey-refused", func(c *webtest.Tab, ticket string) {
			at(c, "/passkey", ticket, "")
			c.Send(form, map[string]string{"credential": "{}"})
		}),
		h.ofTicket("enrollment-passkey-code", func(c *webtest.Tab, ticket string) {
			at(c, "/passkey", ticket, "")
			made(c, devicetest.NewAuthenticator(h.t))
			at(c, "/code", ticket, "")
		}),
		h.ofTicket("enrollment-passkey-connected", func(c *webtest.Tab, ticket string) {
			at(c, "/passkey", ticket, "")
			made(c, devicetest.NewAuthenticator(h.t))
			at(c, "/code", ticket, "")
			code := c.Text(`document.querySelector("#code").textContent.replace(/\s/g, "")`)
			c.Send("form.confirm", map[string]string{"end": code[20:]})
		}),
		{Name: "enrollment-passkey-known", Reach: func(c *webtest.Tab) {
			u := h.somebody()
			a := devicetest.NewAuthenticator(h.t)
			for range 2 {
				ticket := h.Ticket(u)
				h.started(c, ticket)
				at(c, "/passkey", ticket, "")
				made(c, a)
			}
		}},
		{Name: "enrollment-passkey-without-script", Silent: true, Reach: func(c *webtest.Tab) {
			ticket := h.Ticket(h.somebody())
			h.started(c, ticket)
			at(c, "/passkey", ticket, "")
		}},
	}
}

// enrollmentFactors are the states of tickets that are for one kind of authenticator.
func (h *people) enrollmentFactors(at func(c *webtest.Tab, path, ticket, more string)) []webtest.State {
	ticketFor := func(f device.Factor) string {
		ticket, err := h.Admins.NewTicket(h.ctx(), admin.TicketRequest{User: h.somebody(), Factor: string(f)}, servertest.Operator)
		check.Must(h.t, err)
		return ticket
	}
	of := func(name string, f device.Factor, more func(c *webtest.Tab, ticket string)) webtest.State {
		return webtest.State{Name: name, Reach: func(c *webtest.Tab) {
			ticket := ticketFor(f)
			h.started(c, ticket)
			more(c, ticket)
		}}
	}
	return []webtest.State{
		{Name: "enrollment-start-codes", Reach: func(c *webtest.Tab) { c.Visit(h.link(ticketFor(device.FactorOTP))) }},
		{Name: "enrollment-start-key", Reach: func(c *webtest.Tab) { c.Visit(h.link(ticketFor(device.FactorRoaming))) }},
		{Name: "enrollment-start-passkey", Reach: func(c *webtest.Tab) { c.Visit(h.link(ticketFor(device.FactorPlatform))) }},
		of("enrollment-codes-connected", device.FactorOTP, func(c *webtest.Tab, ticket string) {
			secret := c.Text(`document.querySelector(".secret").textContent.replace(/\s/g, "")`)
			c.Send(`form[action*="enrollment/otp"]`, map[string]string{"otp": webtest.OTPOf(h.t, h.House, secret)})
			at(c, "/code", ticket, "")
			code := c.Text(`document.querySelector("#code").textContent.replace(/\s/g, "")`)
			c.Send("form.confirm", map[string]string{"end": code[20:]})
		}),
		of("enrollment-passkey-alone", device.FactorPlatform, func(*webtest.Tab, string) {}),
		of("enrollment-key-alone", device.FactorRoaming, func(*webtest.Tab, string) {}),
		of("enrollment-passkey-old", device.FactorPlatform, func(c *webtest.Tab, ticket string) {
			h.Clock.Advance(10 * time.Minute)
			at(c, "/scan", ticket, "")
		}),
		{Name: "enrollment-passkey-alone-without-script", Silent: true, Reach: func(c *webtest.Tab) { h.started(c, ticketFor(device.FactorPlatform)) }},
	}
}

// enrollmentSettings are the states of a house that has set something.
func (h *people) enrollmentSettings(at func(c *webtest.Tab, path, ticket, more string)) []webtest.State {
	return []webtest.State{
		{Name: "enrollment-passkey-no-domain", Reach: func(c *webtest.Tab) {
			numeric := newPeople(h.t)
			ticket := numeric.Ticket(numeric.somebody())
			numeric.started(c, ticket)
			c.Visit(numeric.public + "/mfa/enrollment/passkey?ticket=" + ticket)
		}},
		{Name: "enrollment-start-app", Reach: func(c *webtest.Tab) {
			h.Set("app.name", "Hafenlicht Login")
			h.Set("app.apple_link", "https://apps.apple.com/app/id1")
			h.Set("app.google_link", "https://play.google.com/store/apps/details?id=x")
			h.Set("brand.helpdesk_phone", "+49 40 5550 120")
			c.Visit(h.link(h.Ticket(h.somebody())))
		}},
		{Name: "enrollment-gone-call", Reach: func(c *webtest.Tab) { c.Visit(h.link("nosuch")) }},
	}
}

// code is the recovery code of a user, as an admin makes it anew.
func (h *people) code(u user.User) recovery.Code {
	h.t.Helper()
	code, err := h.Admins.Regenerate(h.ctx(), u.ID, servertest.Operator)
	check.Must(h.t, err)
	return code
}
