package webpush

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/push"
	"tutela/device/push/pushtest"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

const testContact = "mailto:ops@example.com"

func wall() time.Time { return time.Now() }

func testKeys(t *testing.T) *Keys {
	t.Helper()
	keys, err := OpenKeys(t.Context(), ground.Open(t, ground.Options{}).Store)
	check.Must(t, err)
	return keys
}

// approval is a message as a login makes it.
func approval() push.Message {
	return push.Message{
		TransactionToken: "a.b.c",
		Enrollment:       "dev_0123456789abcdef",
		Challenge:        "nonce",
		Started:          "2026-03-01T12:00:00.005Z",
		Server:           "https://mfa.example.com",
		Source:           &push.Source{Browser: push.Named{Name: "Firefox", Version: "140"}},
		Location:         &push.Location{Name: "203.0.113.7"},
		NumberMatching:   true,
		BindingMessage:   "pay <5> & go",
		ClientName:       "Hafenlicht Bank",
		Life:             119*time.Second + 900*time.Millisecond,
	}
}

// stand is a push service with a browser, and a carrier that may call it.
type stand struct {
	*Carrier
	t       *testing.T
	service *pushtest.WebPush
	browser *pushtest.Browser
	to      push.Address
	clock   time.Time
}

func newStand(t *testing.T) *stand {
	t.Helper()
	keys := testKeys(t)
	return standAt(t, keys, pushtest.NewWebPush(t, keys.Public()))
}

func standAt(t *testing.T, keys *Keys, service *pushtest.WebPush) *stand {
	t.Helper()
	s := &stand{
		t:       t,
		service: service,
		clock:   time.Now(),
	}
	s.browser = service.Subscribe(t)
	s.to = s.browser.Address(t)
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s.Carrier = newCarrier(keys, Options{Contact: testContact}, outbox.NewGuard(guarded(loopback)), func() time.Time { return s.clock })
	t.Cleanup(s.Close)
	return s
}

// one returns the one message that has arrived.
func (s *stand) one() pushtest.Arrived {
	s.t.Helper()
	all := s.service.Take()
	if len(all) != 1 {
		s.t.Fatalf("%d messages arrived", len(all))
	}
	return all[0]
}

func TestDeliver_BringsTheMessageToTheBrowser(t *testing.T) {
	s := newStand(t)
	check.Must(t, s.Deliver(t.Context(), s.to, approval()))
	got := s.one()
	var object map[string]any
	check.Must(t, json.Unmarshal(got.Text, &object))
	want := map[string]any{
		"txtkn": "a.b.c", "dai": "dev_0123456789abcdef", "c": "nonce", "d": "2026-03-01T12:00:00.005Z", "sh": "https://mfa.example.com",
		"s": map[string]any{"b": map[string]any{"n": "Firefox", "v": "140"}}, "l": map[string]any{"n": "203.0.113.7"},
		"nm": true, "bm": "pay <5> & go", "cn": "Hafenlicht Bank",
	}
	if diff := cmp.Diff(want, object); diff != "" {
		t.Error(diff)
	}
	if got.TTL != 119 || got.Urgency != "high" || len(got.Topic) != 32 || got.Contact != testContact || got.Body != 3103 {
		t.Errorf("TTL %d, urgency %q, topic %q, contact %q, %d bytes", got.TTL, got.Urgency, got.Topic, got.Contact, got.Body)
	}
	if got.Lifetime > 12*time.Hour || got.Lifetime < tokenLife {
		t.Errorf("the token lives %s, and is kept for %s", got.Lifetime, tokenLife)
	}
}

