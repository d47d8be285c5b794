package loginapi_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/otp"
	"tutela/device/push"
	"tutela/recovery/user"
	"tutela/server"
	"tutela/server/access"
	"tutela/server/loginapi"
	"tutela/server/servertest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// public is the first public URL, which makes the issuer; the server listens elsewhere, as behind a proxy.
const public = "https://mfa.example.org"

// house is the API over a real store, served on loopback. The engine reruns closures at random.
type house struct {
	*servertest.House
	t       testing.TB
	clock   *storage.FakeClock
	store   *storage.Store
	access  *access.Service
	devices *device.Service
	logins  *login.Service
	srv     *server.Server
	url     string // where it listens
	log     *lines
}

// lines is a log that a test can read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// taken is a push service that takes every message.
type taken struct{}

func (taken) Deliver(context.Context, push.Address, push.Message) error { return nil }

func newHouse(t testing.TB, change ...func(*server.Config)) *house {
	t.Helper()
	h := &house{t: t, log: new(lines)}
	h.House = servertest.Open(t, servertest.Options{
		Ground: ground.Options{
			Chaos: true,
			Clock: storage.NewFakeClock(noon),
			Log:   slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		},
		Public: []string{public},
		Push:   taken{},
		Config: func(config *server.Config) {
			for _, c := range change {
				c(config)
			}
		},
		Mount: func(h *servertest.House) { loginapi.Mount(h.Server, h.Store, h.Access, h.Logins) },
	})
	h.clock = h.Clock
	h.store = h.Store
	h.access = h.Access
	h.devices = h.Devices
	h.logins = h.Logins
	h.srv = h.Server
	h.url = h.URL
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	check.Must(h.t, err)
}

// answer is what came back for a call.
type answer struct {
	status int
	header http.Header
	raw    string
	body   map[string]any // nil when it is no object
}

// text is a member of the body that is text; "" when it is not there.
func (a answer) text(name string) string {
	s, _ := a.body[name].(string)
	return s
}

// send makes a call with a body as it is; header are alternating names and values.
func (h *house) send(method, path, body string, header ...string) answer {
	h.t.Helper()
	a, err := h.try(method, path, body, header...)
	h.must(err)
	return a
}

// try is send for other goroutines than the test's.
func (h *house) try(method, path, body string, header ...string) (answer, error) {
	a, err := h.Try(method, path, body, header...)
	return answer{a.Status, a.Header, a.Raw, a.Body}, err
}

// The content types that the API reads.
const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// values makes a form of alternating names and values, of which a later one replaces an earlier one.
func values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

func (h *house) form(path string, pairs ...string) answer {
	h.t.Helper()
	return h.send("POST", path, values(pairs...).Encode(), "Content-Type", formType)
}

func (h *house) json(path string, body map[string]any) answer {
	h.t.Helper()
	encoded, err := json.Marshal(body)
	h.must(err)
	return h.send("POST", path, string(encoded), "Content-Type", jsonType)
}

// client is a registered program with its secret.
type client struct {
	access.Client
	secret string
}

// credentials are a client's, to go before the other parameters of a form.
func (c client) credentials(pairs ...string) []string {
	return append([]string{"client_id", c.ID, "client_secret", c.secret}, pairs...)
}

func (c client) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ID)+":"+url.QueryEscape(c.secret)))
}

// client registers a client with scopes.
func (h *house) client(scopes string, change ...func(*access.Client)) client {
	h.t.Helper()
	c := access.Client{Name: "shop", Scopes: strings.Fields(scopes)}
	for _, f := range change {
		f(&c)
	}
	added, secret, err := h.access.AddClient(h.t.Context(), audit.ByOperator(1000), c)
	h.must(err)
	return client{added, secret}
}

// ask asks for an approval of maria, unless pairs say otherwise.
func (h *house) ask(c client, pairs ...string) answer {
	h.t.Helper()
	return h.form("/bc-authorize", c.credentials(append([]string{"scope", "openid", "login_hint", "maria"}, pairs...)...)...)
}

