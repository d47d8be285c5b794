package login_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// pageOf asks for a hosted page of a user for the client "bank".
func (h *house) pageOf(id string, change ...func(*login.PageRequest)) string {
	h.t.Helper()
	request, err := h.RequestPage(context.Background(), pageRequest(id, change...))
	must(h.t, err)
	return request
}

func pageRequest(id string, change ...func(*login.PageRequest)) login.PageRequest {
	r := login.PageRequest{
		Client:    "bank",
		Name:      "Hafenlicht Bank",
		User:      user.User{ID: id},
		Purpose:   login.PageLogin,
		Redirect:  "https://bank.example.com/back?from=mfa",
		State:     "planted-state",
		Challenge: challengeOf(verifier),
		IP:        "198.51.100.7",
		Actor:     audit.ByUser().WithOrigin("192.0.2.1", ""),
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func manages(r *login.PageRequest) { r.Purpose = login.PageManage }

// visit is a page as one browser has it open.
type visit struct {
	login.Visit
	h *house
}

func (h *house) visit(request, browser string) visit {
	return visit{login.Visit{
		Request: request,
		Browser: browser,
		Actor:   audit.ByUser().WithOrigin("192.0.2.1", ""),
	}, h}
}

func (v visit) open() login.PageView {
	v.h.t.Helper()
	view, err := v.h.OpenPage(context.Background(), v.Visit)
	must(v.h.t, err)
	return view
}

// is fails the test unless the page is in a state, and returns it.
func (v visit) is(want login.PageState) login.PageView {
	v.h.t.Helper()
	view := v.open()
	if view.State != want {
		v.h.t.Fatalf("the page %s, want %s: %+v", view.State, want, view)
	}
	return view
}

// approvedBy has a phone approve what the page has asked for.
func (v visit) approvedBy(p *phone) {
	v.h.t.Helper()
	number := v.open().Number
	must(v.h.t, p.approve(p.one(), number))
}

func (v visit) finish() login.Finished {
	v.h.t.Helper()
	f, err := v.h.FinishPage(context.Background(), v.Visit)
	must(v.h.t, err)
	return f
}

func (h *house) exchangePage(code string, change ...func(*login.PageExchange)) (login.Outcome, error) {
	e := login.PageExchange{
		Client:   "bank",
		Code:     code,
		Redirect: "https://bank.example.com/back?from=mfa",
		Verifier: verifier,
	}
	for _, c := range change {
		c(&e)
	}
	return h.ExchangePage(context.Background(), e)
}

func TestPage_AsksThePhoneAndGivesTheClientTheOutcomeOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada", func(r *login.PageRequest) { r.Message = "pay 5" }), "firefox")
		view := v.is(login.PageAsks)
		if view.Asking != login.AskingWaits || len(view.Number) != 6 || view.Client != "Hafenlicht Bank" || view.Account != "ada" || view.Message != "pay 5" {
			h.t.Errorf("%+v", view)
		}
		if again := v.open(); again.Number != view.Number {
			h.t.Errorf("a reload shows %s, and then %s", view.Number, again.Number)
		}
		m := p.one()
		if !m.NumberMatching || m.ClientName != "Hafenlicht Bank" || m.BindingMessage != "pay 5" || m.Purpose != "" {
			h.t.Errorf("the phone is asked %+v", m)
		}
		_, err := h.FinishPage(context.Background(), v.Visit)
		expect(h.t, "before the answer", err, login.ErrUndecided)
		must(h.t, p.approve(m, view.Number))
		v.is(login.PageReady)
		f := v.finish()
		if f.Redirect != "https://bank.example.com/back?from=mfa" || f.State != "planted-state" || f.Code == "" || f.Refused || f.Manages || f.Remember != "" {
			h.t.Errorf("%+v", f)
		}
		o, err := h.exchangePage(f.Code)
		must(h.t, err)
		if o.UserID != "ada" || o.Login.Method != login.ByKey || o.Login.By != p.Enrolled.ID {
			h.t.Errorf("%+v", o)
		}
		_, err = h.exchangePage(f.Code)
		expect(h.t, "the code again", err, login.ErrGrant)
		v.is(login.PageFinished)
		_, err = h.FinishPage(context.Background(), v.Visit)
		expect(h.t, "the page again", err, login.ErrPage)
		h.expectEvents("ada", audit.AuthSucceed, 1)
		h.view(func(tx *storage.Tx) error {
			u, err := user.Find(tx, "ada")
			if err == nil && u.Logins != 1 {
				h.t.Errorf("%d logins are counted", u.Logins)
			}
			return err
		})
	})
}

