package login_test

import (
	"context"
	"crypto"
	"errors"
	"maps"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

const publicURL = devicetest.PublicURL

// house is the service with users and phones.
type house struct {
	*login.Service
	home    *devicetest.House
	t       *testing.T
	clock   *storage.FakeClock
	store   *storage.Store
	ring    *keyring.Ring
	codes   *recovery.Service
	devices *device.Service
	sent    *devicetest.Pushes
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(newHouse(t, o)) })
}

func newHouse(t *testing.T, o ground.Options) *house {
	t.Helper()
	h := &house{home: devicetest.Open(t, o), t: t}
	h.build()
	return h
}

func (h *house) build() {
	h.clock = h.home.Clock
	h.store = h.home.Store
	h.ring = h.home.Ring
	h.codes = h.home.Codes
	h.devices = h.home.Devices
	h.sent = h.home.Sent
	h.Service = h.home.Logins
}

// restart closes the store and opens it again.
func (h *house) restart() {
	h.t.Helper()
	h.home.Restart(0)
	h.build()
}

// deliver does the approvals that are due in the outbox, and returns what was delivered. Entries that fail stay; notices
// are done without being delivered.
func (h *house) deliver() []devicetest.Delivered {
	h.t.Helper()
	nobody := func(context.Context, outbox.Entry[recovery.NoticePayload]) (outbox.Then, error) {
		return nil, outbox.ErrGone
	}
	h.home.Drain(h.Handler(), recovery.Notice.Handler(nobody))
	return h.sent.Take()
}

func (h *house) update(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	h.home.Update(fn)
}

func (h *house) view(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	h.home.View(fn)
}

func (h *house) set(name, value string) {
	h.t.Helper()
	h.home.Set(name, value)
}

func (h *house) scan(see func(key, value string)) {
	h.t.Helper()
	h.home.Scan(see)
}

func (h *house) uid(id string) storage.UID {
	h.t.Helper()
	return h.home.UID(id)
}

func (h *house) block(id string, blocked bool) {
	h.t.Helper()
	h.home.SetBlocked(id, blocked)
}

func (h *house) reset(id string) recovery.Receipt {
	h.t.Helper()
	return h.home.Reset(id)
}

// waiting is the state of every entry of the outbox.
func (h *house) waiting() []string {
	h.t.Helper()
	return h.home.Rows("outbox")
}

// events are those about a user of a type, newest first.
func (h *house) events(id string, of audit.Type) []audit.Entry {
	h.t.Helper()
	return h.home.EventsOf(id, of)
}

func (h *house) uidIn(tx *storage.Tx, id string) storage.UID {
	h.t.Helper()
	u, err := user.Find(tx, id)
	must(h.t, err)
	return u.UID
}

func (h *house) expectEvents(id string, of audit.Type, n int) {
	h.t.Helper()
	if got := len(h.events(id, of)); got != n {
		h.t.Errorf("%d events %s of %s, want %d", got, of, id, n)
	}
}

// phone is one enrolled installation with its key.
type phone struct {
	*devicetest.Phone
	h *house
}

// enroll makes a phone of a user whose app matches numbers.
func (h *house) enroll(id, identifier string) *phone {
	h.t.Helper()
	return h.enrollApp(id, identifier, devicetest.NewEd25519(h.t), device.NumberMatching)
}

// enrollTap makes a phone of a user whose app only taps.
func (h *house) enrollTap(id, identifier string) *phone {
	h.t.Helper()
	return h.enrollApp(id, identifier, devicetest.NewEd25519(h.t))
}

func (h *house) enrollApp(id, identifier string, signer crypto.Signer, capabilities ...string) *phone {
	h.t.Helper()
	p := h.home.NewPhoneWith(identifier, signer)
	p.In.Capabilities = capabilities
	must(h.t, p.Enroll(h.home.Ticket(id)))
	return &phone{p, h}
}

// pull is what the phone is asked, without waiting.
func (p *phone) pull(seen ...string) []push.Message {
	p.h.t.Helper()
	list, err := p.h.Approvals(context.Background(), p.Proof(), seen, 0)
	must(p.h.t, err)
	return list
}

// one is the one approval that the phone is asked.
func (p *phone) one() push.Message {
	p.h.t.Helper()
	list := p.pull()
	if len(list) != 1 {
		p.h.t.Fatalf("%s is asked %d approvals, want one", p.In.Identifier, len(list))
	}
	return list[0]
}

// claims are those of an answer that accepts, with changes; a change to nil takes the claim away.
func (p *phone) claims(m push.Message, change map[string]any) map[string]any {
	now := p.h.clock.Wall().Unix()
	c := map[string]any{
		"iss": p.In.Identifier, "sub": m.Challenge, "aud": publicURL + "/appliance-mfa/api/resolve-transaction", "iat": now, "exp": now + 30,
		"auth0_guardian_method": "push", "auth0_guardian_accepted": true,
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (p *phone) respond(m push.Message, jwt string) error {
	return p.h.Answer(context.Background(), m.TransactionToken, jwt, audit.ByUser().WithOrigin("192.0.2.1", ""))
}

func (p *phone) answerWith(m push.Message, change map[string]any) error {
	return p.respond(m, p.Sign(p.claims(m, change)))
}

func (p *phone) approve(m push.Message, number string) error {
	change := map[string]any{}
	if number != "" {
		change["tutela_number"] = number
	}
	return p.answerWith(m, change)
}

func (p *phone) deny(m push.Message, reason string) error {
	change := map[string]any{"auth0_guardian_accepted": false}
	if reason != "" {
		change["auth0_guardian_reason"] = reason
	}
	return p.answerWith(m, change)
}

// request asks about a user for the client "bank".
func request(id string) login.Request {
	return login.Request{
		Client:  "bank",
		UserID:  id,
		Scope:   "openid",
		Message: "pay 5",
		IP:      "198.51.100.7",
		Life:    2 * time.Minute,
		Agent:   "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	}
}

func (h *house) begin(req login.Request) login.Begun {
	h.t.Helper()
	begun, err := h.Begin(context.Background(), req)
	must(h.t, err)
	return begun
}

// by is a grant of a client with an mfa_token, which may be none.
func (h *house) by(client, token string) login.Grant {
	pass, err := h.ReadMFAToken(token)
	if err != nil {
		pass = login.Pass{Client: "nobody"}
	}
	return login.Grant{
		Client: client,
		Pass:   pass,
		Actor:  audit.ByUser().WithOrigin("192.0.2.1", ""),
	}
}

func (h *house) collect(begun login.Begun) (login.Outcome, error) {
	return h.Collect(context.Background(), "bank", begun.ID)
}

var must = check.Must

// expect fails the test unless err is the one that is wanted, or none is wanted and there is none.
func expect(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