// asked is ask that must succeed; it returns the auth_req_id.
func (h *house) asked(c client, pairs ...string) string {
	h.t.Helper()
	a := h.ask(c, pairs...)
	want(h.t, a, 200, "")
	return a.text("auth_req_id")
}

// cibaForm is the form that collects a login.
func cibaForm(c client, id string, pairs ...string) []string {
	return c.credentials(append([]string{"grant_type", access.GrantCIBA, "auth_req_id", id}, pairs...)...)
}

func (h *house) collect(c client, id string, pairs ...string) answer {
	h.t.Helper()
	return h.form("/oauth/token", cibaForm(c, id, pairs...)...)
}

// held is a call that is being answered.
type held chan answer

// hold collects with a wait, in the background, and returns when the server holds n calls.
func (h *house) hold(n int, c client, id string) held {
	h.t.Helper()
	answered := make(held, 1)
	go func() {
		a, err := h.try("POST", "/oauth/token", values(cibaForm(c, id, "wait", "60")...).Encode(), "Content-Type", formType)
		if err != nil {
			a.raw = err.Error()
		}
		answered <- a
	}()
	h.UntilHeld(n)
	return answered
}

// want checks a status and, unless it is "", the error.
func want(t testing.TB, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.text("error") != code {
		t.Fatalf("got %d %s, want %d %s", a.status, a.raw, status, code)
	}
	if store := a.header.Get("Cache-Control"); store != "no-store" {
		t.Errorf("Cache-Control: %q", store)
	}
	if kind := a.header.Get("Content-Type"); kind != jsonType {
		t.Errorf("Content-Type: %q", kind)
	}
}

// wantError checks a status, the error, and its description.
func wantError(t testing.TB, a answer, status int, code, description string) {
	t.Helper()
	want(t, a, status, code)
	if got := a.text("error_description"); got != description {
		t.Errorf("error_description %q, want %q", got, description)
	}
	if len(a.body) != 2 {
		t.Errorf("an error has two members: %s", a.raw)
	}
}

// phone is an enrolled app.
type phone struct {
	h     *house
	key   *ecdsa.PrivateKey
	proof device.Proof
	device.Enrolled
}

// ticket makes a ticket for a user.
func (h *house) ticket(userID string) string { return h.Ticket(user.User{ID: userID}) }

// enroll enrols a phone for a user, who is made. The phone matches numbers, unless change says otherwise.
func (h *house) enroll(userID string, change ...func(*device.Installation)) *phone {
	h.t.Helper()
	return h.enrollBy(userID, h.ticket(userID), change...)
}

// enrollBy is enroll with a ticket.
func (h *house) enrollBy(userID, ticket string, change ...func(*device.Installation)) *phone {
	h.t.Helper()
	p := &phone{h: h}
	var err error
	p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)
	jwk, err := json.Marshal(jose.JSONWebKey{Key: p.key.Public()})
	h.must(err)
	key, err := device.ParseKey(jwk)
	h.must(err)
	in := device.Installation{
		Identifier:   storage.NewID("app_", 8),
		Name:         "Pixel 9",
		Key:          key,
		Capabilities: []string{device.NumberMatching},
	}
	for _, f := range change {
		f(&in)
	}
	enrolled, err := h.devices.Enroll(h.t.Context(), ticket, in, audit.ByUser())
	h.must(err)
	p.Enrolled = *enrolled
	token := p.sign(map[string]any{
		"iss": p.ID, "sub": userID, "aud": public + "/api/device-accounts",
		"iat": h.clock.Wall().Unix(), "exp": h.clock.Wall().Add(time.Hour).Unix(),
	})
	p.proof, err = h.devices.Prove(h.t.Context(), p.ID, token, true)
	h.must(err)
	return p
}

func tapOnly(in *device.Installation) { in.Capabilities = nil }

