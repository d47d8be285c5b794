package web

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/own"
	"tutela/device/phone"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/servertest"
	"tutela/server/web/webtest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

// session opens a user's own page by a request that prove has satisfied, and returns its secret.
func (h *people) session(u user.User, prove func(request string)) string {
	h.t.Helper()
	request := h.request(u, func(r *login.PageRequest) { r.Purpose = login.PageManage })
	h.opened(request)
	prove(request)
	_, err := h.Logins.FinishPage(h.ctx(), visit(request))
	check.Must(h.t, err)
	token, err := h.own.OpenFor(h.ctx(), visit(request), her)
	check.Must(h.t, err)
	return token
}

// byNumber opens a user's own page by a number on her phone.
func (h *people) byNumber(u user.User, p *webtest.Handset) string {
	h.t.Helper()
	return h.session(u, func(request string) { p.Approve(h.opened(request).Number) })
}

// byOTP opens it by a one-time code, which is not enough to change anything.
func (h *people) byOTP(u user.User, code string) string {
	h.t.Helper()
	return h.session(u, func(request string) { check.Must(h.t, h.Logins.TypePageOTP(h.ctx(), visit(request), code)) })
}

// byCode opens it by the recovery code, whose next one is confirmed.
func (h *people) byCode(u user.User, code string) string {
	h.t.Helper()
	return h.session(u, func(request string) {
		check.Must(h.t, h.Logins.TypePageCode(h.ctx(), visit(request), code))
		check.Must(h.t, h.Logins.ConfirmPageCode(h.ctx(), visit(request), string(h.opened(request).Next[20:])))
		check.Must(h.t, h.Logins.GoOn(h.ctx(), visit(request)))
	})
}

// me has a tab be the browser of a session, and go to a page of it.
func (h *people) me(c *webtest.Tab, token, page string) { h.as(c, "tutela_own", token, "mfa/me"+page) }

// visited is a visit to somebody's own page.
type visited struct {
	c     *webtest.Tab
	u     user.User
	p     *webtest.Handset
	token string
}

// ofVisit is a state of the own page of somebody whose phone has proven her. more is what comes then.
func (h *people) ofVisit(name string, more func(v visited)) webtest.State {
	return webtest.State{Name: name, Reach: func(c *webtest.Tab) {
		u := h.somebody()
		p := h.phone(u, "Pixel 9")
		more(visited{c, u, p, h.byNumber(u, p)})
	}}
}

// ofWeak is a state of the own page of somebody whom a one-time code has proven.
func (h *people) ofWeak(name string, more func(v visited)) webtest.State {
	return webtest.State{Name: name, Reach: func(c *webtest.Tab) {
		u := h.somebody()
		p := h.phone(u, "Pixel 9")
		more(visited{c, u, p, h.byOTP(u, p.OTP())})
	}}
}

// ownPages are the states of a person's own page.
func (h *people) ownPages() []webtest.State {
	return slices.Concat(h.ownFirst(), h.ownDevices(), h.ownAdds(), h.ownProofs(), h.ownOtherProofs(), h.ownCodes(), h.ownDenials())
}

