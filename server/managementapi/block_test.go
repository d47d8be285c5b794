package managementapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/login"
	"tutela/device/phone"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// user-blocks shows what is closed, muted and used up, and opens all of it.
func TestUserBlocks_ShowWhatIsMutedUsedUpAndWaiting(t *testing.T) {
	h := newHouse(t)
	p, err := phone.New(phone.Options{BaseURL: h.url, Client: h.Client, Now: h.clock.Wall})
	must(t, err)
	_, err = p.Enroll(t.Context(), h.Ticket(user.User{ID: "u1"}))
	must(t, err)
	h.guess("u1")
	for range 5 {
		h.ask("u1", "203.0.113.9")
	}
	asked, err := p.Approvals(t.Context(), 0, nil)
	must(t, err)
	must(t, p.Deny(t.Context(), asked[0], "not_me"))
	now := h.store.Now()
	at := func(d time.Duration) string { return storage.FormatInstant(now.Add(d)) }
	want := []any{
		map[string]any{"identifier": "u1", "channel": "login", "until": at(30 * time.Second)},
		map[string]any{"identifier": "u1", "channel": "muted", "client_id": "bank", "ip": "203.0.113.0/24", "until": at(time.Hour)},
		map[string]any{"identifier": "u1", "channel": "push", "client_id": "bank", "until": at(90 * time.Minute)},
	}
	for _, path := range []string{"/user-blocks/u1", "/user-blocks?identifier=u1"} {
		got := h.call("GET", path, "").is(http.StatusOK).object()["blocked_for"]
		if diff := cmp.Diff(any(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	h.call("DELETE", "/user-blocks/u1", "").is(http.StatusNoContent)
	if got := h.call("GET", "/user-blocks/u1", "").is(http.StatusOK).object()["blocked_for"].([]any); len(got) != 0 {
		t.Errorf("after unblocking: %v", got)
	}
	if delivery := h.ask("u1", "203.0.113.9").Delivery; delivery == login.Silent {
		t.Errorf("then a login is %s", delivery)
	}
}

// guess makes the channel of logins wait: ten wrong codes.
func (h *house) guess(userID string) {
	h.t.Helper()
	wrong, err := recovery.ParseCode("7V3KQ9X2M4T8R6W5Y1ZJ0ABV")
	must(h.t, err)
	for range 10 {
		err := h.store.Update(h.t.Context(), func(tx *storage.Tx) error {
			u, err := user.Find(tx, userID)
			must(h.t, err)
			_, err = h.codes.Spend(tx, u.UID, recovery.LoginChannel, wrong, audit.ByUser())
			return err
		})
		if storage.CodeOf(err) != storage.Denied {
			h.t.Fatal(err)
		}
	}
}

// ask asks for an approval, as the client "bank".
func (h *house) ask(userID, ip string) login.Begun {
	h.t.Helper()
	begun, err := h.Logins.Begin(h.t.Context(), login.Request{
		Client: "bank",
		UserID: userID,
		IP:     ip,
		Life:   time.Minute,
	})
	must(h.t, err)
	return begun
}