// TestDeliver_OverTheWire has each answer of a push service, and what it means.
func TestDeliver_OverTheWire(t *testing.T) {
	s := newStand(t)
	date := s.clock.UTC().Truncate(time.Second)
	elsewhere, visits := bystander(t, "127.0.0.1:0")
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   push.Refusal // the zero value: taken
	}{
		{"200", pushtest.Status(200), push.Refusal{}},
		{"201", pushtest.Status(201), push.Refusal{}},
		{"202", pushtest.Status(202), push.Refusal{}},
		{"204", pushtest.Status(204), push.Refusal{}},
		{"400", pushtest.Status(400), push.Refusal{Verdict: push.Unfit, Status: 400}},
		{"400 of another sender", pushtest.Says(400, `{"reason":"VapidPkHashMismatch"}`), push.Refusal{Verdict: push.Mismatch, Status: 400, Reason: "VapidPkHashMismatch"}},
		{"401", pushtest.Status(401), push.Refusal{Verdict: push.Setup, Status: 401}},
		{"403", pushtest.Says(403, `{"reason":"BadJwtToken"}`), push.Refusal{Verdict: push.Setup, Status: 403, Reason: "BadJwtToken"}},
		{"403 with words of a stranger", pushtest.Says(403, `{"reason":"root:x:0:0"}`), push.Refusal{Verdict: push.Setup, Status: 403}},
		{"404", pushtest.Status(404), push.Refusal{Verdict: push.Gone, Status: 404}},
		{"405", pushtest.Status(405), push.Refusal{Verdict: push.Unfit, Status: 405}},
		{"408", pushtest.Status(408), push.Refusal{Verdict: push.Busy, Status: 408}},
		{"410", pushtest.Status(410), push.Refusal{Verdict: push.Gone, Status: 410}},
		{"413", pushtest.Status(413), push.Refusal{Verdict: push.Unfit, Status: 413}},
		{"429", pushtest.Status(429), push.Refusal{Verdict: push.Busy, Status: 429}},
		{"429 for 7 s", pushtest.Status(429, "Retry-After", "7"), push.Refusal{Verdict: push.Busy, Status: 429, After: 7 * time.Second}},
		{"429 until a date", pushtest.Status(429, "Retry-After", date.Add(time.Minute).Format(http.TimeFormat), "Date", date.Format(http.TimeFormat)),
			push.Refusal{Verdict: push.Busy, Status: 429, After: time.Minute}},
		{"429 until a date by another clock", pushtest.Status(429, "Retry-After", date.Add(25*time.Hour+time.Minute).Format(http.TimeFormat), "Date", date.Add(25*time.Hour).Format(http.TimeFormat)),
			push.Refusal{Verdict: push.Busy, Status: 429, After: time.Minute}},
		{"429 until yesterday", pushtest.Status(429, "Retry-After", date.Add(-time.Hour).Format(http.TimeFormat)), push.Refusal{Verdict: push.Busy, Status: 429}},
		{"429 for ever", pushtest.Status(429, "Retry-After", "4294967295"), push.Refusal{Verdict: push.Busy, Status: 429, After: 24 * time.Hour}},
		{"429 of nonsense", pushtest.Status(429, "Retry-After", "-5"), push.Refusal{Verdict: push.Busy, Status: 429}},
		{"500", pushtest.Status(500), push.Refusal{Verdict: push.Busy, Status: 500}},
		{"503", pushtest.Status(503, "Retry-After", "120"), push.Refusal{Verdict: push.Busy, Status: 503, After: 2 * time.Minute}},
		{"507", pushtest.Status(507), push.Refusal{Verdict: push.Busy, Status: 507}},
		{"a redirect", pushtest.Status(307, "Location", elsewhere+"/inner"), push.Refusal{Verdict: push.Busy, Status: 307}},
		{"301", pushtest.Status(301, "Location", elsewhere), push.Refusal{Verdict: push.Busy, Status: 301}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.service.Answer(c.answer)
			err := s.Deliver(t.Context(), s.to, approval())
			var got *push.Refusal
			switch {
			case c.want == (push.Refusal{}):
				if err != nil {
					t.Errorf("taken, but %v", err)
				}
			case !errors.As(err, &got) || *got != c.want:
				t.Errorf("%v, want %v", err, &c.want)
			}
			if n := len(s.service.Take()); n != 1 {
				t.Errorf("it was sent %d times", n)
			}
		})
	}
	if visits.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestDeliver_GivesUpWithItsCaller(t *testing.T) {
	s := newStand(t)
	s.service.Answer(s.service.Hang())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- s.Deliver(ctx, s.to, approval()) }()
	s.service.Await(t)
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("it hangs: %v", err)
	}
}

