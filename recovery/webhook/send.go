package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
)

// Message is what is posted: the JSON that Standard Webhooks proposes.
type Message struct {
	Type string `json:"type"`
	Time string `json:"timestamp"` // when it happened
	Data any    `json:"data"`
}

// About is the data of a message that tells of an event. What more there is to know is read by GET /logs/{log_id}.
type About struct {
	Event  string `json:"log_id"`
	User   string `json:"user_id,omitempty"` // the login system's; left out of what concerns nobody, or somebody who is no more
	Client string `json:"client_id,omitempty"`
}

// TypeTest is the type of a message that is sent to try a webhook.
const TypeTest = "webhook.test"

// Handler returns the handler of what waits to be told.
func (s *Service) Handler() outbox.Handler { return queued.Handler(s.tell) }

// tell tells a webhook of an event. It looks first whether there is a webhook that wants it still.
func (s *Service) tell(ctx context.Context, e outbox.Entry[telling]) (outbox.Then, error) {
	var signer *signer
	var message Message
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		w, err := get(tx, e.Payload.Webhook)
		if errors.Is(err, ErrNone) || err == nil && !w.wants(e.Payload.Type) {
			return outbox.ErrGone
		}
		if err != nil {
			return err
		}
		if signer, err = signerOf(tx, w); err != nil {
			return err
		}
		message, err = messageOf(tx, e.Owner, e.Payload.Event)
		if errors.Is(err, audit.ErrNotFound) { // it is older than events are kept
			return outbox.ErrGone
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	r := s.post(ctx, signer, MessageID(e.Payload.Event), message)
	then := func(tx *storage.Tx) error { return note(tx, e, r) }
	return then, verdict(r, e.Attempts)
}

// MessageID is the webhook-id of what tells of an event: the same at each attempt and for each webhook, so that a receiver drops
// what it has seen.
func MessageID(event string) string { return "msg_" + event }

// messageOf returns what is told of an event, as it may be told now.
//
// Errors: audit.ErrNotFound.
func messageOf(tx *storage.Tx, uid storage.UID, id string) (Message, error) {
	e, err := audit.ReadRecorded(tx, uid, id)
	if err != nil {
		return Message{}, err
	}
	about := About{Event: e.ID, Client: e.Client}
	if !uid.IsZero() {
		u, err := user.Get(tx, uid)
		switch {
		case err == nil:
			about.User = u.ID
		case !errors.Is(err, user.ErrUnknown):
			return Message{}, err
		}
	}
	return Message{Type: string(e.Type), Time: storage.FormatInstant(e.Time), Data: about}, nil
}

// signer is where a message goes, and with what it is signed.
type signer struct {
	url     string
	secrets []string
}

// signerOf returns the signer of a webhook: while it has two secrets that count, both sign.
func signerOf(tx *storage.Tx, w *Webhook) (*signer, error) {
	c, err := secrets.Get(tx, storage.House, w.ID)
	if err != nil {
		return nil, err
	}
	s := &signer{url: w.URL, secrets: []string{string(c.Secret)}}
	if len(c.Former) > 0 && tx.Now().Before(c.FormerUntil) {
		s.secrets = append(s.secrets, string(c.Former))
	}
	return s, nil
}

// sign returns the signatures of a message, with a space between them.
//
// Source: Standard Webhooks, "Signature scheme", "Multiple signatures".
func (s *signer) sign(id string, at time.Time, body []byte) (string, error) {
	var signatures []string
	for _, secret := range s.secrets {
		by, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return "", errors.New("the webhook's secret cannot be read")
		}
		signature, err := by.Sign(id, at, body)
		if err != nil {
			return "", err
		}
		signatures = append(signatures, signature)
	}
	return strings.Join(signatures, " "), nil
}

// post posts a message.
func (s *Service) post(ctx context.Context, to *signer, id string, m Message) outbox.Answer {
	body, err := json.Marshal(m)
	if err != nil {
		return outbox.Answer{Err: err}
	}
	at := s.store.Wall() // the receiver compares it with its own clock
	signature, err := to.sign(id, at, body)
	if err != nil {
		return outbox.Answer{Err: err}
	}
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set(standardwebhooks.HeaderWebhookID, id)
	header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return s.poster.Post(ctx, to.url, header, body, at)
}

// verdict is what the outbox makes of an attempt. 410 says that nobody will ever take messages there.
func verdict(r outbox.Answer, before int) error {
	if r.Status == http.StatusGone {
		return outbox.ErrGone
	}
	return r.Verdict(before)
}