func TestPage_BelongsToTheFirstBrowserThatOpensIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		request := h.pageOf("ada")
		_, err := h.OpenPage(context.Background(), h.visit(request, "").Visit)
		expect(h.t, "a reader of links, without cookies", err, login.ErrPageCookies)
		if asked := p.pull(); len(asked) != 0 {
			h.t.Errorf("it made the phone ring: %+v", asked)
		}
		v := h.visit(request, "firefox")
		number := v.open().Number
		thief := h.visit(request, "chromium")
		_, err = h.OpenPage(context.Background(), thief.Visit)
		expect(h.t, "a second browser", err, login.ErrPageTaken)
		for name, step := range map[string]func() error{
			"asks again":   func() error { return h.AskAgain(context.Background(), thief.Visit) },
			"types a code": func() error { return h.TypePageOTP(context.Background(), thief.Visit, p.OTP(0)) },
			"types the recovery code": func() error {
				return h.TypePageCode(context.Background(), thief.Visit, p.Enrolled.RecoveryCode)
			},
			"remembers": func() error { return h.RememberPage(context.Background(), thief.Visit, true) },
			"goes on":   func() error { return h.GoOn(context.Background(), thief.Visit) },
			"confirms":  func() error { return h.ConfirmPageCode(context.Background(), thief.Visit, "0000") },
			"asks for a passkey": func() error {
				_, err := h.ChallengePagePasskey(context.Background(), thief.Visit)
				return err
			},
			"sets up a phone": func() error {
				_, err := h.SetUpPhone(context.Background(), thief.Visit, "")
				return err
			},
			"cancels": func() error {
				_, err := h.CancelPage(context.Background(), thief.Visit)
				return err
			},
			"finishes": func() error {
				_, err := h.FinishPage(context.Background(), thief.Visit)
				return err
			},
		} {
			expect(h.t, "a second browser "+name, step(), login.ErrPageTaken)
		}
		must(h.t, p.approve(p.one(), number))
		_, err = h.FinishPage(context.Background(), thief.Visit)
		expect(h.t, "a second browser, after the answer", err, login.ErrPageTaken)
		v.finish()
	})
}

func TestPage_CodeIsBoundToClientRedirectAndVerifierForAMinute(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "firefox")
		v.approvedBy(p)
		first := v.finish()
		f := v.finish() // the first answer was lost
		if f.Code == first.Code {
			h.t.Error("the same code again")
		}
		for name, change := range map[string]func(*login.PageExchange){
			"another client":   func(e *login.PageExchange) { e.Client = "shop" },
			"another redirect": func(e *login.PageExchange) { e.Redirect = "https://bank.example.com/back" },
			"another verifier": func(e *login.PageExchange) { e.Verifier = strings.Repeat("a", 43) },
			"no verifier":      func(e *login.PageExchange) { e.Verifier = "" },
			"the first code":   func(e *login.PageExchange) { e.Code = first.Code },
			"no secret":        func(e *login.PageExchange) { e.Code, _, _ = strings.Cut(e.Code, ".") },
			"no code":          func(e *login.PageExchange) { e.Code = "" },
			"the request":      func(e *login.PageExchange) { e.Code = v.Request },
		} {
			_, err := h.exchangePage(f.Code, change)
			expect(h.t, name, err, login.ErrGrant)
		}
		h.clock.Advance(login.PageCodeLife)
		_, err := h.exchangePage(f.Code)
		expect(h.t, "after a minute", err, login.ErrGrant)
		_, err = h.exchangePage(v.finish().Code)
		must(h.t, err)
	})
}