// ownFirst are the states of the first page.
func (h *people) ownFirst() []webtest.State {
	return []webtest.State{
		h.ofVisit("me-one-device", func(v visited) { h.me(v.c, v.token, "") }),
		h.ofVisit("me", func(v visited) {
			h.saved(v.u)
			h.Clock.Advance(26 * time.Hour)
			h.phone(v.u, "Galaxy A56")
			h.lines(v, ordinary)
			h.remembered(v.u)
			h.me(v.c, h.byNumber(v.u, v.p), "")
		}),
		h.ofVisit("me-code-only", func(v visited) {
			h.saved(v.u)
			h.me(v.c, v.token, "")
		}),
		{Name: "me-no-device", Reach: func(c *webtest.Tab) {
			u := h.somebody()
			p := h.phone(u, "Pixel 9")
			token := h.byCode(u, p.Enrolled.RecoveryCode)
			check.Must(h.t, h.own.Remove(h.ctx(), token, p.Enrolled.ID, her))
			h.me(c, token, "")
		}},
		{Name: "me-no-way", Reach: func(c *webtest.Tab) {
			u := h.somebody()
			p := h.phone(u, "Pixel 9")
			token := h.byCode(u, p.Enrolled.RecoveryCode)
			check.Must(h.t, h.own.Remove(h.ctx(), token, p.Enrolled.ID, her))
			h.Set("factor.recovery_code", "off")
			h.me(c, token, "")
			h.Set("factor.recovery_code", "on")
		}},
		h.ofVisit("me-without-code", func(v visited) {
			h.withoutCode(v.u)
			h.me(v.c, v.token, "")
		}),
		h.ofVisit("me-line-denied", func(v visited) {
			lines, _, err := h.own.Lately(h.ctx(), v.token, "")
			check.Must(h.t, err)
			at := slices.IndexFunc(lines, func(l own.Line) bool { return l.Type == audit.EnrollComplete })
			_, err = h.own.NotMe(h.ctx(), v.token, lines[at].ID, her)
			check.Must(h.t, err)
			h.me(v.c, v.token, "/lately")
		}),
		h.ofVisit("me-code-lost", func(v visited) {
			check.Must(h.t, h.Devices.LoseCode(h.ctx(), v.p.Proof(), her))
			h.me(v.c, v.token, "")
		}),
		h.ofVisit("me-stopped", func(v visited) {
			h.Clock.Advance(time.Second)
			second := h.phone(v.u, "Galaxy A56")
			third := h.phone(v.u, "Fairphone 6")
			fourth := h.phone(v.u, "Nokia")
			_, err := h.own.NotMe(h.ctx(), v.token, second.Enrolled.ID, her)
			check.Must(h.t, err)
			check.Must(h.t, h.Admins.Suspend(h.ctx(), third.Enrolled.ID, servertest.Operator))
			check.Must(h.t, h.Devices.Leave(h.ctx(), fourth.Proof(), her))
			h.me(v.c, v.token, "")
		}),
		h.ofVisit("me-restore", func(v visited) {
			h.restoring(v.u)
			h.me(v.c, v.token, "")
		}),
		h.ofVisit("me-lately", func(v visited) {
			h.lines(v, alarming)
			h.me(v.c, v.token, "/lately")
		}),
		h.ofVisit("me-lately-admins", func(v visited) {
			h.lines(v, ofAdmins)
			h.me(v.c, v.token, "/lately")
		}),
		h.ofVisit("me-lately-nothing", func(v visited) { h.me(v.c, v.token, "/lately?before=evt_") }),
		{Name: "me-closed", Reach: func(c *webtest.Tab) { c.Visit(h.public + "/mfa/me") }},
		{Name: "me-left", Reach: func(c *webtest.Tab) { c.Visit(h.public + "/mfa/me/left") }},
		h.ofVisit("me-gone", func(v visited) { h.me(v.c, v.token, "/gone") }),
		h.ofWeak("me-weak", func(v visited) { h.me(v.c, v.token, "") }),
	}
}

// withoutCode takes a user's recovery code away.
func (h *people) withoutCode(u user.User) {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) error {
		found, err := user.Find(tx, u.ID)
		if err != nil {
			return err
		}
		return recovery.Remove(tx, found.UID)
	})
}

// happened is an event that a line is made of.
type happened struct {
	of    audit.Type
	facts audit.Facts
}

