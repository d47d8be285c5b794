package web

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

// at has a tab be the browser that has opened a request, and go to its page.
func (h *people) at(c *webtest.Tab, request, more string) {
	h.as(c, "tutela_challenge", browserSecret, "mfa/challenge?request="+request+more)
}

// ofPhone is a state of the challenge page of somebody with a phone. more is what comes after the page was opened.
func (h *people) ofPhone(name string, more func(c *webtest.Tab, request string, p *webtest.Handset, u user.User)) webtest.State {
	return webtest.State{Name: name, Reach: func(c *webtest.Tab) {
		u := h.somebody()
		p := h.phone(u, "Pixel 9")
		request := h.request(u)
		h.opened(request)
		more(c, request, p, u)
	}}
}

// challenges are the states of the pages on which a person proves that it is she who signs in.
func (h *people) challenges() []webtest.State {
	type phone = webtest.Handset
	return slices.Concat([]webtest.State{
		h.ofPhone("challenge-asks", func(c *webtest.Tab, request string, _ *phone, _ user.User) { h.at(c, request, "") }),
		h.ofPhone("challenge-denied", func(c *webtest.Tab, request string, p *phone, _ user.User) {
			p.Deny()
			h.at(c, request, "")
		}),
		h.ofPhone("challenge-mistyped", func(c *webtest.Tab, request string, p *phone, _ user.User) {
			p.TypeWrong()
			h.at(c, request, "")
		}),
		h.ofPhone("challenge-expired", func(c *webtest.Tab, request string, _ *phone, _ user.User) {
			h.Clock.Advance(3 * time.Minute)
			h.at(c, request, "")
		}),
		h.ofPhone("challenge-asked-too-often", func(c *webtest.Tab, request string, _ *phone, _ user.User) {
			for range login.PushesPerMinute - 1 {
				check.Must(h.t, h.Logins.AskAgain(h.ctx(), visit(request)))
			}
			h.at(c, request, "")
			c.Send(`form[action*="challenge/number"]`, nil)
		}),
		{Name: "challenge-approved", Reach: func(c *webtest.Tab) {
			u := h.somebody()
			p := h.phone(u, "Pixel 9")
			nothing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			h.t.Cleanup(nothing.Close)
			// A login system that has nothing to show: else the browser would leave the page by itself.
			request := h.request(u, func(r *login.PageRequest) { r.Redirect = nothing.URL })
			p.Approve(h.opened(request).Number)
			h.at(c, request, "&wait=1&mark=x")
		}},
		h.ofPhone("challenge-taken", func(c *webtest.Tab, request string, _ *phone, _ user.User) {
			c.Visit(h.public + "/mfa/challenge?request=" + request)
		}),
		h.ofPhone("challenge-lost", func(c *webtest.Tab, request string, _ *phone, _ user.User) { h.at(c, request, "&way=lost") }),
		h.ofPhone("challenge-lost-needs-link", func(c *webtest.Tab, request string, _ *phone, _ user.User) {
			h.Set("enrollment.after_reset", "ticket")
			h.at(c, request, "&way=lost")
			h.Set("enrollment.after_reset", "open")
		}),
		h.ofPhone("challenge-cancelled", func(c *webtest.Tab, request string, _ *phone, _ user.User) {
			_, err := h.Logins.CancelPage(h.ctx(), visit(request))
			check.Must(h.t, err)
			h.at(c, request, "")
		}),
		h.ofPhone("challenge-blocked", func(c *webtest.Tab, request string, _ *phone, u user.User) {
			h.SetBlocked(u.ID, true)
			h.at(c, request, "")
		}),
		h.ofPhone("challenge-over", func(c *webtest.Tab, request string, _ *phone, _ user.User) {
			h.Clock.Advance(11 * time.Minute)
			h.at(c, request, "")
		}),
		{Name: "challenge-gone", Reach: func(c *webtest.Tab) { h.at(c, "nosuch", "") }},
		{Name: "challenge-asks-for-own-page", Reach: func(c *webtest.Tab) {
			u := h.somebody()
			h.phone(u, "Pixel 9")
			h.at(c, h.request(u, func(r *login.PageRequest) {
				r.Purpose = login.PageManage
				r.Message = "Transfer of 3,400.00 to Werft Claasen, Hamburg"
			}), "")
		}},
		{Name: "challenge-asks-by-tap", Reach: func(c *webtest.Tab) {
			u := h.somebody()
			h.phone(u, "Pixel 9")
			h.Set("approval.presence", "tap")
			h.at(c, h.request(u), "")
			h.Set("approval.presence", "number")
		}},
		{Name: "challenge-asks-silently", Reach: func(c *webtest.Tab) {
			u := h.somebody()
			h.phone(u, "Pixel 9")
			for range 6 {
				h.opened(h.request(u))
			}
			h.at(c, h.request(u), "")
		}},
	}, h.challengeCodes(), h.challengePasskeys(), h.challengeEnds())
}