func TestDeliver_KnowsAnAnswerThatBreaksOff(t *testing.T) {
	s := newStand(t)
	s.service.Answer(pushtest.Reset(0))
	err := s.Deliver(t.Context(), s.to, approval())
	var refused *push.Refusal
	if err == nil || errors.As(err, &refused) {
		t.Errorf("broken off before the status: %v", err)
	}
	s.service.Answer(pushtest.Reset(201))
	if err := s.Deliver(t.Context(), s.to, approval()); err != nil {
		t.Errorf("broken off after 201: %v", err)
	}
	s.service.Answer(pushtest.Reset(410))
	if err := s.Deliver(t.Context(), s.to, approval()); !errors.Is(err, push.ErrTokenGone) {
		t.Errorf("broken off after 410: %v", err)
	}
}

func TestDeliver_ReadsLittleOfALongAnswer(t *testing.T) {
	s := newStand(t)
	for _, status := range []int{201, 503} {
		taken := make(chan int64, 1)
		s.service.Answer(pushtest.Endless(status, taken))
		err := s.Deliver(t.Context(), s.to, approval())
		if (err == nil) != (status == 201) {
			t.Errorf("%d: %v", status, err)
		}
		if n := <-taken; n > 64<<20 { // what lies in the buffers of the kernel counts too
			t.Errorf("%d: %d bytes were read", status, n)
		}
	}
}

func TestDeliver_GoesOverTLSAndHTTP2(t *testing.T) {
	keys := testKeys(t)
	service := pushtest.NewWebPushTLS(t, keys.Public())
	s := standAt(t, keys, service)
	roots := x509.NewCertPool()
	roots.AddCert(service.Certificate())
	s.secure.TLSClientConfig = &tls.Config{RootCAs: roots}
	for range 3 {
		check.Must(t, s.Deliver(t.Context(), s.to, approval()))
	}
	for _, a := range service.Take() {
		if a.Proto != "HTTP/2.0" {
			t.Errorf("by %s", a.Proto)
		}
	}
}

func TestDeliver_LeavesOutWhatDoesNotFitInOrder(t *testing.T) {
	s := newStand(t)
	long := func(n int) string { return strings.Repeat("x", n) }
	whole := func() push.Message {
		m := approval()
		m.ConsentID = "cns_1"
		m.Location.Name = "L"
		m.Source.Browser.Name = "S"
		m.BindingMessage = "B"
		m.ClientName = "C"
		return m
	}
	text, err := fit(whole())
	check.Must(t, err)
	spare := maxMessageBytes - len(text)
	for name, c := range map[string]struct {
		change func(*push.Message)
		gone   string
	}{
		"what just fits":     {func(m *push.Message) { m.TransactionToken += long(spare) }, ""},
		"the place":          {func(m *push.Message) { m.TransactionToken += long(spare + 1) }, "l"},
		"a long place":       {func(m *push.Message) { m.Location.Name = long(4000) }, "l"},
		"place and browser":  {func(m *push.Message) { m.Source.Browser.Name = long(4000) }, "l s"},
		"and what it is for": {func(m *push.Message) { m.BindingMessage = long(4000) }, "l s bm"},
		"and who asks":       {func(m *push.Message) { m.ClientName = long(4000) }, "l s bm cn"},
	} {
		m := whole()
		c.change(&m)
		check.Must(t, s.Deliver(t.Context(), s.to, m))
		got := s.one()
		if len(got.Text) > maxMessageBytes || got.Body != recordSize {
			t.Errorf("%s: %d bytes in a body of %d", name, len(got.Text), got.Body)
		}
		for _, key := range []string{"txtkn", "c", "dai", "d", "sh", "nm", "txlnkid", "l", "s", "bm", "cn"} {
			isGone := got.Member(t, key) == nil
			if isGone != strings.Contains(" "+c.gone+" ", " "+key+" ") {
				t.Errorf("%s: %s is left out: %t", name, key, isGone)
			}
		}
	}
	m := whole()
	m.TransactionToken = long(4000)
	var refused *push.Refusal
	if err := s.Deliver(t.Context(), s.to, m); !errors.As(err, &refused) || refused.Verdict != push.Unfit || len(s.service.Take()) != 0 {
		t.Errorf("a token that does not fit: %v", err)
	}
}

