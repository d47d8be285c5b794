package webhook_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

func TestWebhook_IsToldOfWhatItWantsAndSignedAsStandardWebhooksSays(t *testing.T) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) {
		h := newHouse(t, o)
		r := newReceiver(t)
		w, secret := h.add(r.URL, audit.Reset, audit.AuthSucceed)
		maria := h.user("auth0|maria")

		h.happens(audit.Event{Type: audit.StartAuth, UID: maria, Client: "shop"})
		id := h.happens(audit.Event{Type: audit.AuthSucceed, UID: maria, Client: "shop"})
		h.send()
		m := r.only()
		if m.Type != "gd_auth_succeed" || m.Data.Event != id || m.Data.User != "auth0|maria" || m.Data.Client != "shop" || m.Time != storage.FormatInstant(ground.Start) {
			t.Errorf("told %s", m.body)
		}
		if m.id() != "msg_"+id || !m.verified(t, secret) || !strings.HasPrefix(m.header.Get("webhook-signature"), "v1,") || strings.Contains(m.header.Get("webhook-signature"), " ") {
			t.Errorf("signed %v", m.header)
		}
		for _, personal := range []string{"192.0.2.17", "in her words"} {
			if strings.Contains(string(m.body), personal) {
				t.Errorf("the message holds %q", personal)
			}
		}
		if got := h.hook(w.ID); !got.LastSuccess.Equal(ground.Start) || !got.Failing.IsZero() {
			t.Errorf("the webhook is %+v", got)
		}
		list := h.deliveries(w.ID, webhook.Delivered)
		if len(list) != 1 || list[0].Event != id || list[0].Answer != http.StatusNoContent || list[0].Attempts != 1 {
			t.Errorf("delivered %+v", list)
		}
	})
}

func TestWebhook_OfEveryTypeIsToldOfTheInstallationToo(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	h.add(r.URL, audit.EveryType)
	h.send()
	r.mu.Lock()
	r.messages = nil
	r.mu.Unlock()
	h.happens(audit.Event{Type: audit.KeyRotated})
	h.send()
	if m := r.only(); m.Type != "td_key_rotated" || m.Data.User != "" {
		t.Errorf("told %s", m.body)
	}
}

func TestWebhook_OfSomebodyWhoIsNoMoreTellsNobodysName(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	h.add(r.URL, audit.AuthSucceed, audit.UserDelete)
	maria := h.user("auth0|maria")
	h.happens(audit.Event{Type: audit.AuthSucceed, UID: maria})
	check.Must(t, h.Store.Update(t.Context(), func(tx *storage.Tx) error {
		return errors.Join(user.Delete(tx, maria), audit.Record(tx, operator, audit.Event{Type: audit.UserDelete, UID: maria}, audit.Detail{}))
	}))
	h.send()
	list := r.all()
	types := map[string]bool{}
	for _, m := range list {
		types[m.Type] = true
		if m.Data.User != "" || strings.Contains(string(m.body), "maria") {
			t.Errorf("told %s", m.body)
		}
	}
	if len(list) != 2 || !types["gd_auth_succeed"] || !types["gd_user_delete"] {
		t.Errorf("told of %v", types)
	}
}

func TestWebhook_ReportsAResetThatPurgesWhatWaits(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	h.add(r.URL, audit.Reset)
	maria := h.user("auth0|maria")
	check.Must(t, h.Store.Update(t.Context(), func(tx *storage.Tx) error {
		err := audit.Record(tx, operator, audit.Event{Type: audit.Reset, UID: maria}, audit.Detail{})
		_, purged := storage.Purge(tx, maria, false, storage.MFA)
		return errors.Join(err, purged)
	}))
	h.send()
	if m := r.only(); m.Type != "td_reset" || m.Data.User != "auth0|maria" {
		t.Errorf("told %s", m.body)
	}
}