func TestPage_CodeIsNoneOnceThePhoneOrTheUserIsOut(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "firefox")
		v.approvedBy(p)
		f := v.finish()
		h.block("ada", true)
		_, err := h.exchangePage(f.Code)
		expect(h.t, "blocked", err, login.ErrBlocked)
		v.is(login.PageBlocked)
		h.block("ada", false)
		h.update(func(tx *storage.Tx) error {
			e, err := device.Get(tx, h.uidIn(tx, "ada"), p.Enrolled.ID)
			must(h.t, err)
			return device.SetStatus(tx, h.uidIn(tx, "ada"), e, device.Suspended)
		})
		_, err = h.exchangePage(f.Code)
		expect(h.t, "with the phone suspended", err, login.ErrDenied)
		v.is(login.PageOver)
		h.reset("ada")
		_, err = h.exchangePage(f.Code)
		expect(h.t, "reset", err, login.ErrGrant)
		_, err = h.OpenPage(context.Background(), v.Visit)
		expect(h.t, "the page of who was reset", err, login.ErrPage)
	})
}

func TestPage_SaysHowAnApprovalEndsAndAsksAgainByAnotherNumber(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "firefox")
		again := func(how login.Asking) login.PageView {
			h.t.Helper()
			if view := v.is(login.PageAsks); view.Asking != how || view.Number != "" {
				h.t.Fatalf("%+v, want %s and no number", view, how)
			}
			must(h.t, h.AskAgain(context.Background(), v.Visit))
			return v.open()
		}
		first := v.open()
		old := p.one()
		must(h.t, h.AskAgain(context.Background(), v.Visit))
		v.open()
		expect(h.t, "the number before", p.approve(old, first.Number), login.ErrNoLogin)
		expect(h.t, "a wrong number", p.approve(p.one(), "12"), login.ErrNumber)
		again(login.AskingWrong)
		must(h.t, p.deny(p.one(), ""))
		again(login.AskingDenied)
		h.clock.Advance(login.DefaultLife)
		if len(p.pull()) != 0 {
			h.t.Error("the phone is asked after the time is up")
		}
		view := again(login.AskingExpired)
		must(h.t, p.approve(p.one(), view.Number))
		v.finish()
		expect(h.t, "another number, when it is decided", h.AskAgain(context.Background(), v.Visit), login.ErrGrant)
	})
}

func TestPage_PastTheBudgetIsSilentAndPastThePaceRefused(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "firefox")
		seen := []login.Delivery{v.open().Delivery}
		var err error
		for err == nil {
			if err = h.AskAgain(context.Background(), v.Visit); err == nil {
				seen = append(seen, v.open().Delivery)
			}
		}
		expect(h.t, "too often", err, login.ErrTooMany)
		if len(seen) != login.PushesPerMinute || seen[4] == login.Silent || seen[5] != login.Silent {
			h.t.Errorf("%v", seen)
		}
	})
}

func TestPage_TakesAOneTimeCodeAndAPasskey(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		app := h.codeApp("ada")
		v := h.visit(h.pageOf("ada"), "firefox")
		if view := v.is(login.PageAsks); !view.OTP || view.Asks || view.Passkey || view.Asking != login.AskingNobody {
			h.t.Errorf("%+v", view)
		}
		expect(h.t, "a typing mistake", h.TypePageOTP(context.Background(), v.Visit, "12"), otp.ErrTypo)
		expect(h.t, "a wrong code", h.TypePageOTP(context.Background(), v.Visit, app.Code(10*otp.Period*time.Second)), device.ErrWrongOTP)
		must(h.t, h.TypePageOTP(context.Background(), v.Visit, app.Code(0)))
		o, err := h.exchangePage(v.finish().Code)
		must(h.t, err)
		if o.Login.Method != login.ByOTP {
			h.t.Errorf("%+v", o)
		}
		_, err = h.Collect(context.Background(), "bank", v.Request)
		expect(h.t, "the page's login by a grant of the client", err, login.ErrGrant)
	})
}

