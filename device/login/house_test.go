package login_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/outbox"
	"tutela/storage/setting"
	"tutela/storage/storagetest/ground"
)

const publicURL = "http://localhost:8080"

// house is the services over a real data file, with a clock that the test owns and a push service that it reads.
type house struct {
	*login.Service
	t       *testing.T
	clock   *storage.FakeClock
	store   *storage.Store
	ring    *keyring.Ring
	codes   *recovery.Service
	devices *device.Service
	sent    *pushes

	ground *ground.Ground
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(newHouse(t, o)) })
}

func newHouse(t *testing.T, o ground.Options) *house {
	t.Helper()
	g := ground.Open(t, o)
	h := &house{t: t, clock: g.Clock, sent: &pushes{}, ground: g}
	h.build()
	return h
}

func (h *house) build() {
	h.store, h.ring = h.ground.Store, h.ground.Ring
	h.codes = recovery.New(h.store, h.ring, func(context.Context, []byte) (string, error) { return "signed", nil })
	bases := device.NewBases([]string{publicURL, "https://mfa.example.com"})
	h.devices = device.New(h.store, h.ring, h.codes, device.Options{Bases: bases, Issuer: "Example", Deliver: h.sent})
	h.Service = login.New(h.store, h.ring, h.devices, h.codes, bases, h.sent)
}

// restart closes the store and opens it again.
func (h *house) restart() {
	h.t.Helper()
	h.ground.Reopen(0)
	h.build()
}

// pushes is a push service that remembers what it was given. Safe for concurrent use.
type pushes struct {
	mu       sync.Mutex
	messages []delivered
	fail     func(to push.Address) error
}

type delivered struct {
	to push.Address
	push.Message
}

func (p *pushes) Deliver(_ context.Context, to push.Address, m push.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.messages = append(p.messages, delivered{to, m})
	if p.fail != nil {
		return p.fail(to)
	}
	return nil
}

func (p *pushes) take() []delivered {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.messages
	p.messages = nil
	return taken
}

// deliver does the approvals that are due in the outbox, and returns what was delivered. Entries that fail stay; notices
// are done without being delivered.
func (h *house) deliver() []delivered {
	h.t.Helper()
	nobody := func(context.Context, outbox.Entry[recovery.NoticePayload]) (outbox.Then, error) {
		return nil, outbox.ErrGone
	}
	h.ground.Drain(h.Handler(), recovery.Notice.Handler(nobody))
	return h.sent.take()
}

// waiting is the state of every entry of the outbox.
func (h *house) waiting() (entries []string) {
	h.scan(func(key, value string) {
		if key[0] == 'u' && strings.HasPrefix(key[17:], "outbox\x00") {
			entries = append(entries, value)
		}
	})
	return entries
}

func (h *house) scan(see func(key, value string)) {
	h.t.Helper()
	must(h.t, h.store.Engine().View(context.Background(), func(r storage.Reader) error {
		return r.Scan(storage.Range{}, func(key, value []byte) bool {
			see(string(key), string(value))
			return true
		})
	}))
}

func (h *house) update(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	must(h.t, h.store.Update(context.Background(), fn))
}

func (h *house) view(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	must(h.t, h.store.View(context.Background(), fn))
}

func (h *house) set(name, value string) {
	h.t.Helper()
	h.update(func(tx *storage.Tx) error { return setting.Set(tx, name, value) })
}

func (h *house) uidIn(tx *storage.Tx, id string) storage.UID {
	h.t.Helper()
	u, err := user.Find(tx, id)
	must(h.t, err)
	return u.UID
}

func (h *house) uid(id string) (uid storage.UID) {
	h.t.Helper()
	h.view(func(tx *storage.Tx) error { uid = h.uidIn(tx, id); return nil })
	return uid
}

// events are those about a user of a type, newest first.
func (h *house) events(id string, of audit.Type) []audit.Entry {
	h.t.Helper()
	entries, _, err := audit.List(context.Background(), h.store, audit.Query{UID: h.uid(id), Types: []audit.Type{of}}, false)
	must(h.t, err)
	return entries
}

func (h *house) expectEvents(id string, of audit.Type, n int) {
	h.t.Helper()
	if got := len(h.events(id, of)); got != n {
		h.t.Errorf("%d events %s of %s, want %d", got, of, id, n)
	}
}

func (h *house) block(id string, blocked bool) {
	h.t.Helper()
	must(h.t, h.codes.SetBlocked(context.Background(), id, blocked, audit.ByOperator(0)))
}