func TestWebhook_ThatIsRolledBackIsNotTold(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	h.add(r.URL, audit.AuthSucceed)
	undo := errors.New("undo")
	err := h.Store.Update(t.Context(), func(tx *storage.Tx) error {
		return errors.Join(audit.Record(tx, operator, audit.Event{Type: audit.AuthSucceed}, audit.Detail{}), undo)
	})
	if !errors.Is(err, undo) {
		t.Fatal(err)
	}
	h.send()
	if n := len(r.all()); n != 0 {
		t.Errorf("told of %d events", n)
	}
}

func TestRotate_BothSecretsSignForAsLongAsAsked(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	w, first := h.add(r.URL, audit.AuthSucceed)
	second, err := h.hooks.Rotate(t.Context(), operator, w.ID, time.Hour)
	check.Must(t, err)
	told := func(counts map[string]bool, n int) {
		t.Helper()
		r.mu.Lock()
		r.messages = nil
		r.mu.Unlock()
		h.happens(audit.Event{Type: audit.AuthSucceed})
		h.send()
		m := r.only()
		for secret, want := range counts {
			if m.verified(t, secret) != want {
				t.Errorf("signed by %s: %t", secret, !want)
			}
		}
		if got := len(strings.Fields(m.header.Get("webhook-signature"))); got != n {
			t.Errorf("%d signatures", got)
		}
	}
	told(map[string]bool{first: true, second: true}, 2)
	h.Clock.Advance(time.Hour)
	told(map[string]bool{first: false, second: true}, 1)
	third, err := h.hooks.Rotate(t.Context(), operator, w.ID, 0)
	check.Must(t, err)
	told(map[string]bool{second: false, third: true}, 1)
	_, err = h.hooks.Rotate(t.Context(), operator, w.ID, 8*24*time.Hour)
	if !errors.Is(err, webhook.ErrInvalid) {
		t.Errorf("an overlap of eight days: %v", err)
	}
}

func TestChange_OfTheURLGetsAnotherSecret(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	w, first := h.add("https://old.example/", audit.AuthSucceed)
	_, secret, err := h.hooks.Change(t.Context(), operator, w.ID, webhook.Change{Events: &[]audit.Type{audit.AuthSucceed, audit.Reset}})
	if err != nil || secret != "" {
		t.Errorf("other events: %q, %v", secret, err)
	}
	_, secret, err = h.hooks.Change(t.Context(), operator, w.ID, webhook.Change{URL: &r.URL})
	check.Must(t, err)
	h.happens(audit.Event{Type: audit.AuthSucceed})
	h.send()
	if m := r.only(); m.verified(t, first) || !m.verified(t, secret) {
		t.Error("the secret of the old URL signs for the new one")
	}
}

