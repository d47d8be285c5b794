package loginapi_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/server/access"
	"tutela/server/servertest"
	"tutela/storage"
	"tutela/storage/outbox"
)

// pinged is the notification endpoint of a client: what it was told, and what it answers.
type pinged struct {
	*httptest.Server
	mu     sync.Mutex
	told   []string // method, path, Authorization, Content-Type and body
	answer func(http.ResponseWriter)
}

func newPinged(t *testing.T) *pinged {
	t.Helper()
	p := &pinged{answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.told = append(p.told, strings.Join([]string{r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)}, " "))
		p.answer(w)
	}))
	t.Cleanup(p.Close)
	return p
}

// answers has the endpoint answer with a status from now on.
func (p *pinged) answers(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = func(w http.ResponseWriter) { w.WriteHeader(status) }
}

// take returns what the endpoint was told since the last time.
func (p *pinged) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := p.told
	p.told = nil
	return told
}

// pingToken is 128 bits of a client.
const pingToken = "8d67dc78-7faa-4d41-aabd-67707b374255"

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// pinging registers a client that is pinged.
func (h *house) pinging(to *pinged) client {
	h.t.Helper()
	return h.client("openid", func(c *access.Client) {
		c.DeliveryMode = access.DeliveryPing
		c.NotifyAt = to.URL + "/cb"
	})
}

// wantPing checks that the endpoint was told of one login, and of no other.
func wantPing(t *testing.T, to *pinged, id string) {
	t.Helper()
	want := `POST /cb Bearer ` + pingToken + ` application/json {"auth_req_id":"` + id + `"}`
	if told := to.take(); len(told) != 1 || told[0] != want {
		t.Fatalf("told %q, want %q once", told, want)
	}
}

func TestPing_TellsTheClientOnceTheLoginIsDecided(t *testing.T) {
	h := newHouse(t)
	h.logins.WithPings(loopback)
	p := h.enroll("maria")
	to := newPinged(t)
	c := h.pinging(to)
	begun := h.ask(c, "client_notification_token", pingToken)
	want(t, begun, 200, "")
	h.Drain(h.logins.PingHandler())
	if told := to.take(); len(told) != 0 {
		t.Fatalf("told before anybody has answered: %q", told)
	}
	want(t, h.collect(c, begun.text("auth_req_id")), 400, "authorization_pending")
	p.approve(begun)
	h.Drain(h.logins.PingHandler())
	wantPing(t, to, begun.text("auth_req_id"))
	want(t, h.collect(c, begun.text("auth_req_id")), 200, "")
	h.Drain(h.logins.PingHandler())
	if told := to.take(); len(told) != 0 {
		t.Errorf("told again: %q", told)
	}
}

func TestPing_TellsOfADenialAsOfAnApproval(t *testing.T) {
	h := newHouse(t)
	h.logins.WithPings(loopback)
	p := h.enroll("maria")
	to := newPinged(t)
	c := h.pinging(to)
	id := h.asked(c, "client_notification_token", pingToken)
	p.deny("")
	h.Drain(h.logins.PingHandler())
	wantPing(t, to, id)
	want(t, h.collect(c, id), 400, "access_denied")
}

func TestPing_WantsATokenOfAClientThatIsPinged(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	to := newPinged(t)
	c := h.pinging(to)
	wantError(t, h.ask(c), 400, "invalid_request", "client_notification_token is missing")
	for _, bad := range []string{"a b", "ü", "=", "a\r\nX: y", "a=b", "a,b"} {
		want(t, h.ask(c, "client_notification_token", bad), 400, "invalid_request")
	}
	want(t, h.ask(c, "client_notification_token", strings.Repeat("a", 1025)), 400, "invalid_request")
	want(t, h.ask(c, "client_notification_token", strings.Repeat("a", 1024)), 200, "")

	polls := h.client("openid")
	begun := h.ask(polls, "client_notification_token", pingToken)
	want(t, begun, 200, "")
	p.approve(begun)
	h.logins.WithPings(loopback)
	h.Drain(h.logins.PingHandler())
	if told := to.take(); len(told) != 0 {
		t.Errorf("a client that polls is told %q", told)
	}
}

func TestPing_IsNotSentInside(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	to := newPinged(t)
	c := h.pinging(to)
	begun := h.ask(c, "client_notification_token", pingToken)
	p.approve(begun)
	h.Drain(h.logins.PingHandler())
	if told := to.take(); len(told) != 0 {
		t.Errorf("told at an address inside: %q", told)
	}
	want(t, h.collect(c, begun.text("auth_req_id")), 200, "")
}

