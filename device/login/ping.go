package login

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
)

// pings are the outbox entries that tell a login's client that it is decided.
//
// Source: CIBA Core 1.0 §10.2 (ping callback).
var pings = outbox.Declare[pinging]("ping", storage.MFA)

// pinging is the payload of a ping in the outbox. The URL and the token lie in the login's row.
type pinging struct {
	Login string `json:"login"` // key of the login's row
}

// pinger calls the URLs of clients, through the guard: whoever may register a client chose them.
type pinger struct {
	guard  *outbox.Guard
	secure *http.Transport // https
	plain  *http.Transport // http, to addresses that are allowed
}

func newPinger(allow []netip.Prefix) *pinger {
	guard := outbox.NewGuard(outbox.GuardOptions{What: "notification endpoint", Flag: "--webhook-allow", Allow: allow})
	return &pinger{
		guard:  guard,
		secure: guard.Transport(false),
		plain:  guard.Transport(true),
	}
}

// WithPings has clients told at these addresses too, also over plain http, though they are not of the internet. Before the service
// is used only.
func (s *Service) WithPings(allow []netip.Prefix) *Service {
	s.pings = newPinger(allow)
	return s
}

// Close closes the idle connections to clients.
func (s *Service) Close() {
	s.pings.secure.CloseIdleConnections()
	s.pings.plain.CloseIdleConnections()
}

// pingBy has the client told by another token, the one of a repeat of its request: it may hold no other.
func pingBy(tx *storage.Tx, l row, token string) error {
	if l.Record.Ping == "" || string(l.Record.PingSealed) == token {
		return nil
	}
	l.Record.PingSealed = []byte(token)
	return logins.Put(tx, l.UID, l.Key, l.Record)
}

// queuePing has the client of a decided login told, after the commit. It is tried until nobody can collect the login any more.
func queuePing(tx *storage.Tx, l row) error {
	if l.Record.Ping == "" {
		return nil
	}
	return pings.AddTo(tx, l.UID, l.Record.Client, pinging{l.Key}, l.Record.Expires.Add(collectFor))
}

// PingHandler tells clients that a login is decided.
func (s *Service) PingHandler() outbox.Handler { return pings.Handler(s.ping) }

// ping tells the client of a login that it is decided, if there still is something to collect. It says no more than which
// login it is: how it was decided, the client is told at the token endpoint.
func (s *Service) ping(ctx context.Context, e outbox.Entry[pinging]) (outbox.Then, error) {
	var l row
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		l, err = read(tx, e.Owner, e.Payload.Login)
		if errors.Is(err, storage.ErrNotFound) {
			return outbox.ErrGone
		}
		if err != nil {
			return err
		}
		known, err := s.devices.KnowsClient(tx, l.Record.Client)
		if err == nil && (!known || l.Record.Ping == "" || !l.Record.Collected.IsZero()) {
			err = outbox.ErrGone
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{"auth_req_id": s.idOf(requestPrefix, l.UID, l.Key)})
	if err != nil {
		return nil, err
	}
	return nil, s.pings.post(ctx, l.Record.Ping, string(l.Record.PingSealed), body, s.store.Wall())
}

// maxPingAnswerBytes is how much of an answer's body is read, so that the connection can be used again. Nothing of it is kept.
const maxPingAnswerBytes = 16 << 10

// post posts a ping. It follows no redirect.
func (p *pinger) post(ctx context.Context, to, token string, body []byte, now time.Time) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("the notification endpoint cannot be called")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "tutela")
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := p.transport(request.URL).RoundTrip(request)
	if err != nil {
		return outbox.Unreachable(p.guard.Told(err))
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.CopyN(io.Discard, answer.Body, maxPingAnswerBytes) // its end may never come: the status has said it all
	return pingVerdict(answer, now)
}

func (p *pinger) transport(u *url.URL) *http.Transport {
	if u.Scheme == "https" {
		return p.secure
	}
	return p.plain
}

// pingVerdict is what the outbox makes of an answer: nothing more to do, nothing that would help, or the same again later.
func pingVerdict(answer *http.Response, now time.Time) error {
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code >= 500:
		refused := storage.NewError(storage.Unavailable, fmt.Sprintf("the notification endpoint answers %d", code))
		return outbox.Unreachable(refused.After(outbox.AskedPause(answer.Header, now)))
	default: // it refuses this ping: the client polls
		return outbox.ErrGone
	}
}