func TestPage_RecoveryCodeShowsTheNextUntilItIsConfirmed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "firefox")
		v.open()
		expect(h.t, "a typing mistake", h.TypePageCode(context.Background(), v.Visit, "123"), recovery.ErrTypo)
		expect(h.t, "a wrong code", h.TypePageCode(context.Background(), v.Visit, wrongCode), recovery.ErrWrongCode)
		must(h.t, h.TypePageCode(context.Background(), v.Visit, p.Enrolled.RecoveryCode))
		must(h.t, h.TypePageCode(context.Background(), v.Visit, p.Enrolled.RecoveryCode)) // the answer was lost
		if asked := p.pull(); len(asked) != 0 {
			h.t.Errorf("the phone is asked still: %+v", asked)
		}
		view := v.is(login.PageSaves)
		if next := v.open().Next; len(view.Next) != 24 || next != view.Next {
			h.t.Errorf("shown %q, and then %q", view.Next, next)
		}
		_, err := h.FinishPage(context.Background(), v.Visit)
		expect(h.t, "unsaved", err, login.ErrUnsaved)
		expect(h.t, "to go on unsaved", h.GoOn(context.Background(), v.Visit), login.ErrUnsaved)
		_, err = h.SetUpPhone(context.Background(), v.Visit, "")
		expect(h.t, "a phone unsaved", err, login.ErrUnsaved)
		expect(h.t, "another end", h.ConfirmPageCode(context.Background(), v.Visit, "0000"), device.ErrCodeEnd)
		must(h.t, h.ConfirmPageCode(context.Background(), v.Visit, string(view.Next[20:])))
		must(h.t, h.ConfirmPageCode(context.Background(), v.Visit, string(view.Next[20:])))
		offers := v.is(login.PageOffers)
		if offers.Next != "" || len(offers.Phones) != 1 || offers.Phones[0].ID != p.Enrolled.ID {
			h.t.Errorf("%+v", offers)
		}
		must(h.t, h.GoOn(context.Background(), v.Visit))
		o, err := h.exchangePage(v.finish().Code)
		must(h.t, err)
		if o.Login.Method != login.ByRecoveryCode {
			h.t.Errorf("%+v", o)
		}
		h.view(func(tx *storage.Tx) error {
			holding, err := recovery.HoldingOf(tx, h.uidIn(tx, "ada"))
			if !holding.Arrived {
				h.t.Errorf("%+v", holding)
			}
			return err
		})
	})
}

// enrolBy enrols a phone on the enrolment page of a ticket, and confirms the recovery code that the page shows.
func (h *house) enrolBy(ticket, identifier string) *devicetest.Phone {
	h.t.Helper()
	ctx := context.Background()
	started, err := h.devices.StartTicket(ctx, ticket, "", "page")
	must(h.t, err)
	p := h.home.NewPhone(identifier)
	must(h.t, p.Enroll(started.TxID))
	return p
}

