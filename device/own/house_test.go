package own_test

import (
	"context"
	"errors"
	"testing"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/own"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

var (
	ctx  = context.Background()
	must = check.Must
	her  = audit.ByUser().WithOrigin("192.0.2.1", "Firefox")
)

// house is the service with a user, "ada", and what lets her in.
type house struct {
	*own.Service
	*devicetest.House
	t *testing.T
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(newHouse(t, o)) })
}

func newHouse(t *testing.T, o ground.Options) *house {
	t.Helper()
	h := &house{House: devicetest.Open(t, o), t: t}
	h.build()
	return h
}

func (h *house) build() {
	h.Service = own.New(h.Store, h.House.Ring, h.Codes, h.Devices, h.Logins, h.Restores)
}

// restart closes the store and opens it again.
func (h *house) restart() {
	h.t.Helper()
	h.Restart(0)
	h.build()
}

// phone enrols a phone of ada's that matches numbers.
func (h *house) phone(name string) *devicetest.Phone {
	h.t.Helper()
	p := h.NewPhone(name)
	p.In.Name = name
	p.In.Capabilities = []string{device.NumberMatching}
	must(h.t, p.Enroll(h.Ticket("ada")))
	return p
}

// app enrols an app of ada's that shows one-time codes and does no more.
func (h *house) app() *devicetest.CodeApp {
	h.t.Helper()
	ticket := h.Ticket("ada")
	a := h.NewCodeApp(ticket)
	_, err := h.Devices.ConfirmOTP(ctx, ticket, a.Code(0), her)
	must(h.t, err)
	return a
}

// start begins a login of ada's by grant, as a hosted request does.
func (h *house) start() login.Grant {
	h.t.Helper()
	started, err := h.Logins.StartMFA(ctx, login.MFAStart{
		Client: "bank",
		Name:   "The bank",
		User:   user.User{ID: "ada"},
		IP:     "198.51.100.7",
		Actor:  her,
	})
	must(h.t, err)
	pass, err := h.Logins.ReadMFAToken(started.Token)
	must(h.t, err)
	return login.Grant{Client: "bank", Pass: pass, Actor: her}
}

// approve has a phone answer what it is asked, with a number.
func (h *house) approve(p *devicetest.Phone, number string) {
	h.t.Helper()
	list, err := h.Logins.Approvals(ctx, p.Proof(), nil, 0)
	must(h.t, err)
	for _, m := range list {
		now := h.Clock.Wall().Unix()
		claims := map[string]any{
			"iss": p.In.Identifier, "sub": m.Challenge, "aud": devicetest.PublicURL + "/appliance-mfa/api/resolve-transaction",
			"iat": now, "exp": now + 30, "auth0_guardian_method": "push", "auth0_guardian_accepted": true,
		}
		if number != "" {
			claims["tutela_number"] = number
		}
		must(h.t, h.Logins.Answer(ctx, m.TransactionToken, p.Sign(claims), her))
	}
	if len(list) == 0 {
		h.t.Fatalf("%s is asked nothing", p.In.Name)
	}
}

// byNumber satisfies a login by a number that a phone is shown.
func (h *house) byNumber(p *devicetest.Phone) login.Grant {
	h.t.Helper()
	g := h.start()
	asked, err := h.Logins.Challenge(ctx, login.Challenge{Pass: g.Pass, Push: true})
	must(h.t, err)
	h.approve(p, asked.Number)
	return g
}

// byCode satisfies a login by the recovery code, and returns the next one.
func (h *house) byCode(code recovery.Code) (login.Grant, recovery.Code) {
	h.t.Helper()
	g := h.start()
	o, err := h.Logins.RedeemCode(ctx, g, string(code))
	must(h.t, err)
	return g, o.Next
}

// byPasskey satisfies a login by a passkey.
func (h *house) byPasskey(a *devicetest.Authenticator) login.Grant {
	h.t.Helper()
	g := h.start()
	asked, err := h.Logins.Challenge(ctx, login.Challenge{Pass: g.Pass, Passkey: true})
	must(h.t, err)
	_, err = h.Logins.RedeemPasskey(ctx, g, a.Get(asked.Options))
	must(h.t, err)
	return g
}

// tryOpen opens the page by the login of a grant, as a hosted request does that is finished.
func (h *house) tryOpen(g login.Grant) (string, error) {
	h.t.Helper()
	uid, key, ok := h.House.Ring.ParseID("mfa_", g.Pass.Login)
	if !ok {
		h.t.Fatal("this is no login")
	}
	return h.Open(ctx, func(*storage.Tx) (own.Finished, error) {
		return own.Finished{
			UID:        uid,
			Login:      key,
			ClientName: "The bank",
			Exit:       own.Exit{Redirect: "https://bank.example/back", State: "x"},
		}, nil
	}, her)
}

func (h *house) open(g login.Grant) string {
	h.t.Helper()
	token, err := h.tryOpen(g)
	must(h.t, err)
	return token
}

// stepUp steps a session up by a number that a phone is shown.
func (h *house) stepUp(token string, p *devicetest.Phone) {
	h.t.Helper()
	rung, err := h.Service.Ring(ctx, token, her)
	must(h.t, err)
	h.approve(p, rung.Number)
	must(h.t, h.StepUpByNumber(ctx, token, her))
}

func (h *house) look(token string) own.Page {
	h.t.Helper()
	p, err := h.Look(ctx, token)
	must(h.t, err)
	return p
}

// addPasskey adds a passkey by a session that may.
func (h *house) addPasskey(token string) (*devicetest.Authenticator, string) {
	h.t.Helper()
	a := devicetest.NewAuthenticator(h.t)
	options, err := h.Add(ctx, token, device.TypePlatform, her)
	must(h.t, err)
	must(h.t, h.AddPasskey(ctx, token, a.Create(options), her))
	e, err := h.Added(ctx, token)
	must(h.t, err)
	return a, e.ID
}

// status returns the status of one of ada's authenticators.
func (h *house) status(id string) (s device.Status) {
	h.t.Helper()
	uid := h.UID("ada")
	h.View(func(tx *storage.Tx) error {
		e, err := device.Get(tx, uid, id)
		if err == nil {
			s = e.Status
		}
		return err
	})
	return s
}

func (h *house) expectStatus(id string, want device.Status) {
	h.t.Helper()
	if got := h.status(id); got != want {
		h.t.Errorf("%s is %s, want %s", id, got, want)
	}
}

// notices returns the words that ada's phones were told.
func (h *house) notices() (words []recovery.NoticeWord) {
	h.t.Helper()
	uid := h.UID("ada")
	h.View(func(tx *storage.Tx) error {
		told, err := recovery.Notices(tx, uid, h.Clock.Wall().AddDate(-1, 0, 0))
		words = nil
		for _, n := range told {
			words = append(words, n.Notice)
		}
		return err
	})
	return words
}

// expect fails the test unless err is the one that is wanted.
func expect(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