func TestPing_IsTriedAgainWhileTheLoginCanBeCollected(t *testing.T) {
	h := newHouse(t)
	h.logins.WithPings(loopback)
	p := h.enroll("maria")
	to := newPinged(t)
	to.answers(http.StatusServiceUnavailable)
	begun := h.ask(h.pinging(to), "client_notification_token", pingToken)
	p.approve(begun)
	h.Drain(h.logins.PingHandler())
	wantPing(t, to, begun.text("auth_req_id"))
	h.clock.Advance(time.Minute)
	h.Drain(h.logins.PingHandler())
	wantPing(t, to, begun.text("auth_req_id"))
	h.clock.Advance(5 * time.Minute)
	h.Drain(h.logins.PingHandler())
	if told := to.take(); len(told) != 0 {
		t.Errorf("told of a login that is over: %q", told)
	}
}

func TestPing_IsNotSentAgainWhenTheClientRefusesOrRedirectsIt(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusFound, http.StatusTemporaryRedirect, http.StatusGone} {
		h := newHouse(t)
		h.logins.WithPings(loopback)
		p := h.enroll("maria")
		to := newPinged(t)
		to.answer = func(w http.ResponseWriter) {
			w.Header().Set("Location", to.URL+"/elsewhere")
			w.WriteHeader(status)
		}
		begun := h.ask(h.pinging(to), "client_notification_token", pingToken)
		p.approve(begun)
		h.Drain(h.logins.PingHandler())
		wantPing(t, to, begun.text("auth_req_id"))
		h.clock.Advance(time.Minute)
		h.Drain(h.logins.PingHandler())
		if told := to.take(); len(told) != 0 {
			t.Errorf("after a %d told again: %q", status, told)
		}
	}
}

func TestPing_ItsTokenLiesSealedAndGoesWithAReset(t *testing.T) {
	h := newHouse(t)
	h.logins.WithPings(loopback)
	p := h.enroll("maria")
	to := newPinged(t)
	begun := h.ask(h.pinging(to), "client_notification_token", pingToken)
	if h.Holds(pingToken) {
		t.Error("the token lies in the store in plain form")
	}
	p.approve(begun)
	if h.Holds(pingToken) {
		t.Error("the token lies in the outbox in plain form")
	}
	h.Reset("maria")
	h.Drain(h.logins.PingHandler())
	if told := to.take(); len(told) != 0 {
		t.Errorf("told of a login that a reset has taken: %q", told)
	}
}

func TestPing_ARepeatUnderTheSameLoginIDIsToldByItsOwnToken(t *testing.T) {
	h := newHouse(t)
	h.logins.WithPings(loopback)
	p := h.enroll("maria")
	to := newPinged(t)
	c := h.pinging(to)
	first := h.ask(c, "login_id", "s1", "client_notification_token", "of-the-first-try")
	begun := h.ask(c, "login_id", "s1", "client_notification_token", pingToken)
	if begun.text("auth_req_id") != first.text("auth_req_id") {
		t.Fatal("a repeat is another login")
	}
	p.approve(begun)
	h.Drain(h.logins.PingHandler())
	wantPing(t, to, begun.text("auth_req_id"))
}

func TestPing_AClientThatWasRemovedIsToldNothing(t *testing.T) {
	h := newHouse(t)
	h.logins.WithPings(loopback)
	p := h.enroll("maria")
	to := newPinged(t)
	c := h.pinging(to)
	begun := h.ask(c, "client_notification_token", pingToken)
	p.approve(begun)
	h.must(h.access.RemoveClient(t.Context(), servertest.Operator, c.ID))
	h.Drain(h.logins.PingHandler())
	if told := to.take(); len(told) != 0 {
		t.Errorf("told %q", told)
	}
}

// A login that begins and is decided at one server is told of by either, once.
func TestPing_OfTwoServersOneTellsTheClient(t *testing.T) {
	h := newHouse(t)
	h.logins.WithPings(loopback)
	p := h.enroll("maria")
	to := newPinged(t)
	begun := h.ask(h.pinging(to), "client_notification_token", pingToken)
	p.approve(begun)

	quiet := slog.New(slog.DiscardHandler)
	store, err := storage.Open(t.Context(), h.store.Engine(), storage.Options{Clock: h.clock, Logger: quiet})
	h.must(err)
	store.SetSealer(h.Ring)
	bases := device.NewBases([]string{public})
	codes := recovery.New(store, h.Ring, nil)
	devices := device.New(store, h.Ring, codes, device.Options{Bases: bases})
	other := login.New(store, h.Ring, devices, codes, bases, nil).WithPings(loopback)

	senders := make([]*outbox.Sender, 0, 2)
	for s, handler := range map[*storage.Store]outbox.Handler{store: other.PingHandler(), h.store: h.logins.PingHandler()} {
		sender, err := outbox.NewSender(s, outbox.Options{Handlers: []outbox.Handler{handler}, Log: quiet, Shared: true})
		h.must(err)
		senders = append(senders, sender)
	}
	var both sync.WaitGroup
	for _, sender := range senders {
		both.Go(func() {
			if err := sender.Drain(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	wantPing(t, to, begun.text("auth_req_id"))
}