func TestPage_NewPhoneTakesThePlaceOfTheOldOneAndTheLoginGoesOn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		old := h.enroll("ada", "a")
		other := h.enroll("ada", "b")
		v := h.visit(h.pageOf("ada"), "firefox")
		v.open()
		must(h.t, h.TypePageCode(ctx, v.Visit, old.Enrolled.RecoveryCode))
		must(h.t, h.ConfirmPageCode(ctx, v.Visit, string(v.open().Next[20:])))
		_, err := h.SetUpPhone(ctx, v.Visit, "dev_0123456789abcdef")
		expect(h.t, "for a stranger's phone", err, device.ErrNoEnrollment)
		ticket, err := h.SetUpPhone(ctx, v.Visit, other.Enrolled.ID)
		must(h.t, err)
		again, err := h.SetUpPhone(ctx, v.Visit, old.Enrolled.ID)
		must(h.t, err)
		if again != ticket {
			h.t.Error("another ticket")
		}
		shown, err := h.devices.OpenTicket(ctx, ticket, "page")
		must(h.t, err)
		if shown.Hosted != v.Request || shown.Holding.ByNobody() {
			h.t.Errorf("%+v", shown)
		}
		p := h.enrolBy(ticket, "c")
		old.ExpectStatus(device.Retired)
		other.ExpectStatus(device.Active)
		if via := p.Enrollment().Via; via != device.ViaEnrolmentToken {
			h.t.Errorf("enrolled via %s", via)
		}
		v.is(login.PageReady)
		_, err = h.SetUpPhone(ctx, v.Visit, "")
		expect(h.t, "a second phone", err, login.ErrEnrolment)
		_, err = h.exchangePage(v.finish().Code)
		must(h.t, err)
	})
}

func TestPage_TicketOfANewPhoneEndsWithItsProofAndItsTime(t *testing.T) {
	for name, end := range map[string]func(h *house){
		"a block": func(h *house) { h.block("ada", true) },
		"another code": func(h *house) {
			_, err := h.home.Admins.Regenerate(context.Background(), "ada", devicetest.Admin)
			must(h.t, err)
		},
		"20 minutes": func(h *house) { h.clock.Advance(20 * time.Minute) },
		"a reset":    func(h *house) { h.reset("ada") },
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				ctx := context.Background()
				old := h.enroll("ada", "a")
				v := h.visit(h.pageOf("ada"), "firefox")
				v.open()
				must(h.t, h.TypePageCode(ctx, v.Visit, old.Enrolled.RecoveryCode))
				must(h.t, h.ConfirmPageCode(ctx, v.Visit, string(v.open().Next[20:])))
				ticket, err := h.SetUpPhone(ctx, v.Visit, old.Enrolled.ID)
				must(h.t, err)
				if name == "20 minutes" {
					h.clock.Advance(15 * time.Minute)
				}
				started, err := h.devices.StartTicket(ctx, ticket, "", "page")
				must(h.t, err)
				end(h)
				expect(h.t, "the phone", h.home.NewPhone("c").Enroll(started.TxID), device.ErrTicket)
				_, err = h.SetUpPhone(ctx, v.Visit, "")
				if err == nil {
					h.t.Error("a phone can be set up still")
				}
			})
		})
	}
}

func TestPage_NewUserIsLedThroughEnrolmentAndBackIntoTheLogin(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		v := h.visit(h.pageOf("ada"), "firefox")
		view := v.is(login.PageEnrols)
		if view.Ticket == "" || v.open().Ticket != view.Ticket {
			h.t.Fatalf("%+v", view)
		}
		h.clock.Advance(9 * time.Minute)
		p := h.enrolBy(view.Ticket, "a")
		h.clock.Advance(9 * time.Minute) // she writes her code down
		code, err := h.devices.ShowCode(ctx, view.Ticket, "page")
		must(h.t, err)
		must(h.t, h.devices.ConfirmCode(ctx, view.Ticket, "page", string(code[20:])))
		v.is(login.PageReady)
		f := v.finish()
		o, err := h.exchangePage(f.Code)
		must(h.t, err)
		if o.UserID != "ada" || o.Login.By != p.Enrolled.ID || o.Login.Method != login.ByKey {
			h.t.Errorf("%+v", o)
		}
	})
}

