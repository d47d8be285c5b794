package managementapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
)

func TestPatchUser_ChangesWhatItNamesAndAnswersTheWholeUser(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"u1","email":"a@example.com","connection":"db","email_verified":true,"given_name":"Ada","nickname":"a",
		"app_metadata":{"a":1,"b":{"x":1}},"user_metadata":{"k":"v"}}`).is(http.StatusCreated)
	got := h.call("PATCH", "/users/u1", `{"name":"Ada L","given_name":null,"picture":"https://example.com/a.png","username":"ada","family_name":"L",
		"blocked":true,"app_metadata":{"b":{"y":2},"a":null,"c":3},"user_metadata":null,"password":"x","connection":"other","verify_email":true}`).is(http.StatusOK).object()
	want := map[string]any{
		"user_id": "u1", "email": "a@example.com", "email_verified": true, "name": "Ada L", "nickname": "a", "username": "ada", "family_name": "L",
		"picture": "https://example.com/a.png", "blocked": true, "app_metadata": map[string]any{"b": map[string]any{"y": 2.0}, "c": 3.0},
		"identities": []any{map[string]any{"connection": "db", "user_id": "u1", "isSocial": false}},
		"created_at": "2026-03-01T12:00:00.123Z", "updated_at": "2026-03-01T12:00:00.123Z", "logins_count": 0.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("patched (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, h.call("GET", "/users/u1", "").object()); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	if again := h.call("PATCH", "/users/u1", `{}`).is(http.StatusOK).object(); again["name"] != "Ada L" {
		t.Errorf("changed by nothing: %v", again)
	}
	if found := listed(h.call("GET", "/users?q="+url.QueryEscape(`name:"ada l" AND username:ada`), "").array()); !slices.Equal(found, []string{"u1"}) {
		t.Errorf("found %v", found)
	}
	h.call("PATCH", "/users/u1", `{"blocked":false}`).is(http.StatusOK)
	if got := h.call("GET", "/users/u1", "").object(); got["blocked"] != nil {
		t.Errorf("unblocked: %v", got)
	}
}

func TestPatchUser_RefusesWhatCannotBe(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"u1","email":"a@example.com","connection":"db"}`).is(http.StatusCreated)
	h.call("POST", "/users", `{"user_id":"u2","email":"b@example.com","connection":"db"}`).is(http.StatusCreated)
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		`{"email":"B@example.com"}`: {http.StatusConflict, "user_exists"},
		`{"email":"none"}`:          {http.StatusBadRequest, "invalid_body"},
		`{"email":7}`:               {http.StatusBadRequest, "invalid_body"},
		`{"blocked":"yes"}`:         {http.StatusBadRequest, "invalid_body"},
		`{"app_metadata":[]}`:       {http.StatusBadRequest, "invalid_body"},
		`{"role":"king"}`:           {http.StatusBadRequest, "invalid_body"},
		`{"role":"owner"}`:          {http.StatusForbidden, "admin_reset_refused"},
		`[]`:                        {http.StatusBadRequest, "invalid_body"},
		``:                          {http.StatusBadRequest, "invalid_body"},
		`{"user_metadata":{"a":"` + strings.Repeat("x", 17<<10) + `"}}`: {http.StatusBadRequest, "invalid_body"},
		`{"name":"` + strings.Repeat("x", 301) + `"}`:                   {http.StatusBadRequest, "invalid_body"},
	} {
		h.call("PATCH", "/users/u1", body).refused(want.status, want.code)
	}
	h.call("PATCH", "/users/nobody", `{"name":"x"}`).refused(http.StatusNotFound, "inexistent_user")
	if got := h.call("GET", "/users/u1", "").object(); got["email"] != "a@example.com" || got["role"] != nil {
		t.Errorf("a refusal changed %v", got)
	}
}