// The things of which a person is told, once each: a page has twenty.
var (
	ordinary = []happened{
		{audit.EnrollComplete, nil},
		{audit.Unenroll, nil},
		{audit.DeviceMoved, nil},
		{audit.UpdateDevice, audit.Facts{audit.FactDevice: audit.DeviceName}},
		{audit.UpdateDevice, audit.Facts{audit.FactDevice: audit.DeviceAddress}},
		{audit.UpdateDevice, audit.Facts{audit.FactDevice: audit.DeviceCapabilities}},
		{audit.AuthSucceed, audit.Facts{audit.FactMethod: audit.Word(login.ByKey)}},
		{audit.AuthSucceed, audit.Facts{audit.FactMethod: audit.Word(login.ByPasskey)}},
		{audit.AuthSucceed, audit.Facts{audit.FactMethod: audit.Word(login.ByRecoveryCode)}},
		{audit.AuthSucceed, audit.Facts{audit.FactMethod: audit.Word(login.ByOTP)}},
		{audit.AuthSucceed, audit.Facts{audit.FactMethod: audit.MethodRemembered}},
		{audit.RecoverySucceed, nil},
		{audit.CodeReplaced, nil},
		{audit.BackupPut, nil},
		{audit.BackupDeleted, nil},
		{audit.BackupUndeleted, nil},
		{audit.BackupHandle, nil},
	}
	alarming = []happened{
		{audit.AuthRejected, nil},
		{audit.AuthFailed, nil},
		{audit.OTPRateLimit, nil},
		{audit.PasskeyChanged, nil},
		{audit.CallerChecked, nil},
		{audit.RecoveryFailed, nil},
		{audit.RecoveryRateLimit, nil},
		{audit.CodeLost, nil},
		{audit.RestoreStarted, nil},
		{audit.RestoreDone, nil},
		{audit.RestoreVetoed, nil},
		{audit.RestoreAllowed, nil},
		{audit.RestoreGivenUp, nil},
		{audit.RestoreDisputed, nil},
		{audit.Reset, nil},
		{audit.NotMe, nil},
	}
	ofAdmins = []happened{
		{audit.ManagementCall, audit.Facts{audit.FactCall: audit.CallBlock}},
		{audit.UpdateDevice, audit.Facts{audit.FactStatus: audit.Word(device.Suspended)}},
		{audit.UpdateDevice, audit.Facts{audit.FactStatus: audit.Word(device.Active)}},
	}
)

// lines records things that have happened to somebody; once more, and counted, the first of them.
func (h *people) lines(v visited, list []happened) {
	h.t.Helper()
	actor := her
	if list[0].of == audit.ManagementCall {
		actor = audit.ByOperator(0)
	}
	record := func(change func(tx *storage.Tx, uid storage.UID) error) {
		h.Update(func(tx *storage.Tx) error {
			found, err := user.Find(tx, v.u.ID)
			if err != nil {
				return err
			}
			return change(tx, found.UID)
		})
	}
	record(func(tx *storage.Tx, uid storage.UID) (err error) {
		for i, e := range list {
			detail := audit.Detail{Enrollment: v.p.Enrolled.ID, Device: v.p.In.Name}
			if i%5 == 4 {
				detail = audit.Detail{} // a reset has taken its name
			}
			err = errors.Join(err, audit.Record(tx, actor, audit.Event{Type: e.of, UID: uid, Facts: e.facts}, detail))
		}
		return err
	})
	for range 3 {
		record(func(tx *storage.Tx, uid storage.UID) error {
			return audit.Fold(tx, actor, audit.Event{Type: list[0].of, UID: uid, Facts: list[0].facts}, audit.Detail{}, "x", time.Second)
		})
		h.Clock.Advance(600 * time.Millisecond)
	}
}

// remembered has browsers of a user be remembered.
func (h *people) remembered(u user.User) {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) error {
		found, err := user.Find(tx, u.ID)
		for i := range 2 {
			if err == nil {
				err = recovery.Remember(tx, found.UID, strconv.Itoa(i), recovery.Browser{Client: h.bank.ID, Method: "swk", Proved: tx.Now()})
			}
		}
		return err
	})
}