func TestPage_NewUserNeedsATicketWhereThePolicyAsksForOne(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		h.set("enrollment.after_reset", "ticket")
		_, err := h.RequestPage(ctx, pageRequest("ada"))
		expect(h.t, "without", err, login.ErrTicketRequired)
		ticket := h.home.Ticket("ada")
		v := h.visit(h.pageOf("ada", func(r *login.PageRequest) { r.Ticket = ticket }), "firefox")
		if view := v.is(login.PageEnrols); view.Ticket != ticket {
			h.t.Errorf("%+v", view)
		}
		shown, err := h.devices.OpenTicket(ctx, ticket, "page")
		must(h.t, err)
		if shown.Hosted != v.Request {
			h.t.Errorf("it leads back to %q", shown.Hosted)
		}
		h.enrolBy(ticket, "a")
		_, err = h.exchangePage(v.finish().Code)
		must(h.t, err)
	})
}

func TestPage_RefusesWhatItCannotServe(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		h.enroll("ada", "a")
		for name, change := range map[string]func(*login.PageRequest){
			"no purpose":          func(r *login.PageRequest) { r.Purpose = "" },
			"no challenge":        func(r *login.PageRequest) { r.Challenge = "" },
			"a plain challenge":   func(r *login.PageRequest) { r.Challenge = "plain" },
			"bits that are extra": func(r *login.PageRequest) { r.Challenge = strings.Repeat("_", 43) },
			"a long state":        func(r *login.PageRequest) { r.State = strings.Repeat("s", 2049) },
		} {
			_, err := h.RequestPage(ctx, pageRequest("ada", change))
			expect(h.t, name, err, login.ErrPageRequest)
		}
		h.block("ada", true)
		_, err := h.RequestPage(ctx, pageRequest("ada"))
		expect(h.t, "blocked", err, login.ErrBlocked)
		for _, id := range []string{"", "hrq_", "hrq_AAAA", strings.Repeat("x", 5000)} {
			_, err := h.OpenPage(ctx, h.visit(id, "firefox").Visit)
			expect(h.t, id, err, login.ErrPage)
		}
	})
}

func TestPage_IsOverAfterTenMinutesAndLeadsBack(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "firefox")
		unopened := h.visit(h.pageOf("ada"), "firefox")
		v.open()
		h.clock.Advance(10 * time.Minute)
		v.is(login.PageOver)
		unopened.is(login.PageOver)
		if asked := p.pull(); len(asked) != 0 {
			h.t.Errorf("the phone is asked: %+v", asked)
		}
		if err := h.TypePageOTP(ctx, v.Visit, p.OTP(0)); !errors.Is(err, login.ErrMFATokenExpired) {
			h.t.Errorf("a code: %v", err)
		}
		_, err := h.FinishPage(ctx, v.Visit)
		expect(h.t, "to finish", err, login.ErrDenied)
		f, err := h.CancelPage(ctx, v.Visit)
		must(h.t, err)
		if !f.Refused || f.Code != "" || f.State != "planted-state" {
			h.t.Errorf("%+v", f)
		}
	})
}

func TestPage_CancelledAsksNobodyAndGivesNoCode(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "firefox")
		number := v.open().Number
		m := p.one()
		for range 2 {
			f, err := h.CancelPage(ctx, v.Visit)
			must(h.t, err)
			if !f.Refused || f.Code != "" || f.Redirect == "" {
				h.t.Errorf("%+v", f)
			}
		}
		expect(h.t, "an answer", p.approve(m, number), login.ErrNoLogin)
		v.is(login.PageCancelled)
		_, err := h.FinishPage(ctx, v.Visit)
		expect(h.t, "to finish", err, login.ErrDenied)
		h.expectEvents("ada", audit.AuthSucceed, 0)
	})
}

func TestPage_RemembersTheBrowserThatWantsIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "firefox")
		view := v.open()
		if !view.Offers || view.Remember {
			h.t.Errorf("%+v", view)
		}
		must(h.t, h.RememberPage(ctx, v.Visit, true))
		must(h.t, p.approve(p.one(), view.Number))
		first := v.finish().Remember
		token := v.finish().Remember // the first answer was lost
		if token == "" || first == "" || token == first {
			h.t.Fatalf("%q, then %q", first, token)
		}
		proved := h.store.Now()
		h.clock.Advance(time.Hour)

		next := h.visit(h.pageOf("ada"), "firefox")
		next.Remembered = []string{"rmb_no.token", first, token}
		next.is(login.PageReady)
		if asked := p.pull(); len(asked) != 0 {
			h.t.Errorf("the phone is asked: %+v", asked)
		}
		f := next.finish()
		if f.Remember != "" {
			h.t.Error("a remembered browser is remembered anew")
		}
		o, err := h.exchangePage(f.Code)
		must(h.t, err)
		if o.Login.Method != login.ByKey || !o.Decided.Equal(proved) {
			h.t.Errorf("%s at %s, want what was proven first, at %s", o.Login.Method, o.Decided, proved)
		}
		own := h.visit(h.pageOf("ada", manages), "firefox")
		own.Remembered = []string{token}
		own.is(login.PageAsks)
		shop := h.visit(h.pageOf("ada", func(r *login.PageRequest) { r.Client = "shop" }), "firefox")
		shop.Remembered = []string{token}
		shop.is(login.PageAsks)
		h.set("remember.offer", "off")
		if view := h.visit(h.pageOf("ada"), "firefox").open(); view.Offers {
			h.t.Errorf("%+v", view)
		}
	})
}

func TestPage_OffersToRememberAsSet(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.enroll("ada", "a")
		h.set("remember.ticked", "on")
		if view := h.visit(h.pageOf("ada"), "firefox").open(); !view.Offers || !view.Remember {
			h.t.Errorf("%+v", view)
		}
		if view := h.visit(h.pageOf("ada", manages), "firefox").open(); view.Offers || view.Remember {
			h.t.Errorf("a person's own page: %+v", view)
		}
	})
}

func TestPage_ManagedIsToldToThePhoneAndHandedOver(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada", manages), "firefox")
		number := v.open().Number
		m := p.one()
		if m.Purpose != "manage" || m.BindingMessage == "" {
			h.t.Errorf("the phone is asked %+v", m)
		}
		must(h.t, p.approve(m, number))
		f := v.finish()
		if !f.Manages || f.Code != "" {
			h.t.Errorf("%+v", f)
		}
		take := func(by login.Visit) (got login.Managed, err error) {
			err = h.store.Update(context.Background(), func(tx *storage.Tx) error {
				got, err = h.TakeManaged(tx, by)
				return err
			})
			return got, err
		}
		_, err := take(h.visit(v.Request, "chromium").Visit)
		expect(h.t, "another browser", err, login.ErrPageTaken)
		got, err := take(v.Visit)
		must(h.t, err)
		if got.UserID != "ada" || got.Method != login.ByKey || got.Proof.Enrollment != p.Enrolled.ID || got.Proof.Cause == "" ||
			got.Client != "bank" || got.ClientName != "Hafenlicht Bank" || got.State != "planted-state" || got.Redirect != f.Redirect || got.Proved.IsZero() {
			h.t.Errorf("%+v", got)
		}
		h.view(func(tx *storage.Tx) error { return h.MayEnrolBy(tx, got.UID, got.Method, got.Proof.Enrollment) })
		again, err := take(v.Visit) // the answer was lost
		must(h.t, err)
		if again != got {
			h.t.Errorf("%+v, and then %+v", got, again)
		}
		h.clock.Advance(login.PageCodeLife)
		_, err = take(v.Visit)
		expect(h.t, "after a minute", err, login.ErrPage)
		other := h.visit(h.pageOf("ada"), "firefox")
		other.approvedBy(p)
		other.finish()
		_, err = take(other.Visit)
		expect(h.t, "a login", err, login.ErrPage)
	})
}

