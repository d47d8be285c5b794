package managementapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/recovery/admin"
	"tutela/storage"
	"tutela/storage/tally"
)

func TestRecoverability_HasTheShapeOfThePage(t *testing.T) {
	h := newHouse(t)
	h.enroll("ada")
	h.enroll("bob")
	h.enroll("bob")
	h.call("POST", "/users", `{"user_id":"eve"}`).is(http.StatusCreated) // who is new
	want := map[string]any{
		"users": 2.0, "recoverable": 1.0,
		"ways": map[string]any{"code": 0.0, "device": 1.0, "passkey": 0.0},
		"at_risk": map[string]any{
			"no_recovery_code": 0.0, "unconfirmed_code": 2.0, "no_backup": 2.0, "stale_backup": 0.0, "one_device": 1.0,
		},
	}
	got := h.call("GET", "/recoverability", "").is(http.StatusOK).object()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	one := h.call("GET", "/recoverability/users?risk=one_device", "").is(http.StatusOK).array()
	want = map[string]any{"user_id": "ada", "ways": []any{}, "risks": []any{"unconfirmed_code", "no_backup", "one_device"}}
	if diff := cmp.Diff([]any{want}, asAny(one)); diff != "" {
		t.Error(diff)
	}
	h.call("GET", "/recoverability/users", "").refused(http.StatusBadRequest, "invalid_query_string")
	h.call("GET", "/recoverability/users?risk=boredom", "").refused(http.StatusBadRequest, "invalid_query_string")
	h.call("GET", "/recoverability/users?risk=no_backup&take=2&from=!", "").refused(http.StatusBadRequest, "invalid_query_string")
	h.call("GET", "/recoverability/users?risk=no_backup&from=YWJj", "").refused(http.StatusBadRequest, "invalid_query_string")
	h.call("GET", "/recoverability", "", h.tokenFor("read:users")).refused(http.StatusForbidden, "insufficient_scope")
	h.call("GET", "/recoverability/users?risk=no_backup", "", h.tokenFor("read:users")).refused(http.StatusForbidden, "insufficient_scope")
}

func asAny[T any](items []T) (list []any) {
	for _, item := range items {
		list = append(list, item)
	}
	return list
}

func TestRecoverability_IsUnavailableUntilUsersOfAnEarlierReleaseAreCounted(t *testing.T) {
	h := newHouse(t)
	h.enroll("ada")
	var keys [][]byte
	h.Scan(func(key, _ string) {
		if strings.Contains(key, "recoverability_index") {
			keys = append(keys, []byte(key))
		}
	})
	must(t, h.store.Engine().Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		for _, key := range keys {
			ws.Delete(key)
		}
		return ws, nil
	}))
	for _, path := range []string{"/recoverability", "/recoverability/users?risk=no_backup"} {
		h.call("GET", path, "").refused(http.StatusServiceUnavailable, "unavailable")
	}
	must(t, h.Admins.CountEveryone(t.Context()))
	if users := h.call("GET", "/recoverability", "").is(http.StatusOK).object()["users"]; users != 1.0 {
		t.Errorf("%v users", users)
	}
}

func TestRecoverabilityUsers_AreListedInEachShape(t *testing.T) {
	h := newHouse(t)
	var want []string
	for i := range 7 {
		id := fmt.Sprint("user ", i)
		h.enroll(id)
		want = append(want, id)
	}
	var got []string
	for path := "?risk=one_device&take=3"; path != ""; {
		page := h.call("GET", "/recoverability/users"+path, "").is(http.StatusOK).object()
		for _, item := range page["users"].([]any) {
			got = append(got, item.(map[string]any)["user_id"].(string))
		}
		next, more := page["next"].(string)
		path = ""
		if more {
			path = "?risk=one_device&take=3&from=" + next
		}
	}
	byPage := h.call("GET", "/recoverability/users?risk=one_device&per_page=3&page=1&include_totals=true", "").is(http.StatusOK).object()
	if byPage["start"] != 3.0 || byPage["length"] != 3.0 || byPage["total"] != 7.0 || byPage["limit"] != 3.0 {
		t.Errorf("by page: %v", byPage)
	}
	if first := byPage["users"].([]any)[0].(map[string]any)["user_id"]; first != got[3] {
		t.Errorf("page 1 begins with %v, want %s", first, got[3])
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	h.call("GET", "/recoverability/users?risk=one_device&page=9&per_page=100", "").is(http.StatusOK)
	h.call("GET", "/recoverability/users?risk=one_device&page=11&per_page=100", "").refused(http.StatusBadRequest, "invalid_paging")
}

func TestStats_HaveADayEach(t *testing.T) {
	h := newHouse(t)
	folder := tally.NewFolder(h.store, admin.KeptByDay()...)
	h.enroll("ada")
	must(t, folder.Fold(t.Context()))
	h.clock.Advance(48 * time.Hour)
	h.enroll("bob")
	h.enroll("bob")
	must(t, folder.Fold(t.Context()))
	h.token = h.tokenFor(allScopes...) // the one before has expired
	zero := func(date string) map[string]any {
		return map[string]any{
			"date": date, "logins": 0.0, "approved": 0.0, "denied": 0.0, "expired": 0.0, "silent": 0.0, "codes": 0.0, "enrolled": 0.0, "left": 0.0,
			"restores": 0.0, "restored": 0.0, "resets": 0.0, "push": map[string]any{},
		}
	}
	first := zero("2026-03-01")
	first["enrolled"] = 1.0
	third := zero("2026-03-03")
	third["enrolled"] = 2.0
	got := h.call("GET", "/stats?from=2026-03-01&to=2026-03-03T23:00:00Z", "").is(http.StatusOK).array()
	if diff := cmp.Diff([]any{first, zero("2026-03-02"), third}, asAny(got)); diff != "" {
		t.Error(diff)
	}
	for query, days := range map[string]int{"": 30, "?from=1970-01-01": 400, "?to=2026-03-01": 30, "?from=2030-01-01": 0, "?from=2026-03-03&to=2026-03-01": 0} {
		if got := h.call("GET", "/stats"+query, "").is(http.StatusOK).array(); len(got) != days {
			t.Errorf("%q: %d days, want %d", query, len(got), days)
		}
	}
	h.call("GET", "/stats?from=yesterday", "").refused(http.StatusBadRequest, "invalid_query_string")
	h.call("GET", "/stats", "", h.tokenFor("read:users")).refused(http.StatusForbidden, "insufficient_scope")
}