// restoring has a new phone of a user ask to take over from one that has backed up.
func (h *people) restoring(u user.User) {
	h.t.Helper()
	p, err := phone.New(phone.Options{
		BaseURL: h.public,
		Name:    "Pixel 10",
		Now:     h.Clock.Wall,
		Client:  h.Client,
	})
	check.Must(h.t, err)
	_, err = p.Enroll(h.ctx(), h.Ticket(u))
	check.Must(h.t, err)
	_, err = p.Backup(h.ctx(), []phone.Account{{Issuer: "Bank", Name: "maria", Secret: "JBSWY3DPEHPK3PXP"}}, phone.BackupOptions{})
	check.Must(h.t, err)
	check.Must(h.t, p.Reinstall(phone.Reinstallation{NewPhone: true}))
	_, err = p.StartRestore(h.ctx(), false)
	check.Must(h.t, err)
}

// ownDevices are the states of the pages on which a device is renamed or removed.
func (h *people) ownDevices() []webtest.State {
	return []webtest.State{
		h.ofVisit("me-rename", func(v visited) { h.me(v.c, v.token, "/rename?id="+v.p.Enrolled.ID) }),
		h.ofVisit("me-rename-wrong", func(v visited) {
			h.me(v.c, v.token, "/rename?id="+v.p.Enrolled.ID)
			v.c.Send(`form[action*="me/rename"]`, map[string]string{"name": " "})
		}),
		h.ofVisit("me-remove", func(v visited) {
			h.Clock.Advance(time.Second)
			second := h.phone(v.u, "Galaxy A56")
			h.me(v.c, v.token, "/remove?id="+second.Enrolled.ID)
		}),
		h.ofVisit("me-remove-closes", func(v visited) { h.me(v.c, v.token, "/remove?id="+v.p.Enrolled.ID) }),
		h.ofVisit("me-remove-last", func(v visited) {
			h.Set("factor.recovery_code", "off")
			h.me(v.c, v.token, "/remove?id="+v.p.Enrolled.ID)
			v.c.Send(`form[action*="me/remove"]`, nil)
			h.Set("factor.recovery_code", "on")
		}),
	}
}

// ownAdds are the states of the page on which a device is added.
func (h *people) ownAdds() []webtest.State {
	adding := func(v visited, what string) {
		h.me(v.c, v.token, "/add?what="+what)
		v.c.Send(`form[action$="me/add"]`, nil)
	}
	list := []webtest.State{
		h.ofVisit("me-add-app-wrong", func(v visited) {
			adding(v, "app")
			secret := v.c.Text(`document.querySelector(".secret").textContent.replace(/\s/g, "")`)
			v.c.Send(`form[action*="me/add/app"]`, map[string]string{"otp": other(webtest.OTPOf(h.t, h.House, secret))})
		}),
		h.ofVisit("me-add-passkey-wrong", func(v visited) {
			adding(v, "passkey")
			v.c.Send(`form[data-passkey=create]`, map[string]string{"credential": "{}"})
		}),
		h.ofVisit("me-add-not-here", func(v visited) {
			h.me(v.c, v.token, "/add?what=app")
			h.Set("factor.otp", "off")
			v.c.Send(`form[action$="me/add"]`, nil)
			h.Set("factor.otp", "on")
		}),
		h.ofVisit("me-added", func(v visited) {
			adding(v, "phone")
			h.Clock.Advance(time.Second)
			uri := v.c.Text(`document.querySelector(".on-phone a").href`)
			webtest.NewHandset(h.t, h.House, "Galaxy A56", device.ReadTicket(uri))
			v.c.Until(`location.pathname.endsWith("/added")`)
		}),
		h.ofVisit("me-added-code-to-save", func(v visited) {
			h.withoutCode(v.u)
			adding(v, "app")
			secret := v.c.Text(`document.querySelector(".secret").textContent.replace(/\s/g, "")`)
			v.c.Send(`form[action*="me/add/app"]`, map[string]string{"otp": webtest.OTPOf(h.t, h.House, secret)})
		}),
	}
	for _, what := range []string{"phone", "app", "passkey", "key"} {
		list = append(list,
			h.ofVisit("me-add-"+what, func(v visited) { h.me(v.c, v.token, "/add?what="+what) }),
			h.ofVisit("me-add-"+what+"-begun", func(v visited) { adding(v, what) }))
	}
	return list
}

