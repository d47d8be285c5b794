package dashboard

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"tutela/device"
	"tutela/device/push"
	"tutela/device/push/pushtest"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
)

// postman answers as a push service does.
type postman struct {
	says  atomic.Pointer[error]
	taken atomic.Int64
}

func (p *postman) Deliver(_ context.Context, _ push.Address, m push.Message) error {
	if says := p.says.Load(); says != nil {
		return *says
	}
	if m.Notice == "test" && m.Text != "" {
		p.taken.Add(1)
	}
	return nil
}

// ringing gives a user a phone that FCM reaches.
func (h *house) ringing(id string) (enrollment string) {
	h.t.Helper()
	h.enrolled(id)
	check.Must(h.t, h.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
		u, err := user.Find(tx, id)
		if err != nil {
			return err
		}
		all, err := device.All(tx, u.UID)
		if err != nil {
			return err
		}
		e := all[0]
		e.Type = device.TypePush
		e.Push.Address = push.Address{Service: push.FCM, Token: "token-of-" + id}.Keep()
		enrollment = e.ID
		return device.Put(tx, u.UID, e)
	}))
	return enrollment
}

func TestBrowser_PushProvidersAndATest(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	phone := h.ringing("maria")
	c := h.boss("ada", user.Admin)
	c.PressNamed("Push providers")
	c.Sees("Push providers")
	c.Says("In order")
	c.Type("#user", "maria")
	c.PressNamed("Show the phones")
	c.Until(`document.querySelector("#phone")?.value === "` + phone + `"`)
	c.PressNamed("Send it")
	c.Says("Google (FCM) has taken the message: look at the phone.")
	if n := h.postman.taken.Load(); n != 1 {
		t.Errorf("%d tests were sent", n)
	}
	gone := error(&push.Refusal{Verdict: push.Gone, Status: 404, Reason: "UNREGISTERED"})
	h.postman.says.Store(&gone)
	c.WithoutScript()
	c.PressNamed("Send it")
	c.Says("Google (FCM) says that the app is gone from this phone.")
	c.Says("UNREGISTERED")
	check.Must(t, h.Store.View(t.Context(), func(tx *storage.Tx) error {
		u, err := user.Find(tx, "maria")
		if err != nil {
			return err
		}
		e, err := device.Get(tx, u.UID, phone)
		if err == nil && len(e.Routes()) != 1 {
			t.Error("a test has retired the phone's address")
		}
		return err
	}))
	c.Speaks("de")
	c.Go(h.Base + "/admin/push?user=maria")
	c.Sees("Push-Dienste")
}

func TestPush_CredentialsAreSetAndNeverShownAgain(t *testing.T) {
	h := newHouse(t)
	c := h.signedIn("ada", user.Admin)
	apple := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	p12 := base64.StdEncoding.EncodeToString(apple.Certificate(pkcs12.LegacyRC2, "", ""))
	if a := c.Post("/admin/push/apns", url.Values{"bundle": {"com.example.app"}, "p12": {p12}}); a.Status != http.StatusOK {
		t.Errorf("APNs: %d", a.Status)
	}
	set, err := h.Direct.APNs(t.Context())
	if err != nil || !set.Enabled || set.Bundle != "com.example.app" {
		t.Errorf("set %+v, %v", set, err)
	}
	a := c.Get("/admin/push")
	if a.Status != http.StatusOK || !strings.Contains(a.Body, "com.example.app") || strings.Contains(a.Body, p12[:40]) {
		t.Errorf("the page: %d", a.Status)
	}
	for _, bad := range []string{"%", "dGVzdA=="} {
		if a := c.Post("/admin/push/apns", url.Values{"p12": {bad}}); a.Status != http.StatusBadRequest || !strings.Contains(a.Body, "What was set stays") {
			t.Errorf("%s: %d", bad, a.Status)
		}
	}
	if a := c.Post("/admin/push/fcm", url.Values{"account": {"nonsense-0815"}}); a.Status != http.StatusOK || !strings.Contains(a.Body, "cannot be used") || strings.Contains(a.Body, "nonsense-0815") {
		t.Errorf("FCM: %d", a.Status)
	}
	events := h.Events(audit.TenantUpdate)
	if last := events[len(events)-1]; !strings.HasPrefix(last.By, "user:") || last.Facts["service"] != "FCM" {
		t.Errorf("the event: %+v", last)
	}
}

func TestPush_IsAnAdminsToChangeAndTest(t *testing.T) {
	h := newHouse(t)
	phone := h.ringing("maria")
	for role, may := range map[user.Role]bool{user.Viewer: false, user.Helpdesk: false, user.Admin: true, user.Owner: true} {
		c := h.signedIn("one-"+string(role), role)
		if a := c.Get("/admin/push"); a.Status != http.StatusOK || strings.Contains(a.Body, `name="p12"`) != may {
			t.Errorf("%s looks: %d", role, a.Status)
		}
		want := http.StatusForbidden
		if may {
			want = http.StatusOK
		}
		for path, form := range map[string]url.Values{
			"/admin/push/test": {"user": {"maria"}, "phone": {phone}},
			"/admin/push/fcm":  {"account": {"x"}},
			"/admin/push/apns": {"bundle": {"com.example"}},
		} {
			if a := c.Post(path, form); a.Status != want {
				t.Errorf("%s, %s: %d, want %d", role, path, a.Status, want)
			}
		}
	}
	c := h.signedIn("boss", user.Owner)
	for _, form := range []url.Values{nil, {"user": {"maria"}}, {"user": {"maria"}, "phone": {"dev_nothing"}}, {"user": {"nobody"}, "phone": {phone}}} {
		if a := c.Post("/admin/push/test", form); a.Status != http.StatusBadRequest || !strings.Contains(a.Body, "Nothing was sent.") {
			t.Errorf("%v: %d", form, a.Status)
		}
	}
	for _, says := range []error{push.ErrNotCarried, errors.New("no answer"), &push.Refusal{Verdict: push.Setup, Status: 403, Reason: "SENDER_ID_MISMATCH"}, &push.Refusal{Verdict: push.Busy, Status: 503}} {
		h.postman.says.Store(&says)
		if a := c.Post("/admin/push/test", url.Values{"user": {"maria"}, "phone": {phone}}); a.Status != http.StatusOK || !strings.Contains(a.Body, `class="note bad" role="status"`) || strings.Contains(a.Body, "admin_push.") {
			t.Errorf("%v: %d", says, a.Status)
		}
	}
	often := 0
	for range 11 {
		if a := c.Post("/admin/push/test", url.Values{"user": {"maria"}, "phone": {phone}}); a.Status == http.StatusTooManyRequests && a.Header.Get("Retry-After") != "" && strings.Contains(a.Body, "ten tests within an hour") {
			often++
		}
	}
	if often == 0 || often == 11 {
		t.Errorf("of eleven tests more %d are refused", often)
	}
	h.state = outbox.Status{Providers: []outbox.ProviderStatus{{Name: "FCM", State: outbox.Open, Since: h.Store.Now(), Word: "UNAVAILABLE"}}}
	if a := c.Get("/admin/push"); !strings.Contains(a.Body, "In trouble") || !strings.Contains(a.Body, "UNAVAILABLE") {
		t.Error("an open breaker is not shown")
	}
}
