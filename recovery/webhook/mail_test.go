package webhook_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"tutela/recovery/webhook"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// mailer registers a webhook that mails.
func (h *house) mailer(url string) (webhook.Webhook, string) {
	h.t.Helper()
	yes := true
	w, secret, err := h.hooks.Add(h.t.Context(), operator, webhook.Change{URL: &url, Mails: &yes})
	check.Must(h.t, err)
	return w, secret
}

func (h *house) mail(uid storage.UID, m webhook.Mail) error {
	return h.Store.Update(h.t.Context(), func(tx *storage.Tx) error { return webhook.QueueMail(tx, uid, m) })
}

func (h *house) sendMail() {
	h.t.Helper()
	h.Drain(h.hooks.Handler(), h.hooks.MailHandler())
}

var link = webhook.Mail{
	Type:      webhook.MailTicket,
	Address:   "maria@example.com",
	Locale:    "de",
	TicketURL: "https://mfa.example.com/mfa/enrollment?ticket=abc",
}

func TestMail_GoesToWhoMailsAloneAndLiesSealed(t *testing.T) {
	h := newHouse(t, ground.Options{})
	maria := h.user("auth0|maria")
	if err := h.mail(maria, link); !errors.Is(err, webhook.ErrNoMailer) {
		t.Errorf("nobody mails: %v", err)
	}
	all := newReceiver(t)
	h.add(all.URL, audit.EveryType)
	r := newReceiver(t)
	w, secret := h.mailer(r.URL)
	r.status(http.StatusServiceUnavailable)
	check.Must(t, h.mail(maria, link))
	h.sendMail()
	for _, secret := range []string{"ticket=abc", "maria@example.com"} {
		if h.Holds(secret) {
			t.Errorf("%s lies in the open", secret)
		}
	}
	r.status(http.StatusOK)
	h.Clock.Advance(time.Hour)
	h.sendMail()
	messages := r.all()
	last := messages[len(messages)-1]
	var m struct {
		Data webhook.Mail `json:"data"`
	}
	check.Must(t, json.Unmarshal(last.body, &m))
	want := link
	want.User = "auth0|maria"
	want.Type = ""
	if last.Type != "ticket.mail" || m.Data != want || !last.verified(t, secret) || last.id() != messages[0].id() {
		t.Errorf("mailed %s", last.body)
	}
	for _, m := range all.all() {
		if m.Type == "ticket.mail" {
			t.Error("who is told of everything was given a link")
		}
	}
	if n := len(h.deliveries(w.ID, "")); n != 0 {
		t.Errorf("%d deliveries of mail are listed", n)
	}
	if n := len(h.Rows("webhook_ticket")) + len(h.Rows("outbox_account")); n != 0 {
		t.Errorf("%d rows are left of what was sent", n)
	}
}

func TestMail_AResetTakesLinksAndTheDeletionAll(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	h.mailer(r.URL)
	maria := h.user("auth0|maria")
	changed := webhook.Mail{Type: webhook.MailEmailChanged, Address: "old@example.com"}
	purge := func(classes ...storage.Class) {
		t.Helper()
		check.Must(t, errors.Join(h.mail(maria, link), h.mail(maria, changed)))
		h.Update(func(tx *storage.Tx) error {
			_, err := storage.Purge(tx, maria, false, classes...)
			return err
		})
		h.sendMail()
	}
	purge(storage.MFA)
	if m := r.only(); m.Type != "email.changed" {
		t.Errorf("after a reset: %s", m.body)
	}
	purge(storage.MFA, storage.Account)
	if n := len(r.all()); n != 1 {
		t.Errorf("after the deletion: %d messages", n)
	}
}

func TestMail_OfAUserIsBounded(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.mailer("https://127.0.0.2/")
	maria := h.user("maria")
	for range 70 {
		check.Must(t, h.mail(maria, link))
	}
	if n := len(h.Rows("webhook_ticket")); n != 64 {
		t.Errorf("%d letters wait", n)
	}
}