func pushed(in *device.Installation) {
	in.Push = push.Address{Service: push.FCM, Token: "the-push-token-of-the-phone"}
}

func (p *phone) sign(claims map[string]any) string {
	p.h.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, nil)
	p.h.must(err)
	payload, err := json.Marshal(claims)
	p.h.must(err)
	signed, err := signer.Sign(payload)
	p.h.must(err)
	compact, err := signed.CompactSerialize()
	p.h.must(err)
	return compact
}

// approvals are what the phone is asked.
func (p *phone) approvals() []push.Message {
	p.h.t.Helper()
	list, err := p.h.logins.Approvals(p.h.t.Context(), p.proof, nil, 0)
	p.h.must(err)
	return list
}

// answer answers the newest approval; number and reason may be "".
func (p *phone) answer(accepted bool, number, reason string) error {
	p.h.t.Helper()
	list := p.approvals()
	if len(list) == 0 {
		p.h.t.Fatal("nothing is asked")
	}
	asked := list[len(list)-1]
	claims := map[string]any{
		"iss": "app", "sub": asked.Challenge, "aud": public + "/api/resolve-transaction",
		"iat": p.h.clock.Wall().Unix(), "exp": p.h.clock.Wall().Add(30 * time.Second).Unix(),
		"auth0_guardian_method": "push", "auth0_guardian_accepted": accepted,
	}
	if number != "" {
		claims["tutela_number"] = number
	}
	if reason != "" {
		claims["auth0_guardian_reason"] = reason
	}
	return p.h.logins.Answer(p.h.t.Context(), asked.TransactionToken, p.sign(claims), audit.ByUser())
}

// approve answers a login that a call has asked for.
func (p *phone) approve(begun answer) {
	p.h.t.Helper()
	p.h.must(p.answer(true, begun.text("number"), ""))
}

func (p *phone) deny(reason string) {
	p.h.t.Helper()
	p.h.must(p.answer(false, "", reason))
}

// leave retires the phone, by which its user is recovery_only when it was the only one.
func (p *phone) leave() {
	p.h.t.Helper()
	p.h.must(p.h.devices.Leave(p.h.t.Context(), p.proof, audit.ByUser()))
}

// giveCodes makes a user who has one-time codes alone, and returns what shows the code of a time that is off by skew.
func (h *house) giveCodes(userID string) (show func(skew time.Duration) string) {
	h.t.Helper()
	ticket := h.ticket(userID)
	uri, err := h.devices.TicketURI(h.t.Context(), ticket)
	h.must(err)
	query, err := url.Parse(uri)
	h.must(err)
	show = func(skew time.Duration) string { return h.showOTP(query.Query().Get("secret"), skew) }
	_, err = h.devices.ConfirmOTP(h.t.Context(), ticket, show(-otp.Period*time.Second), audit.ByUser())
	h.must(err)
	return show
}

// showOTP returns the code that an app with a secret, in base32, shows at a time that is off by skew.
func (h *house) showOTP(secret string, skew time.Duration) string {
	h.t.Helper()
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	h.must(err)
	return string(otp.Secret(raw).At(otp.StepAt(h.clock.Wall().Add(skew))))
}

func (h *house) block(userID string) { h.ChangeUser(userID, func(u *user.User) { u.Blocked = true }) }

// unknown makes sure that there is no user of an id.
func (h *house) unknown(userID string) {
	h.t.Helper()
	err := h.store.View(h.t.Context(), func(tx *storage.Tx) error {
		_, err := user.Find(tx, userID)
		return err
	})
	if !errors.Is(err, user.ErrUnknown) {
		h.t.Fatalf("user %s: %v", userID, err)
	}
}

// installation is a phone that is not enrolled.
func installation(t testing.TB) device.Installation {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := device.ParseKey(jwk)
	if err != nil {
		t.Fatal(err)
	}
	return device.Installation{Identifier: storage.NewID("app_", 8), Name: "Pixel 9", Key: parsed}
}
