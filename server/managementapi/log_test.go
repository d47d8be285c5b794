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
	"tutela/storage"
	"tutela/storage/audit"
)

// ids are the log_ids of events.
func ids(events []map[string]any) (list []string) {
	for _, e := range events {
		list = append(list, e["log_id"].(string))
	}
	return list
}

func TestLogs_HaveEveryMemberAndNullForWhatIsUnknown(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"auth0|1","name":"Ann","connection":"db"}`).is(http.StatusCreated)
	h.enroll("auth0|1")
	event := h.logsOf("gd_enrollment_complete")[0]
	want := map[string]any{
		"log_id": event["log_id"], "_id": event["log_id"], "date": "2026-03-01T12:00:00.123Z", "type": "gd_enrollment_complete",
		"user_id": "auth0|1", "user_name": "Ann", "client_id": nil, "client_name": nil, "connection": "db", "hostname": nil,
		"audience": nil, "scope": nil, "ip": "192.0.2.7", "user_agent": nil, "isMobile": nil, "location_info": nil,
		"description": "An authenticator was enrolled", "details": event["details"],
	}
	if diff := cmp.Diff(want, event); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if details := event["details"].(map[string]any); details["device"] != "Pixel 9" {
		t.Errorf("details %v", details)
	}
	id := event["log_id"].(string)
	if strings.Trim(id, "0123456789") != "" {
		t.Errorf("log_id %q", id)
	}
	if diff := cmp.Diff(event, h.call("GET", "/logs/"+id, "").is(http.StatusOK).object()); diff != "" {
		t.Errorf("by itself it differs:\n%s", diff)
	}
	for _, bad := range []string{"0", "x", strings.Repeat("9", 25), strings.Repeat("9", 300)} {
		h.call("GET", "/logs/"+bad, "").is(http.StatusNotFound)
	}
	h.call("POST", "/users/auth0%7C1/mfa-reset", `{"reason":"x"}`).is(http.StatusOK)
	if event := h.logsOf("gd_enrollment_complete")[0]; event["ip"] != nil || event["user_id"] != "auth0|1" {
		t.Errorf("after the reset: %v", event)
	}
}

func TestLogs_SayOfEachTypeWhatItIs(t *testing.T) {
	h := newHouse(t)
	for _, of := range audit.Types() {
		must(t, h.store.Update(t.Context(), func(tx *storage.Tx) error {
			return audit.Record(tx, audit.ByOperator(0), audit.Event{Type: of}, audit.Detail{})
		}))
		for _, event := range h.logsOf(string(of)) {
			if says, _ := event["description"].(string); says == "" {
				t.Errorf("%s: the API does not say what it is", of)
			}
		}
	}
}

func TestLogs_PageNewestFirstAndGoOnOldestFirst(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		h.clock.Advance(time.Second)
		h.call("POST", "/users", fmt.Sprintf(`{"user_id":"u%d"}`, i)).is(http.StatusCreated)
	}
	all := ids(h.call("GET", "/logs?per_page=100", "").array())
	if !slices.IsSortedFunc(all, func(a, b string) int { return strings.Compare(b, a) }) || len(all) < 5 {
		t.Fatalf("events %v", all)
	}
	if got := ids(h.call("GET", "/logs?page=1&per_page=2", "").array()); !slices.Equal(got, all[2:4]) {
		t.Errorf("page 1: %v", got)
	}
	// By page either end comes first.
	oldest := slices.Clone(all)
	slices.Reverse(oldest)
	if got := ids(h.call("GET", "/logs?sort=date:1&per_page=2", "").array()); !slices.Equal(got, oldest[:2]) {
		t.Errorf("sorted: %v", got)
	}
	whole := h.call("GET", "/logs?per_page=2&page=1&include_totals=true", "").object()
	delete(whole, "logs")
	if diff := cmp.Diff(map[string]any{"start": 2.0, "limit": 2.0, "length": 2.0, "total": float64(len(all))}, whole); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	// With take or from the oldest comes first, whatever the page.
	if got := ids(h.call("GET", "/logs?take=2", "").array()); !slices.Equal(got, oldest[:2]) {
		t.Errorf("from the first: %v", got)
	}
	if got := ids(h.call("GET", "/logs?take=3&include_totals=true&page=7&from="+oldest[1], "").array()); !slices.Equal(got, oldest[2:5]) {
		t.Errorf("from the third: %v", got)
	}
	if got := strings.TrimSpace(h.call("GET", "/logs?take=3&from="+all[0], "").body); got != "[]" {
		t.Errorf("after the last: %s", got)
	}
}

func TestLogs_AreSearchedByTypeUserClientAndDate(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"u1", "u2"} {
		h.call("POST", "/users", `{"user_id":"`+id+`"}`).is(http.StatusCreated)
		h.enroll(id)
		h.clock.Advance(24 * time.Hour)
		h.token = h.tokenFor(allScopes...)
	}
	client := h.logsOf("sapi")[0]["client_id"].(string) // each day has its own
	for q, want := range map[string]int{
		`type:"gd_enrollment_complete"`:                                           2,
		`type:"gd_enrollment_complete" AND user_id:"u1"`:                          1,
		`type:gd_enrollment_complete AND type:sapi`:                               0,
		`user_id:"nobody"`:                                                        0,
		`user_id:"u1" AND type:sapi`:                                              0, // their user_id is null
		`type:sapi AND client_id:"` + client + `"`:                                1,
		`type:sapi AND client_id:"x"`:                                             0,
		`type:sapi AND date:[2026-03-01 TO 2026-03-01]`:                           1,
		`type:sapi AND date:[2026-03-02 TO *]`:                                    1,
		`type:sapi AND date:[* TO 2026-03-02]`:                                    2,
		`type:sapi AND date:[2026-03-01T12:00:00.000Z TO 2026-03-02T11:00:00Z]`:   1,
		`type:sapi AND date:[2026-03-01T12:00:00.123Z TO "2026-03-01T12:00:00Z"]`: 0,
	} {
		for _, parameter := range []string{"q", "search"} {
			if got := h.call("GET", "/logs?"+parameter+"="+url.QueryEscape(q), "").is(http.StatusOK).array(); len(got) != want {
				t.Errorf("%s: %d events, want %d", q, len(got), want)
			}
		}
	}
	for _, q := range []string{"date:x", "date:[x TO y]", "date:[2026-03-01]", "type:a*", "ip:1", "free", "type:"} {
		h.call("GET", "/logs?q="+url.QueryEscape(q), "").refused(http.StatusBadRequest, "invalid_query_string")
	}
	h.call("GET", "/logs?from=x", "").refused(http.StatusBadRequest, "invalid_query_string")
	h.call("GET", "/logs?sort=type:1", "").refused(http.StatusBadRequest, "invalid_query_string")
}

func TestUserLogs_AreThoseOfTheUserAlone(t *testing.T) {
	h := newHouse(t)
	h.enroll("u1")
	h.enroll("u2")
	for _, e := range h.call("GET", "/users/u1/logs", "").is(http.StatusOK).array() {
		if e["user_id"] != "u1" {
			t.Errorf("event %v", e)
		}
	}
	h.call("GET", "/users/nobody/logs", "").refused(http.StatusNotFound, "inexistent_user")
	if got := h.call("GET", "/users/u1/logs?fields=type&per_page=1&include_totals=true", "").object(); got["total"] != 2.0 ||
		!cmp.Equal(got["logs"], []any{map[string]any{"type": "gd_enrollment_complete"}}) {
		t.Errorf("logs %v", got)
	}
}

func TestUserBlocks_AreShownAndOpened(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"u1","email":"u1@example.com","username":"one"}`).is(http.StatusCreated)
	h.enroll("u1")
	p, err := h.Admins.ReadUser(t.Context(), "u1")
	must(t, err)
	wrong, err := recovery.ParseCode("000000000000000000000000")
	must(t, err)
	block := func() {
		t.Helper()
		for range 10 {
			err := h.store.Update(t.Context(), func(tx *storage.Tx) error {
				_, err := h.codes.Spend(tx, p.UID, recovery.LoginChannel, wrong, audit.ByUser())
				return err
			})
			if storage.CodeOf(err) != storage.Denied {
				t.Fatal(err)
			}
		}
	}
	// However the user is named, the block is shown and opened.
	empty := map[string]any{"blocked_for": []any{}}
	want := map[string]any{"blocked_for": []any{
		map[string]any{"identifier": "u1@example.com", "channel": "login", "until": storage.FormatInstant(h.store.Now().Add(30 * time.Second))},
	}}
	for _, path := range []string{"/user-blocks/u1", "/user-blocks?identifier=u1", "/user-blocks?identifier=U1@example.com", "/user-blocks?identifier=one"} {
		if diff := cmp.Diff(empty, h.call("GET", path, "").is(http.StatusOK).object()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		block()
		if diff := cmp.Diff(want, h.call("GET", path, "").is(http.StatusOK).object()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		h.call("DELETE", path, "").is(http.StatusNoContent)
		if diff := cmp.Diff(empty, h.call("GET", path, "").object()); diff != "" {
			t.Errorf("%s after it was opened (-want +got):\n%s", path, diff)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		h.call(method, "/user-blocks", "").refused(http.StatusBadRequest, "invalid_query_string")
		h.call(method, "/user-blocks/nobody", "").refused(http.StatusNotFound, "inexistent_user")
		h.call(method, "/user-blocks?identifier=nobody", "").refused(http.StatusNotFound, "inexistent_user")
	}
}

func TestLogs_ShowWhatIsFoldedAndWhatIsDamaged(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"u1"}`).is(http.StatusCreated)
	damaged := h.logsOf("sapi")[0]["log_id"].(string)
	// Two occurrences half a minute apart become one event.
	for range 2 {
		must(t, h.store.Update(t.Context(), func(tx *storage.Tx) error {
			e := audit.Event{Type: audit.ManagementFailed, Facts: audit.Facts{audit.FactCall: audit.CallGetLog, audit.FactStatus: "404"}}
			return audit.Fold(tx, audit.ByClient("cl_x", nil, storage.House), e, audit.Detail{}, "", time.Minute)
		}))
		h.clock.Advance(30 * time.Second)
	}
	_, _, err := audit.CloseFolds(t.Context(), h.store)
	must(t, err)
	// The event of the call above can be read no more.
	must(t, h.store.Engine().Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		ws.Put([]byte("levent\x00\x00"+damaged), []byte("x"))
		return ws, nil
	}))

	details := h.logsOf("fapi")[0]["details"].(map[string]any)
	if details["count"] != 2.0 || details["first"] != "2026-03-01T12:00:00.123Z" || details["last"] != "2026-03-01T12:00:30.123Z" || details["request"] == nil {
		t.Errorf("folded: %v", details)
	}
	event := h.logsOf("td_damaged")[0]
	if event["log_id"] != damaged || event["date"] != "2026-03-01T12:00:00.123Z" || event["details"].(map[string]any)["damage"] != "the event cannot be read" {
		t.Errorf("damaged: %v", event)
	}
	if diff := cmp.Diff(event, h.call("GET", "/logs/"+damaged, "").is(http.StatusOK).object()); diff != "" {
		t.Errorf("by itself it differs:\n%s", diff)
	}
}

func TestLogs_FailuresOfATokenAreCounted(t *testing.T) {
	h := newHouse(t)
	token := h.tokenFor("read:users")
	h.call("POST", "/users", "{", token).refused(http.StatusForbidden, "insufficient_scope")
	if got := h.logsOf("fapi"); len(got) != 1 {
		t.Fatalf("the first is recorded at once: %v", got)
	}
	for range 300 {
		h.call("POST", "/users", "{", token).refused(http.StatusForbidden, "insufficient_scope")
	}
	h.call("DELETE", "/users/x", "", token).refused(http.StatusForbidden, "insufficient_scope")                 // another call
	h.call("POST", "/users", "{", h.tokenFor("read:users")).refused(http.StatusForbidden, "insufficient_scope") // another client
	if got := h.logsOf("fapi"); len(got) != 3 {
		t.Errorf("%d events", len(got))
	}
	h.clock.Advance(time.Minute)
	_, _, err := audit.CloseFolds(t.Context(), h.store)
	must(t, err)
	got := h.logsOf("fapi")
	counted := 0
	for _, event := range got {
		if n, folded := event["details"].(map[string]any)["count"].(float64); folded {
			counted += int(n)
		}
	}
	if len(got) != 4 || counted != 300 {
		t.Errorf("%d events, which count %d", len(got), counted)
	}
}
