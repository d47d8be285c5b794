package login

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"

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

// newPinger makes what calls the URLs of clients, through the guard: whoever may register a client chose them.
func newPinger(allow []netip.Prefix) *outbox.Poster {
	return outbox.NewPoster(outbox.GuardOptions{What: "notification endpoint", Flag: "--webhook-allow", Allow: allow})
}

// WithPings has clients told at these addresses too, also over plain http, though they are not of the internet. Before the service
// is used only.
func (s *Service) WithPings(allow []netip.Prefix) *Service {
	s.pings = newPinger(allow)
	return s
}

// Close closes the idle connections to clients.
func (s *Service) Close() { s.pings.Close() }

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
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set("Authorization", "Bearer "+string(l.Record.PingSealed))
	return nil, pingVerdict(s.pings.Post(ctx, l.Record.Ping, header, body, s.store.Wall()))
}

// pingVerdict is what the outbox makes of an answer. A client that refuses the ping polls, so the same again would not help.
func pingVerdict(a outbox.Answer) error {
	refused := a.Status >= 300 && a.Status < 500 && a.Status != http.StatusRequestTimeout && a.Status != http.StatusTooManyRequests
	if refused {
		return outbox.ErrGone
	}
	return a.Verdict(0)
}