func TestPatchUser_WithTheScopeOfAppMetadataChangesThatAlone(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"u1"}`).is(http.StatusCreated)
	token := h.tokenFor("update:users_app_metadata")
	h.call("PATCH", "/users/u1", `{"app_metadata":{"a":1},"nonsense":1}`, token).is(http.StatusOK)
	for _, body := range []string{`{}`, `{"name":"x"}`, `{"app_metadata":{"a":2},"blocked":true}`, `{"app_metadata":{"a":2},"user_metadata":{}}`, `{"user_metadata":null}`} {
		h.call("PATCH", "/users/u1", body, token).refused(http.StatusForbidden, "insufficient_scope")
	}
	h.call("PATCH", "/users/u1", `{"name":"x"}`, h.tokenFor("read:users")).refused(http.StatusForbidden, "insufficient_scope")
}

// The old address is told where there is a way: the phones are, and the event keeps it for whoever must find the person.
func TestPatchUser_TellsOfAnotherEmail(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"u1","email":"old@example.com","email_verified":true}`).is(http.StatusCreated)
	h.enroll("u1")
	got := h.call("PATCH", "/users/u1", `{"email":"new@example.com"}`).is(http.StatusOK).object()
	if got["email_verified"] != false || !slices.Equal(got["multifactor"].([]any), []any{"guardian"}) {
		t.Errorf("patched %v", got)
	}
	events := h.Events(audit.ManagementCall)
	at := slices.IndexFunc(events, func(e audit.Entry) bool { return e.Facts[audit.FactEmail] == audit.EmailChanged })
	if at < 0 || events[at].Detail.Text != "old@example.com" || events[at].Facts[audit.FactCall] != audit.CallUpdateUser {
		t.Errorf("events %+v", events)
	}
	if told := h.toldOf("u1"); !slices.Contains(told, recovery.NoticeEmailChanged) {
		t.Errorf("told of %v", told)
	}
	if found := h.call("GET", "/users-by-email?email=old@example.com", "").array(); len(found) != 0 {
		t.Errorf("found by the old one: %v", found)
	}
	both := h.call("PATCH", "/users/u1", `{"email":"newer@example.com","email_verified":true}`).object()
	if both["email_verified"] != true {
		t.Errorf("patched %v", both)
	}
}

// What changes who may get in follows the rule on admins; names and metadata do not.
func TestPatchUser_FollowsTheRuleOnAdmins(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"boss", "self", "owner"} {
		h.call("POST", "/users", fmt.Sprintf(`{"user_id":%q,"email":"%s@example.com"}`, id, id)).is(http.StatusCreated)
	}
	h.setRole("boss", user.Admin)
	h.setRole("owner", user.Owner)
	self, err := h.Admins.ReadUser(t.Context(), "self")
	must(t, err)
	_, own := h.clientFor(access.Client{Scopes: append([]string{"reset:admin_mfa"}, allScopes...), ActsAs: self.UID})
	strong := h.tokenFor(append([]string{"reset:admin_mfa"}, allScopes...)...)
	for _, body := range []string{`{"blocked":true}`, `{"email":"x@example.com"}`, `{"email":null}`} {
		h.call("PATCH", "/users/boss", body).refused(http.StatusForbidden, "admin_reset_refused")
		h.call("PATCH", "/users/self", body, own).refused(http.StatusForbidden, "admin_reset_refused")
		h.call("PATCH", "/users/boss", body, strong).is(http.StatusOK)
	}
	for _, id := range []string{"boss", "self", "owner"} {
		h.call("PATCH", "/users/"+id, `{"name":"Another","app_metadata":{"a":1},"email":"`+id+`@example.com"}`, own).is(http.StatusOK)
	}
	// The last owner stays, whatever the scopes.
	for _, c := range [][3]string{
		{"PATCH", "/users/owner", `{"blocked":true}`},
		{"DELETE", "/users/owner", ""},
		{"POST", "/users/owner/mfa-reset", `{"reason":"x"}`},
	} {
		h.call(c[0], c[1], c[2], strong).refused(http.StatusForbidden, "admin_reset_refused")
	}
	h.setRole("boss", user.Owner)
	h.call("PATCH", "/users/boss", `{"blocked":false}`, strong).is(http.StatusOK)
	h.enroll("boss")
	h.call("PATCH", "/users/owner", `{"blocked":true}`, strong).is(http.StatusOK)
	h.call("PATCH", "/users/boss", `{"blocked":true}`, strong).refused(http.StatusForbidden, "admin_reset_refused")
}

// toldOf returns the words of what the user's phones were told.
func (h *house) toldOf(userID string) (words []recovery.NoticeWord) {
	h.t.Helper()
	must(h.t, h.store.View(h.t.Context(), func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		must(h.t, err)
		told, err := recovery.Notices(tx, u.UID, noon.Add(-time.Hour))
		for _, n := range told {
			words = append(words, n.Notice)
		}
		return err
	}))
	return words
}