func (h *house) reset(id string) recovery.Receipt {
	h.t.Helper()
	r, err := h.codes.Reset(context.Background(), recovery.ResetRequest{UserID: id, Reason: "x", Actor: audit.ByOperator(0)})
	must(h.t, err)
	return r
}

// phone is one enrolled installation with its key.
type phone struct {
	h      *house
	signer crypto.Signer
	in     device.Installation
	answer *device.Enrolled
}

// enroll makes a phone of a user whose app matches numbers.
func (h *house) enroll(id, identifier string) *phone {
	h.t.Helper()
	return h.enrollApp(id, identifier, newEd25519(h.t), device.NumberMatching)
}

// enrollTap makes a phone of a user whose app only taps.
func (h *house) enrollTap(id, identifier string) *phone {
	h.t.Helper()
	return h.enrollApp(id, identifier, newEd25519(h.t))
}

func (h *house) enrollApp(id, identifier string, signer crypto.Signer, capabilities ...string) *phone {
	h.t.Helper()
	jwk, err := json.Marshal(jose.JSONWebKey{Key: signer.Public()})
	must(h.t, err)
	key, err := device.ParseKey(jwk)
	must(h.t, err)
	ticket, err := h.devices.NewTicket(context.Background(), device.TicketRequest{User: user.User{ID: id}, AllowMultiple: true, Actor: audit.ByOperator(0)})
	must(h.t, err)
	p := &phone{h: h, signer: signer, in: device.Installation{
		Identifier: identifier, Name: "Pixel 9", Key: key, Capabilities: capabilities,
		Push: push.Address{Service: push.GCM, Token: "push of " + identifier},
	}}
	p.answer, err = h.devices.Enroll(context.Background(), ticket, p.in, audit.ByUser())
	must(h.t, err)
	return p
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

// signers are a key of each kind that apps have.
func signers(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	p, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return map[string]crypto.Signer{"RSA": r, "P-256": p, "Ed25519": newEd25519(t)}
}

// proof is a call by the phone's JWT.
func (p *phone) proof() device.Proof {
	p.h.t.Helper()
	now := p.h.clock.Wall().Unix()
	proof, err := p.h.devices.Prove(context.Background(), p.answer.ID, p.sign(map[string]any{
		"iss": p.answer.ID, "sub": p.answer.UserID, "aud": publicURL + "/api/device-accounts", "iat": now, "exp": now + 60,
	}), true)
	must(p.h.t, err)
	return proof
}

func (p *phone) sign(claims any) string {
	p.h.t.Helper()
	payload, err := json.Marshal(claims)
	must(p.h.t, err)
	algorithm := jose.EdDSA
	switch p.signer.(type) {
	case *rsa.PrivateKey:
		algorithm = jose.RS256
	case *ecdsa.PrivateKey:
		algorithm = jose.ES256
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: p.signer}, nil)
	must(p.h.t, err)
	signed, err := s.Sign(payload)
	must(p.h.t, err)
	compact, err := signed.CompactSerialize()
	must(p.h.t, err)
	return compact
}

// pull is what the phone is asked, without waiting.
func (p *phone) pull(seen ...string) []push.Message {
	p.h.t.Helper()
	list, err := p.h.Approvals(context.Background(), p.proof(), seen, 0)
	must(p.h.t, err)
	return list
}

// one is the one approval that the phone is asked.
func (p *phone) one() push.Message {
	p.h.t.Helper()
	list := p.pull()
	if len(list) != 1 {
		p.h.t.Fatalf("%s is asked %d approvals, want one", p.in.Identifier, len(list))
	}
	return list[0]
}

// claims are those of an answer that accepts, with changes; a change to nil takes the claim away.
func (p *phone) claims(m push.Message, change map[string]any) map[string]any {
	now := p.h.clock.Wall().Unix()
	c := map[string]any{
		"iss": p.in.Identifier, "sub": m.Challenge, "aud": publicURL + "/appliance-mfa/api/resolve-transaction", "iat": now, "exp": now + 30,
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
	return p.respond(m, p.sign(p.claims(m, change)))
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
		Client: "bank", UserID: id, Scope: "openid", Message: "pay 5", IP: "198.51.100.7", Life: 2 * time.Minute,
		Agent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	}
}

func (h *house) begin(req login.Request) login.Begun {
	h.t.Helper()
	begun, err := h.Begin(context.Background(), req)
	must(h.t, err)
	return begun
}

func (h *house) collect(begun login.Begun) (login.Outcome, error) {
	return h.Collect(context.Background(), "bank", begun.ID, 0)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// expect fails the test unless err is the one that is wanted, or none is wanted and there is none.
func expect(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