// ownProofs are the states of the page that asks for more proof.
func (h *people) ownProofs() []webtest.State {
	prove := "/prove?then=add&about=phone"
	send := func(v visited, way, field, typed string) {
		h.me(v.c, v.token, prove)
		v.c.Send(`form[action*="me/prove/`+way+`"]`, map[string]string{field: typed})
	}
	return []webtest.State{
		h.ofWeak("me-prove", func(v visited) { h.me(v.c, v.token, prove) }),
		h.ofWeak("me-prove-rings", func(v visited) { send(v, "number", "then", "add") }),
		h.ofWeak("me-prove-refused", func(v visited) {
			_, err := h.own.Ring(h.ctx(), v.token, her)
			check.Must(h.t, err)
			v.p.Deny()
			h.me(v.c, v.token, prove)
		}),
		h.ofWeak("me-prove-rung-too-often", func(v visited) {
			request := h.request(v.u)
			h.opened(request)
			for range login.PushesPerMinute {
				_ = h.Logins.AskAgain(h.ctx(), visit(request))
			}
			send(v, "number", "then", "add")
		}),
		h.ofWeak("me-prove-no-phone", func(v visited) {
			h.me(v.c, v.token, prove)
			h.Set("factor.push", "off")
			v.c.Send(`form[action*="me/prove/number"]`, nil)
			h.Set("factor.push", "on")
		}),
		h.ofWeak("me-prove-code-typo", func(v visited) { send(v, "code", "code", "ABC") }),
		h.ofWeak("me-prove-code-wrong", func(v visited) { send(v, "code", "code", wrongCode) }),
		h.ofWeak("me-prove-code-limited", func(v visited) {
			for range 10 {
				_ = h.own.StepUpByCode(h.ctx(), v.token, wrongCode, her)
			}
			h.me(v.c, v.token, prove)
		}),
		h.ofWeak("me-prove-nothing", func(v visited) {
			h.Set("factor.recovery_code", "off")
			h.Set("factor.push", "off")
			h.me(v.c, v.token, prove)
			h.Set("factor.push", "on")
			h.Set("factor.recovery_code", "on")
		}),
	}
}

// added has a session add a code app, so that the next thing asks for another proof.
func (h *people) added(token string) (secret string) {
	h.t.Helper()
	_, err := h.own.Add(h.ctx(), token, device.TypeOTP, her)
	check.Must(h.t, err)
	made, err := h.own.Adding(h.ctx(), token)
	check.Must(h.t, err)
	check.Must(h.t, h.own.ConfirmApp(h.ctx(), token, webtest.OTPOf(h.t, h.House, made.Secret), her))
	h.Clock.Advance(time.Minute) // a code counts once
	return made.Secret
}

// ownOtherProofs are those by what is no phone.
func (h *people) ownOtherProofs() []webtest.State {
	withPasskey := func() string {
		u := h.withPasskey()
		token := h.byCode(u, string(h.code(u)))
		h.added(token)
		return token
	}
	prove := "/prove?then=add&about=phone"
	return []webtest.State{
		{Name: "me-prove-passkey", Reach: func(c *webtest.Tab) { h.me(c, withPasskey(), prove+"&with=passkey") }},
		{Name: "me-prove-passkey-without-script", Silent: true, Reach: func(c *webtest.Tab) { h.me(c, withPasskey(), prove+"&with=passkey") }},
		{Name: "me-prove-passkey-wrong", Reach: func(c *webtest.Tab) {
			h.me(c, withPasskey(), prove+"&with=passkey")
			c.Send(`form[data-passkey=get]`, map[string]string{"credential": "{}"})
		}},
	}
}