// challengeCodes are the states in which a code is typed.
func (h *people) challengeCodes() []webtest.State {
	type phone = webtest.Handset
	otp := func(c *webtest.Tab, request, typed string) {
		h.at(c, request, "&way=otp")
		c.Send(`form[action*="challenge/otp"]`, map[string]string{"otp": typed})
	}
	code := func(c *webtest.Tab, request, typed string) {
		h.at(c, request, "&way=code")
		c.Send(`form[action*="challenge/code"]`, map[string]string{"code": typed})
	}
	return []webtest.State{
		h.ofPhone("challenge-otp", func(c *webtest.Tab, request string, _ *phone, _ user.User) { h.at(c, request, "&way=otp") }),
		h.ofPhone("challenge-otp-digits", func(c *webtest.Tab, request string, _ *phone, _ user.User) { otp(c, request, "12") }),
		h.ofPhone("challenge-otp-wrong", func(c *webtest.Tab, request string, p *phone, _ user.User) { otp(c, request, other(p.OTP())) }),
		h.ofPhone("challenge-otp-limited", func(c *webtest.Tab, request string, p *phone, _ user.User) {
			for range 10 {
				_ = h.Logins.TypePageOTP(h.ctx(), visit(request), other(p.OTP()))
			}
			h.at(c, request, "&way=otp")
		}),
		h.ofPhone("challenge-code", func(c *webtest.Tab, request string, _ *phone, _ user.User) { h.at(c, request, "&way=code") }),
		h.ofPhone("challenge-code-typo", func(c *webtest.Tab, request string, _ *phone, _ user.User) { code(c, request, "ABC") }),
		h.ofPhone("challenge-code-wrong", func(c *webtest.Tab, request string, _ *phone, _ user.User) { code(c, request, wrongCode) }),
		h.ofPhone("challenge-code-limited", func(c *webtest.Tab, request string, _ *phone, _ user.User) {
			for range 10 {
				_ = h.Logins.TypePageCode(h.ctx(), visit(request), wrongCode)
			}
			h.at(c, request, "&way=code")
		}),
		h.ofPhone("challenge-limited", func(c *webtest.Tab, request string, p *phone, _ user.User) {
			for range 10 {
				_ = h.Logins.TypePageOTP(h.ctx(), visit(request), other(p.OTP()))
				_ = h.Logins.TypePageCode(h.ctx(), visit(request), wrongCode)
			}
			p.Deny()
			h.at(c, request, "")
		}),
	}
}

// withPasskey is a user who has a passkey, and nothing else.
func (h *people) withPasskey() user.User {
	h.t.Helper()
	u := h.somebody()
	ticket := h.Ticket(u)
	a := devicetest.NewAuthenticator(h.t)
	a.Party.Origin = h.public
	started, err := h.Devices.StartTicket(h.ctx(), ticket, "", browserSecret)
	check.Must(h.t, err)
	options, err := h.Passkeys.BeginByTicket(h.ctx(), h.Devices, started.TxID, device.TypePlatform)
	check.Must(h.t, err)
	check.Must(h.t, h.Passkeys.EnrollByTicket(h.ctx(), h.Devices, started.TxID, device.TypePlatform, a.Create(options), her))
	return u
}

// challengePasskeys are the states of somebody who has a passkey, and no phone.
func (h *people) challengePasskeys() []webtest.State {
	return []webtest.State{
		{Name: "challenge-choose", Reach: func(c *webtest.Tab) { h.at(c, h.request(h.withPasskey()), "") }},
		{Name: "challenge-passkey", Reach: func(c *webtest.Tab) { h.at(c, h.request(h.withPasskey()), "&way=passkey") }},
		{Name: "challenge-passkey-without-script", Silent: true, Reach: func(c *webtest.Tab) { h.at(c, h.request(h.withPasskey()), "&way=passkey") }},
		{Name: "challenge-passkey-refused", Reach: func(c *webtest.Tab) {
			h.at(c, h.request(h.withPasskey()), "&way=passkey")
			c.Send(`form[data-passkey=get]`, map[string]string{"credential": "{}"})
		}},
	}
}

// challengeEnds are the states after the recovery code.
func (h *people) challengeEnds() []webtest.State {
	type phone = webtest.Handset
	spend := func(request string, p *phone) {
		check.Must(h.t, h.Logins.TypePageCode(h.ctx(), visit(request), p.Enrolled.RecoveryCode))
	}
	return []webtest.State{
		h.ofPhone("challenge-saves", func(c *webtest.Tab, request string, p *phone, _ user.User) {
			spend(request, p)
			h.at(c, request, "")
		}),
		h.ofPhone("challenge-saves-wrong", func(c *webtest.Tab, request string, p *phone, _ user.User) {
			spend(request, p)
			h.at(c, request, "")
			c.Send("form.confirm", map[string]string{"end": "0000"})
		}),
		h.ofPhone("challenge-offers", func(c *webtest.Tab, request string, p *phone, _ user.User) {
			spend(request, p)
			check.Must(h.t, h.Logins.ConfirmPageCode(h.ctx(), visit(request), string(h.opened(request).Next[20:])))
			h.at(c, request, "")
		}),
		{Name: "challenge-offers-without-phone", Reach: func(c *webtest.Tab) {
			u := h.withPasskey()
			code := h.code(u)
			request := h.request(u)
			h.opened(request)
			check.Must(h.t, h.Logins.TypePageCode(h.ctx(), visit(request), string(code)))
			check.Must(h.t, h.Logins.ConfirmPageCode(h.ctx(), visit(request), string(h.opened(request).Next[20:])))
			h.at(c, request, "")
		}},
		h.ofPhone("challenge-finished", func(c *webtest.Tab, request string, p *phone, _ user.User) {
			p.Approve(h.opened(request).Number)
			f, err := h.Logins.FinishPage(h.ctx(), visit(request))
			check.Must(h.t, err)
			_, err = h.Logins.ExchangePage(h.ctx(), login.PageExchange{
				Client:   h.bank.ID,
				Code:     f.Code,
				Redirect: f.Redirect,
				Verifier: verifier,
			})
			check.Must(h.t, err)
			h.at(c, request, "")
		}),
	}
}

// wrongCode has the form of a recovery code, and is nobody's.
var wrongCode = string(recovery.DrawCode())
