package dashboard

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

var drawnSecret = regexp.MustCompile(`id="the-secret">(whsec_[^<]*)<`)

func TestWebhooks_AreAddedTriedPausedAndRemoved(t *testing.T) {
	h := newHouse(t)
	var says atomic.Int32
	says.Store(http.StatusNoContent)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(says.Load())) }))
	t.Cleanup(receiver.Close)
	c := h.signedIn("ada", user.Admin)
	only := func() webhook.Webhook {
		t.Helper()
		list, err := h.hooks.Webhooks(t.Context())
		check.Must(t, err)
		if len(list) != 1 {
			t.Fatalf("%d webhooks", len(list))
		}
		return list[0]
	}
	a := c.Post("/admin/webhooks", url.Values{"url": {receiver.URL}, "kind": {"recovery", "devices"}})
	first := drawnSecret.FindStringSubmatch(a.Body)
	made := only()
	if first == nil || made.URL != receiver.URL || !made.Enabled || len(made.Events) < 10 {
		t.Fatalf("%d, %+v: %s", a.Status, made, a.Body)
	}
	at := "/admin/webhooks/" + made.ID
	if shown := c.Get(at); strings.Contains(shown.Body, "whsec_") || !strings.Contains(shown.Body, "Nothing told yet") {
		t.Error("the secret is shown again")
	}
	for status, said := range map[int32]string{
		http.StatusNoContent:           "The receiver has taken the message.",
		http.StatusInternalServerError: "The receiver did not take the message. Its answer: <code>500</code>",
	} {
		says.Store(status)
		if a := c.Post(at+"/test", nil); !strings.Contains(a.Body, said) || !strings.HasSuffix(a.URL, at) {
			t.Errorf("%d at %s: %s", status, a.URL, a.Body)
		}
	}
	// What fails is shown, and sent again once it works.
	h.enrolled("maria")
	h.Reset("maria")
	h.Drain(h.hooks.Handler())
	if a := c.Get(at); !strings.Contains(a.Body, "Not taken yet") || !strings.Contains(a.Body, "Failing") {
		t.Errorf("%s", a.Body)
	}
	if a := c.Post(at+"/switch", nil); only().Enabled || !strings.Contains(a.Body, "Paused") {
		t.Errorf("it is not paused: %s", a.Body)
	}
	if a := c.Post(at+"/switch", url.Values{"on": {"1"}}); !only().Enabled || strings.Contains(a.Body, "Paused") {
		t.Errorf("it does not go on: %s", a.Body)
	}
	second := drawnSecret.FindStringSubmatch(c.Post(at+"/secret", url.Values{"overlap": {"day"}}).Body)
	if len(second) == 0 || second[1] == first[1] {
		t.Errorf("secrets %v, %v", first, second)
	}
	if a := c.Get(at + "/remove"); !strings.Contains(a.Body, "Yes, remove it") {
		t.Errorf("%s", a.Body)
	}
	if a := c.Post(at+"/remove", nil); !strings.Contains(a.Body, "No webhook") {
		t.Errorf("%s", a.Body)
	}
	member, err := h.SignIn.MemberOf(t.Context(), "ada")
	check.Must(t, err)
	for _, e := range h.Events(audit.TenantUpdate) {
		if e.By != audit.ByAdmin(member.User.UID, nil).By() {
			t.Errorf("%+v", e.Event)
		}
	}
}

func TestWebhooks_AreForAdminsAndOwnersAlone(t *testing.T) {
	h := newHouse(t)
	h.invite("boss", user.Owner, false)
	target := "https://receiver.example"
	types := []audit.Type{audit.EveryType}
	mails := true
	mailer, _, err := h.hooks.Add(t.Context(), audit.ByOperator(0), webhook.Change{URL: &target, Events: &types, Mails: &mails})
	check.Must(t, err)
	at := "/admin/webhooks/" + mailer.ID
	for role, may := range map[user.Role]int{user.Viewer: 0, user.Helpdesk: 0, user.Admin: 1, user.Owner: 2} {
		c := h.signedIn("one-"+string(role), role)
		sees := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}
		if a := c.Get(at); a.Status != sees[may > 0] || strings.Contains(a.Body, target) != (may > 0) {
			t.Errorf("%s looks: %d", role, a.Status)
		}
		if listed := strings.Contains(c.Get("/admin/overview").Body, `admin/webhooks"`); listed != (may > 0) {
			t.Errorf("%s: the section is shown: %v", role, listed)
		}
		for path, form := range map[string]url.Values{
			"/admin/webhooks":    {"url": {target}, "mails": {"1"}},
			at + "/switch":       {"on": {"1"}},
			at + "/secret":       {"overlap": {"none"}},
			"/admin/webhooks?x=": {"url": {target}, "kind": {"all"}},
		} {
			plain := path == "/admin/webhooks?x="
			if a := c.Post(path, form); a.Status != sees[may == 2 || may == 1 && plain] {
				t.Errorf("%s, %s: %d", role, path, a.Status)
			}
		}
	}
	c := h.signedIn("last", user.Owner)
	for _, form := range []url.Values{nil, {"url": {"ftp://x"}, "kind": {"all"}}, {"url": {target}}, {"url": {target}, "kind": {"nothing"}}} {
		if a := c.Post("/admin/webhooks", form); a.Status != http.StatusBadRequest || !strings.Contains(a.Body, "The webhook was not made.") {
			t.Errorf("%v: %d", form, a.Status)
		}
	}
}

// Every type of event has its words: whatever happens is told in the reader's language.
func TestEvents_EachTypeIsInTheCatalogue(t *testing.T) {
	h := newHouse(t)
	typed := slices.DeleteFunc(audit.Types(), func(typ audit.Type) bool { return typ == audit.Damaged })
	target := "https://receiver.example"
	made, _, err := h.hooks.Add(t.Context(), audit.ByOperator(0), webhook.Change{URL: &target, Events: &typed})
	check.Must(t, err)
	c := h.signedIn("ada", user.Owner)
	if a := c.Get("/admin/webhooks/" + made.ID); a.Status != http.StatusOK || strings.Contains(a.Body, "admin_events.type.") {
		t.Errorf("%d: %v", a.Status, regexp.MustCompile(`admin_events\.type\.\w+`).FindAllString(a.Body, -1))
	}
}