func TestDeliver_NamesTheMessageSoThatOneOfTwoIsKept(t *testing.T) {
	s := newStand(t)
	topics := map[string]string{}
	send := func(name string, change func(*push.Message)) {
		m := approval()
		change(&m)
		check.Must(t, s.Deliver(t.Context(), s.to, m))
		topics[name] = s.one().Topic
		if strings.Contains(topics[name], m.Challenge) && m.Challenge != "" {
			t.Errorf("%s: the topic %q shows the challenge", name, topics[name])
		}
	}
	notice := func(m *push.Message) {
		m.TransactionToken = ""
		m.Challenge = ""
		m.Notice = "restored"
	}
	send("an approval", func(*push.Message) {})
	send("it again", func(m *push.Message) { m.TransactionToken = "another" })
	send("another", func(m *push.Message) { m.Challenge = "other" })
	send("of another enrollment", func(m *push.Message) { m.Enrollment = "dev_other" })
	send("a notice", notice)
	send("a later notice", func(m *push.Message) {
		notice(m)
		m.Started = "later"
	})
	if topics["an approval"] != topics["it again"] {
		t.Error("the same approval has two topics")
	}
	delete(topics, "it again")
	seen := map[string]string{}
	for name, topic := range topics {
		if other, ok := seen[topic]; ok {
			t.Errorf("%s and %s have one topic", name, other)
		}
		seen[topic] = name
	}
}

func TestDeliver_SignsOncePerOriginAndForSomeHours(t *testing.T) {
	s := newStand(t)
	token := func() string {
		t.Helper()
		check.Must(t, s.Deliver(t.Context(), s.to, approval()))
		return s.one().Token
	}
	first := token()
	s.clock = s.clock.Add(tokenLife - time.Second)
	if token() != first {
		t.Error("another token within its hours")
	}
	s.clock = s.clock.Add(2 * time.Second)
	second := token()
	if second == first {
		t.Error("the token is used for ever")
	}
	s.service.Answer(pushtest.Status(403))
	_ = s.Deliver(t.Context(), s.to, approval())
	_ = s.one()
	if token() == second {
		t.Error("a token that was refused is used again")
	}
}

func TestTokens_AreBounded(t *testing.T) {
	kept := newTokens(wall)
	for i := range 3 * maxTokens {
		kept.use(fmt.Sprint("https://", i), "header")
	}
	if n := len(kept.byOrigin); n != maxTokens {
		t.Errorf("%d tokens are kept", n)
	}
}

func TestDeliver_OfAnAddressOfAnotherServiceFails(t *testing.T) {
	s := newStand(t)
	if err := s.Deliver(t.Context(), push.Address{Service: push.FCM, Token: "x"}, approval()); !errors.Is(err, push.ErrAddress) {
		t.Error(err)
	}
}

func TestContact_IsAnAddressOrAPage(t *testing.T) {
	for contact, ok := range map[string]bool{
		"mailto:ops@example.com": true, "https://example.com": true, "https://example.com/contact?x=1": true,
		"": false, "ops@example.com": false, "mailto:": false, "mailto:ops": false, "mailto:Ops <ops@example.com>": false, "http://example.com": false,
		"https://": false, "https://a:b@example.com": false, "tel:+1": false, "mailto:a@b\r\nx": false, "mailto:mailto:a@b": false,
	} {
		if err := CheckContact(contact); (err == nil) != ok || err != nil && !errors.Is(err, ErrContact) {
			t.Errorf("%q: %v", contact, err)
		}
	}
	for public, want := range map[string]string{
		"https://mfa.example.com":   "https://mfa.example.com",
		"https://mfa.example.com/x": "https://mfa.example.com",
		"http://localhost:8080":     "mailto:postmaster@localhost",
		"http://192.168.1.20:8080":  "mailto:postmaster@192.168.1.20",
		"http://[fd00::1]:8080":     "mailto:postmaster@[IPv6:fd00::1]",
		"":                          "mailto:postmaster@localhost",
	} {
		if got := ContactOf(public); got != want {
			t.Errorf("of %q: %q, want %q", public, got, want)
		}
	}
}
