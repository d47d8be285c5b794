package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/outbox"
)

// Mail is what a receiver that mails is asked to send to a person. This server sends no mail itself.
type Mail struct {
	Type      string `json:"-"`
	Address   string `json:"address"`
	Locale    string `json:"locale,omitempty"`     // of the text, as the caller gave it
	TicketURL string `json:"ticket_url,omitempty"` // by which somebody enrols
	User      string `json:"user_id,omitempty"`    // set when it is sent
}

// The types of mail.
const (
	MailTicket       = "ticket.mail"   // the link of a ticket
	MailEmailChanged = "email.changed" // to the address that a user had until now
)

// ErrNoMailer reports that no webhook mails.
var ErrNoMailer = storage.NewError(storage.Invalid, "send_mail needs a webhook that mails, and there is none: send the link yourself")

// letter is a Mail that waits. It is sealed: it holds a link and an address.
type letter struct {
	Type    string    `json:"type"`
	At      time.Time `json:"at"`
	Expires time.Time `json:"expires"`
	Body    []byte    `json:"body"`
}

// mostLetters bounds what waits for one user. Past it the oldest goes.
const mostLetters = 64

// A reset takes the links of tickets with the tickets. What is said to an address that was changed outlives it.
var (
	ticketLetters = storage.Declare(storage.Spec[letter]{
		Name:    "webhook_ticket",
		Class:   storage.MFA,
		Most:    mostLetters,
		Expires: func(l *letter) time.Time { return l.Expires },
		Sealed:  func(l *letter) []storage.Field { return []storage.Field{{Name: "body", Value: &l.Body}} },
	})
	accountLetters = storage.Declare(storage.Spec[letter]{
		Name:    "webhook_letter",
		Class:   storage.Account,
		Most:    mostLetters,
		Expires: func(l *letter) time.Time { return l.Expires },
		Sealed:  func(l *letter) []storage.Field { return []storage.Field{{Name: "body", Value: &l.Body}} },
	})
)

func lettersOf(mail string) *storage.Table[letter] {
	if mail == MailTicket {
		return ticketLetters
	}
	return accountLetters
}

// mailing is the payload of an entry that waits to be mailed: it names the letter, and holds nothing of it.
type mailing struct {
	Webhook string `json:"webhook"`
	Letter  string `json:"letter"`
	Type    string `json:"type"`
}

var mailed = outbox.Declare[mailing]("webhook_mail", storage.Account)

// QueueMail has every webhook that mails asked to send a mail about a user, after the commit.
//
// Errors: ErrNoMailer.
func QueueMail(tx *storage.Tx, uid storage.UID, m Mail) error {
	list, err := all(tx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	told := false
	for _, w := range list {
		if !w.Mails || !w.active() {
			continue
		}
		told = true
		if err := queueLetter(tx, uid, w.ID, m.Type, body); err != nil {
			return err
		}
	}
	if !told {
		return ErrNoMailer
	}
	return nil
}

func queueLetter(tx *storage.Tx, uid storage.UID, id, mail string, body []byte) error {
	in := lettersOf(mail)
	var keys []string // they sort as time
	if err := in.Keys(tx, uid, "", func(key string) bool {
		keys = append(keys, key)
		return true
	}); err != nil {
		return err
	}
	if len(keys) >= mostLetters {
		if err := in.Delete(tx, uid, keys[0]); err != nil {
			return err
		}
	}
	l := &letter{
		Type:    mail,
		At:      tx.Now(),
		Expires: tx.Now().Add(Life),
		Body:    body,
	}
	key := storage.FormatInstant(tx.Now()) + storage.NewID("-", idLength)
	return errors.Join(
		in.Put(tx, uid, key, l),
		mailed.AddTo(tx, uid, where(id), mailing{Webhook: id, Letter: key, Type: mail}, l.Expires))
}

// MailHandler returns the handler of what waits to be mailed.
func (s *Service) MailHandler() outbox.Handler { return mailed.Handler(s.mail) }

// mail asks a webhook to send a letter. What becomes of it is in no list of deliveries.
func (s *Service) mail(ctx context.Context, e outbox.Entry[mailing]) (outbox.Then, error) {
	in := lettersOf(e.Payload.Type)
	var to *signer
	var message Message
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		w, err := get(tx, e.Payload.Webhook)
		if errors.Is(err, ErrNone) || err == nil && (!w.Mails || !w.active()) {
			return outbox.ErrGone
		}
		if err != nil {
			return err
		}
		l, err := in.Get(tx, e.Owner, e.Payload.Letter)
		if isGone(err) {
			return outbox.ErrGone // a reset has taken the ticket, or the user is no more
		}
		if err != nil {
			return err
		}
		u, err := user.Get(tx, e.Owner)
		if errors.Is(err, user.ErrUnknown) {
			return outbox.ErrGone
		}
		if err != nil {
			return err
		}
		m := Mail{}
		if err := json.Unmarshal(l.Body, &m); err != nil {
			return outbox.ErrGone
		}
		m.User = u.ID
		message = Message{Type: l.Type, Time: storage.FormatInstant(l.At), Data: m}
		to, err = signerOf(tx, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	r := s.post(ctx, to, "msg_"+e.ID, message)
	then := func(tx *storage.Tx) error {
		w, err := get(tx, e.Payload.Webhook)
		if errors.Is(err, ErrNone) {
			return nil
		}
		if err == nil {
			err = noteAt(tx, w, r)
		}
		if r.Taken() || r.Status == http.StatusGone {
			err = errors.Join(err, in.Delete(tx, e.Owner, e.Payload.Letter))
		}
		return err
	}
	return then, verdict(r, e.Attempts)
}