func TestPage_ManagedIsNeverTapped(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enrollTap("ada", "a")
		h.set("approval.presence", "prefer-number")
		v := h.visit(h.pageOf("ada", manages), "firefox")
		if view := v.is(login.PageAsks); view.Asks || view.Asking != login.AskingNobody || !view.OTP {
			h.t.Errorf("%+v", view)
		}
		expect(h.t, "a tap", h.AskAgain(context.Background(), v.Visit), login.ErrTapEnrols)
		if asked := p.pull(); len(asked) != 0 {
			h.t.Errorf("the phone is asked: %+v", asked)
		}
		if view := h.visit(h.pageOf("ada"), "firefox").open(); view.Asking != login.AskingWaits || view.Number != "" {
			h.t.Errorf("a login: %+v", view)
		}
	})
}

func TestPage_OfAUserWithoutAnAuthenticatorAsksForTheCodeAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		must(h.t, h.devices.Leave(context.Background(), p.Proof(), devicetest.ByPhone))
		v := h.visit(h.pageOf("ada"), "firefox")
		if view := v.is(login.PageAsks); !view.OnlyCode || !view.Code || view.Asks || view.OTP || view.Offers {
			h.t.Errorf("%+v", view)
		}
		must(h.t, h.TypePageCode(context.Background(), v.Visit, p.Enrolled.RecoveryCode))
		must(h.t, h.ConfirmPageCode(context.Background(), v.Visit, string(v.open().Next[20:])))
		ticket, err := h.SetUpPhone(context.Background(), v.Visit, "")
		must(h.t, err)
		h.enrolBy(ticket, "b")
		v.finish()
	})
}

func TestPage_KeepsItsSecretsSealedAndHashed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "planted-browser")
		v.approvedBy(p)
		code := v.finish().Code
		_, secret, _ := strings.Cut(code, ".")
		h.scan(func(key, value string) {
			for _, planted := range []string{"planted-state", "planted-browser", secret, v.Request} {
				if strings.Contains(value, planted) || strings.Contains(key, planted) {
					h.t.Errorf("%q is in the store in plain: %s", planted, value)
				}
			}
		})
	})
}

func TestPage_SurvivesARestartAtEveryStep(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		request := h.pageOf("ada")
		h.restart()
		number := h.visit(request, "firefox").open().Number
		h.restart()
		p.h = h
		must(h.t, p.approve(p.one(), number))
		h.restart()
		f := h.visit(request, "firefox").finish()
		h.restart()
		_, err := h.exchangePage(f.Code)
		must(h.t, err)
	})
}

func TestPage_WaitEndsWithTheAnswer(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "firefox")
		view := v.open()
		got := make(chan login.PageView, 1)
		go func() {
			view, err := h.AwaitPage(context.Background(), v.Visit, view.Mark, time.Hour)
			if err != nil {
				h.t.Error(err)
			}
			got <- view
		}()
		must(h.t, p.approve(p.one(), view.Number))
		if view := <-got; view.State != login.PageReady {
			h.t.Errorf("%+v", view)
		}
	})
}

// Only one of two servers, or tabs, that finish at once gives a code that counts.
func TestPage_OfTwoCodesTheLastCounts(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		v := h.visit(h.pageOf("ada"), "firefox")
		v.approvedBy(p)
		codes := make(chan string, 8)
		for range cap(codes) {
			go func() {
				f, err := h.FinishPage(context.Background(), v.Visit)
				if err != nil {
					h.t.Error(err)
				}
				codes <- f.Code
			}()
		}
		var all []string
		for range cap(codes) {
			all = append(all, <-codes)
		}
		slices.Sort(all)
		counted := 0
		for _, code := range all {
			if _, err := h.exchangePage(code); err == nil {
				counted++
			}
		}
		if counted != 1 {
			h.t.Errorf("%d codes of %d counted", counted, len(all))
		}
	})
}