func TestAdd_RefusesWhatIsNoWebhook(t *testing.T) {
	h := newHouse(t, ground.Options{})
	for name, c := range map[string]struct {
		url    string
		events []audit.Type
	}{
		"no url":             {"", []audit.Type{"*"}},
		"no host":            {"https:///x", []audit.Type{"*"}},
		"another scheme":     {"ftp://example.com", []audit.Type{"*"}},
		"a fragment":         {"https://example.com/#x", []audit.Type{"*"}},
		"a user":             {"https://a:b@example.com/", []audit.Type{"*"}},
		"a long url":         {"https://example.com/" + strings.Repeat("x", 2000), []audit.Type{"*"}},
		"no events":          {"https://example.com/", nil},
		"an unknown event":   {"https://example.com/", []audit.Type{"td_nothing"}},
		"what cannot happen": {"https://example.com/", []audit.Type{audit.Damaged}},
	} {
		if _, _, err := h.hooks.Add(t.Context(), operator, webhook.Change{URL: &c.url, Events: &c.events}); !errors.Is(err, webhook.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	all := []audit.Type{"*"}
	url := "https://example.com/"
	for range 50 {
		h.add(url, all...)
	}
	if _, _, err := h.hooks.Add(t.Context(), operator, webhook.Change{URL: &url, Events: &all}); !errors.Is(err, webhook.ErrTooMany) {
		t.Errorf("one more than 50: %v", err)
	}
}

func TestWebhooks_AreManagedByWhomTheRuleNames(t *testing.T) {
	h := newHouse(t, ground.Options{})
	person := func(id string, role user.Role, blocked bool) audit.Actor {
		uid := h.user(id)
		check.Must(t, h.Store.Update(t.Context(), func(tx *storage.Tx) error {
			_, err := user.Change(tx, uid, func(u *user.User) error {
				u.Role = role
				u.Blocked = blocked
				return nil
			})
			return err
		}))
		return audit.ByAdmin(uid, []string{webhook.ScopeManage})
	}
	yes := true
	events := []audit.Type{audit.Reset}
	url := "https://example.com/"
	for name, c := range map[string]struct {
		actor        audit.Actor
		plain, mails bool
	}{
		"the operator":              {operator, true, true},
		"a client":                  {audit.ByClient("ops", []string{webhook.ScopeManage}, storage.House), true, false},
		"a client without scope":    {audit.ByClient("ops", []string{"read:users"}, storage.House), false, false},
		"a user":                    {audit.ByUser(), false, false},
		"nobody":                    {audit.Actor{}, false, false},
		"an owner":                  {person("owner", user.Owner, false), true, true},
		"an owner who is blocked":   {person("blocked", user.Owner, true), false, false},
		"an admin":                  {person("admin", user.Admin, false), true, false},
		"an agent of the help desk": {person("agent", user.Helpdesk, false), false, false},
		"somebody who is gone":      {audit.ByAdmin(storage.NewUID(), []string{webhook.ScopeManage}), false, false},
	} {
		mailer, _, err := h.hooks.Add(t.Context(), operator, webhook.Change{URL: &url, Mails: &yes})
		check.Must(t, err)
		plain, _ := h.add(url, events...)
		expect := func(what string, may bool, err error) {
			t.Helper()
			if may != (err == nil) || !may && !errors.Is(err, webhook.ErrRefused) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		ctx := context.Background()
		no := false
		_, _, err = h.hooks.Add(ctx, c.actor, webhook.Change{URL: &url, Events: &events})
		expect("add", c.plain, err)
		_, _, err = h.hooks.Add(ctx, c.actor, webhook.Change{URL: &url, Mails: &yes})
		expect("add one that mails", c.mails, err)
		_, _, err = h.hooks.Change(ctx, c.actor, plain.ID, webhook.Change{Mails: &yes})
		expect("have it mail", c.mails, err)
		_, _, err = h.hooks.Change(ctx, c.actor, mailer.ID, webhook.Change{Enabled: &no})
		expect("change one that mails", c.mails, err)
		_, err = h.hooks.Rotate(ctx, c.actor, mailer.ID, 0)
		expect("rotate one that mails", c.mails, err)
		expect("remove one that mails", c.mails, h.hooks.Remove(ctx, c.actor, mailer.ID))
		for _, w := range []string{plain.ID} {
			if !c.mails { // else it mails by now
				_, err = h.hooks.Rotate(ctx, c.actor, w, 0)
				expect("rotate", c.plain, err)
			}
		}
		list, err := h.hooks.Webhooks(ctx)
		check.Must(t, err)
		for _, w := range list {
			check.Must(t, h.hooks.Remove(ctx, operator, w.ID))
		}
	}
}

func TestWebhook_WhoseRowIsDamagedStopsNoLogin(t *testing.T) {
	h := newHouse(t, ground.Options{})
	r := newReceiver(t)
	h.add("https://damaged.example/", audit.AuthSucceed)
	h.add(r.URL, audit.AuthSucceed)
	ground.Rewrite(t, h.Store.Engine(), "webhook", func(record map[string]any) {
		if record["url"] == "https://damaged.example/" {
			record["created"] = "never"
		}
	})
	h.happens(audit.Event{Type: audit.AuthSucceed})
	h.send()
	r.only()
	list, err := h.hooks.Webhooks(t.Context())
	if err != nil || len(list) != 1 {
		t.Errorf("%d webhooks, %v", len(list), err)
	}
}
