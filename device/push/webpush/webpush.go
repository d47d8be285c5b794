// Package webpush brings messages to browsers and to UnifiedPush distributors: it encrypts each to its subscription, signs who
// sends it, and posts it to the subscription's endpoint.
//
// A stranger chose the endpoint. So the package connects only to public addresses, over https, unless the operator
// allows others. It follows no redirect, reads at most 64 KiB of an answer, and repeats nothing of it.
//
// Source: RFC 8030, RFC 8188, RFC 8291, RFC 8292; app-api.md "Web Push".
package webpush

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"

	"tutela/device/push"
	"tutela/storage/outbox"
)

// Options say who sends, and where to.
type Options struct {
	Contact string         // of the operator, as CheckContact takes it
	Allow   []netip.Prefix // addresses that are called though they are not of the internet, or though the endpoint is plain http
}

// ErrForbidden reports an endpoint that this server does not connect to; see [outbox.ErrForbidden].
var ErrForbidden = outbox.ErrForbidden

// guarded are the options of the guard of endpoints.
func guarded(allow []netip.Prefix) outbox.GuardOptions {
	return outbox.GuardOptions{What: "push endpoint", Flag: "--push-allow", Allow: allow}
}

// Carrier brings messages to endpoints of Web Push. Safe for concurrent use.
type Carrier struct {
	keys    *Keys
	contact string
	tokens  *tokens
	secure  *http.Transport // https
	plain   *http.Transport // http, to addresses that are allowed
	now     func() time.Time
	guard   *outbox.Guard
}

// New returns a carrier that sends as the installation whose keys these are.
func New(keys *Keys, o Options) *Carrier {
	return newCarrier(keys, o, outbox.NewGuard(guarded(o.Allow)), time.Now)
}

func newCarrier(keys *Keys, o Options, g *outbox.Guard, now func() time.Time) *Carrier {
	return &Carrier{
		keys: keys,
		// webpush-go writes mailto: before whatever is no https URL, also before mailto:.
		contact: strings.TrimPrefix(o.Contact, "mailto:"),
		tokens:  newTokens(now),
		secure:  g.Transport(false),
		plain:   g.Transport(true),
		now:     now,
		guard:   g,
	}
}

// Close closes the idle connections. The carrier can be used again.
func (c *Carrier) Close() {
	c.secure.CloseIdleConnections()
	c.plain.CloseIdleConnections()
}

const (
	// maxMessageBytes is how long a message may be before it is encrypted.
	maxMessageBytes = 3000

	// recordSize makes every request's body equally long, 3103 bytes, so that nobody on the way learns from its length what it
	// says. webpush-go counts its header (86) in, and the tag (16) and the delimiter (1) take their place as well. A push service
	// need not take more than 4096 (RFC 8291 §4).
	recordSize = maxMessageBytes + 86 + 16 + 1
)

// Deliver posts a message. The endpoint keeps it for m.Life.
//
// Errors: *push.Refusal; ErrForbidden, which names no URL; others of which no text comes from the endpoint.
func (c *Carrier) Deliver(ctx context.Context, to push.Address, m push.Message) error {
	s, err := to.Subscription()
	if err != nil {
		return err
	}
	// webpush-go takes the token's audience from the URL as it stands, and a push service compares it with its origin: so the
	// endpoint is one that begins with its origin.
	endpoint, err := s.URL()
	if err != nil {
		return err
	}
	origin := endpoint.Scheme + "://" + endpoint.Host
	text, err := fit(m)
	if err != nil {
		return err
	}
	d := &dispatch{c: c, origin: origin}
	answer, err := webpush.SendNotificationWithContext(ctx, text, &webpush.Subscription{
		Endpoint: endpoint.String(),
		Keys: webpush.Keys{
			P256dh: base64.RawURLEncoding.EncodeToString(s.P256DH[:]),
			Auth:   base64.RawURLEncoding.EncodeToString(s.Auth[:]),
		},
	}, &webpush.Options{
		HTTPClient:      d,
		RecordSize:      recordSize,
		Subscriber:      c.contact,
		Topic:           topic(m),
		TTL:             max(int(m.Life/time.Second), 0),
		Urgency:         webpush.UrgencyHigh,
		VAPIDPublicKey:  c.keys.public,
		VAPIDPrivateKey: c.keys.private,
	})
	switch {
	case d.failed != nil:
		return d.failed
	case err != nil: // before anything was sent; its text may quote the URL
		return errors.New("the message cannot be encrypted for this subscription")
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden {
		c.tokens.forget(origin)
	}
	return verdict(answer, c.now())
}

// dispatch sends the one request that webpush-go makes.
type dispatch struct {
	c      *Carrier
	origin string
	failed error
}

// Do sends the request over a guarded transport, and never through an http.Client: that would follow redirects. webpush-go signs a
// token for each message and has no option to keep one, so it is replaced here by the one that is kept.
func (d *dispatch) Do(request *http.Request) (*http.Response, error) {
	request.Header.Set("Authorization", d.c.tokens.use(d.origin, request.Header.Get("Authorization")))
	request.Header.Set("User-Agent", "tutela")
	transport := d.c.secure
	if request.URL.Scheme != "https" {
		transport = d.c.plain
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		d.failed = d.c.guard.Told(err)
		return nil, d.failed
	}
	return answer, nil
}

// fit returns the JSON of a message in at most maxMessageBytes. A message without what was left out can still be answered, and the
// app can pull the whole of it.
//
// Errors: a *push.Refusal, when it cannot be made to fit.
func fit(m push.Message) (text []byte, err error) {
	fitting := m.Fit(func(m push.Message) bool {
		text, err = compact(m.Object())
		return err != nil || len(text) <= maxMessageBytes
	})
	if text, err = compact(fitting.Object()); err == nil && len(text) > maxMessageBytes {
		err = &push.Refusal{Verdict: push.Unfit, Reason: "longer_than_3000_bytes"}
	}
	return text, err
}

// compact is JSON in as few bytes as it takes: < > & stay one byte each.
func compact(object map[string]any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(object)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// topic names a message, so that the service keeps one of two that say the same: 32 characters of base64url, from which
// nobody learns the challenge. Two enrollments that share a subscription each keep their own.
//
// Source: RFC 8030 §5.4.
func topic(m push.Message) string {
	names := []string{m.Enrollment, m.Challenge, m.Notice, m.Restore}
	if m.Challenge == "" {
		names = append(names, m.Started)
	}
	hash := sha256.Sum256([]byte(strings.Join(names, "\x00")))
	return base64.RawURLEncoding.EncodeToString(hash[:24])
}