// ownCodes are the states of the recovery code.
func (h *people) ownCodes() []webtest.State {
	practise := func(v visited, typed string) {
		h.me(v.c, v.token, "")
		v.c.Send(`form[action*="me/practise"]`, map[string]string{"code": typed})
	}
	drawn := func(v visited) {
		h.me(v.c, v.token, "/code")
		v.c.Send(`form[action*="me/code/new"]`, nil)
	}
	return []webtest.State{
		h.ofVisit("me-code-new", func(v visited) { h.me(v.c, v.token, "/code") }),
		h.ofVisit("me-code-first", func(v visited) {
			h.withoutCode(v.u)
			h.me(v.c, v.token, "/code")
		}),
		h.ofVisit("me-code-drawn", drawn),
		h.ofVisit("me-code-wrong", func(v visited) {
			drawn(v)
			v.c.Send("form.confirm", map[string]string{"end": "0000"})
		}),
		h.ofVisit("me-code-counts", func(v visited) {
			check.Must(h.t, h.own.StepUpByCode(h.ctx(), v.token, v.p.Enrolled.RecoveryCode, her))
			h.me(v.c, v.token, "/code")
		}),
		h.ofVisit("me-code-to-save", func(v visited) {
			check.Must(h.t, h.own.StepUpByCode(h.ctx(), v.token, v.p.Enrolled.RecoveryCode, her))
			h.me(v.c, v.token, "")
		}),
		h.ofVisit("me-practised-right", func(v visited) { practise(v, v.p.Enrolled.RecoveryCode) }),
		h.ofVisit("me-practised-wrong", func(v visited) { practise(v, wrongCode) }),
		h.ofVisit("me-practised-limited", func(v visited) {
			for range 10 {
				_, _ = h.own.Practise(h.ctx(), v.token, wrongCode, her)
			}
			h.me(v.c, v.token, "")
		}),
	}
}

// ownDenials are the states of "this was not me".
func (h *people) ownDenials() []webtest.State {
	second := func(v visited) string {
		h.Clock.Advance(time.Second)
		return h.phone(v.u, "Galaxy A56").Enrolled.ID
	}
	return []webtest.State{
		h.ofVisit("me-deny", func(v visited) { h.me(v.c, v.token, "/not-me?line="+second(v)) }),
		h.ofVisit("me-denied", func(v visited) {
			line := second(v)
			_, err := h.own.NotMe(h.ctx(), v.token, line, her)
			check.Must(h.t, err)
			h.me(v.c, v.token, "/not-me?line="+line)
		}),
		h.ofVisit("me-denied-reported", func(v visited) {
			lines, _, err := h.own.Lately(h.ctx(), v.token, "")
			check.Must(h.t, err)
			at := slices.IndexFunc(lines, func(l own.Line) bool { return l.Type == audit.EnrollComplete })
			_, err = h.own.NotMe(h.ctx(), v.token, lines[at].ID, her)
			check.Must(h.t, err)
			h.me(v.c, v.token, "/not-me?line="+lines[at].ID)
		}),
		h.ofVisit("me-denied-enough", func(v visited) {
			h.lines(v, ordinary)
			h.lines(v, alarming)
			h.lines(v, ordinary)
			before := ""
			said := 0
			for said < 20 {
				lines, _, err := h.own.Lately(h.ctx(), v.token, before)
				check.Must(h.t, err)
				for _, l := range lines {
					if _, err := h.own.NotMe(h.ctx(), v.token, l.ID, her); err == nil {
						said++
					}
				}
				before = lines[len(lines)-1].ID
			}
			line := second(v)
			h.me(v.c, v.token, "/not-me?line="+line)
			v.c.Send(`form[action*="me/not-me"]`, nil)
		}),
	}
}
