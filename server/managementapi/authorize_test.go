package managementapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/storagetest/check"
)

// operations are the calls of this API with their scopes, from /openapi.json.
func (h *house) operations() map[[2]string][]string {
	h.t.Helper()
	resp, err := http.Get(h.url + "/openapi.json")
	must(h.t, err)
	var described struct {
		Paths map[string]map[string]struct {
			Description string `json:"description"`
		} `json:"paths"`
	}
	must(h.t, errors.Join(json.NewDecoder(resp.Body).Decode(&described), resp.Body.Close()))
	operations := map[[2]string][]string{}
	for path, methods := range described.Paths {
		below, ours := strings.CutPrefix(path, "/api/v2")
		if !ours {
			continue
		}
		for method, op := range methods {
			before, scopes, _ := strings.Cut(op.Description, "Scope: ")
			name := [2]string{strings.ToUpper(method), below}
			operations[name] = strings.Split(scopes, " or ")
			if more := alsoNeeds.FindStringSubmatch(before); more != nil {
				beside[name] = more[1]
			}
		}
	}
	return operations
}

// beside are the scopes that calls need beside one of theirs, as their descriptions say.
var (
	beside    = map[[2]string]string{}
	alsoNeeds = regexp.MustCompile(`It also needs ([a-z:_]+)`)
)

var pathParameter = regexp.MustCompile(`\{[a-z]+\}`)

func TestEveryCall_IsRefusedBeforeItsBodyIsReadOrAnythingIsLookedUp(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	known := "auth0|known"
	h.call("POST", "/users", `{"user_id":"auth0|known"}`).is(http.StatusCreated)
	operations := h.operations()
	if len(operations) < 19 {
		t.Fatalf("%d operations", len(operations))
	}
	for op, scopes := range operations {
		// A client with every scope but those of this call.
		without := []string{"openid", "read:branding"}
		for _, scope := range allScopes {
			if !strings.Contains(strings.Join(scopes, " "), scope) {
				without = append(without, scope)
			}
		}
		poor := h.tokenFor(without...)
		for _, id := range []string{"auth0%7Cknown", "nobody"} {
			path := pathParameter.ReplaceAllString(op[1], id)
			for _, body := range []string{"", "{", `{"user_id":7,"reason":[]}`} {
				if op[0] == "GET" {
					body = ""
				}
				// Whatever is wrong with query and body, the token is looked at first, then the scopes.
				for _, bad := range []string{"", "x.y.z", "opaque"} {
					h.call(op[0], path+"?page=-1&take=x", body, bad).refused(http.StatusUnauthorized, "invalid_token")
				}
				got := h.call(op[0], path+"?page=-1&take=x", body, poor).refused(http.StatusForbidden, "insufficient_scope").object()
				want := "Insufficient scope, expected any of: " + strings.Join(scopes, ",")
				if got["message"] != want {
					t.Errorf("%v: message %q, want %q", op, got["message"], want)
				}
			}
			if op[0] == "GET" {
				continue
			}
			// Nobody waits for a body that nobody will read.
			for token, status := range map[string]int{"": 401, "x.y.z": 401, poor: 403} {
				if got := h.Knock(op[0], "/api/v2"+path, "Authorization", "Bearer "+token); got.Status != status {
					t.Errorf("%v with %q: %d %s", op, token, got.Status, got.Raw)
				}
			}
		}
	}
	// No refused call has done anything.
	h.call("GET", "/users/"+known, "").is(http.StatusOK)
}

func TestEveryCall_PassesWithOneOfItsScopes(t *testing.T) {
	h := newHouse(t)
	for op, scopes := range h.operations() {
		for _, scope := range scopes {
			token := h.tokenFor(scope)
			if more := beside[op]; more != "" {
				token = h.tokenFor(scope, more)
			}
			got := h.call(op[0], pathParameter.ReplaceAllString(op[1], "nobody"), "", token)
			if got.status == http.StatusUnauthorized || got.status == http.StatusForbidden || got.status >= http.StatusInternalServerError {
				t.Errorf("%v with %s: %d %s", op, scope, got.status, got.body)
			}
		}
	}
}

func TestEveryCall_TakesNoTokenOfAnotherKind(t *testing.T) {
	h := newHouse(t)
	c, _ := h.clientFor(access.Client{Scopes: append([]string{"openid"}, allScopes...)})
	who := access.Login{UserID: "auth0|known", AMR: []string{"mfa"}}
	id, err := h.access.IDToken(t.Context(), c, who)
	must(t, err)
	about, err := h.access.AccessToken(t.Context(), c, who, "", allScopes)
	must(t, err)
	receipt, err := h.access.SignReceipt(t.Context(), []byte(`{"scope":"read:users"}`))
	must(t, err)
	for name, token := range map[string]string{
		"id_token": id, "access_token": about, "receipt": receipt, "client_secret": storage.NewID("", 48),
		"device_token": storage.NewID("dt_", 43), "ticket": storage.NewID("", 32),
	} {
		if got := h.call("GET", "/users", "", token); got.status != http.StatusUnauthorized {
			t.Errorf("a %s opens the call: %d", name, got.status)
		}
	}
	h.call("GET", "/users", "").is(http.StatusOK)
}

func TestUnknownPath_Is404InTheWordsOfThisAPI(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/nothing", "/users/a/b/c", "/guardian"} {
		h.call("GET", path, "").refused(http.StatusNotFound, "not_found")
	}
}

func TestFailedChange_IsAnEvent(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{}`).refused(http.StatusBadRequest, "invalid_body")
	h.call("POST", "/users/nobody/mfa-reset", `{"reason":"x"}`).refused(http.StatusNotFound, "inexistent_user")
	h.call("GET", "/users/nobody", "").refused(http.StatusNotFound, "inexistent_user")
	h.call("GET", "/users", "", h.tokenFor("read:logs")).refused(http.StatusForbidden, "insufficient_scope")
	h.call("POST", "/users", `{}`, "").is(http.StatusUnauthorized)
	events := h.logsOf("fapi")
	if len(events) != 3 {
		t.Fatalf("%d events: %v", len(events), events)
	}
	details := events[1]["details"].(map[string]any)
	request := details["request"].(map[string]any)
	if request["method"] != "POST" || request["path"] != "/api/v2/users/{id}/mfa-reset" ||
		details["response"].(map[string]any)["statusCode"] != float64(404) {
		t.Errorf("details %v", details)
	}
	if events[2]["description"] != "Create a User" || events[2]["user_id"] != nil || events[2]["client_name"] != "admin program" {
		t.Errorf("event %v", events[2])
	}
}

func TestChange_IsAnEventThatTellsOfTheCall(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"auth0|a/b","name":"Ann"}`).is(http.StatusCreated)
	h.call("POST", "/guardian/enrollments/ticket", `{"user_id":"auth0|a/b"}`).is(http.StatusOK)
	h.call("POST", "/users/auth0%7Ca%2Fb/mfa-reset", `{"reason":"lost her phone"}`).is(http.StatusOK)
	events := h.logsOf("sapi")
	if len(events) != 3 {
		t.Fatalf("%d events", len(events))
	}
	for i, want := range []struct {
		about, path string
		status      float64
	}{
		{"Reset a User's MFA", "/api/v2/users/auth0%7Ca%2Fb/mfa-reset", 200},
		{"Create a Guardian Enrollment Ticket", "/api/v2/guardian/enrollments/ticket", 200},
		{"Create a User", "/api/v2/users", 201},
	} {
		details, _ := events[i]["details"].(map[string]any)
		request, _ := details["request"].(map[string]any)
		response, _ := details["response"].(map[string]any)
		if events[i]["description"] != want.about || request["path"] != want.path || request["method"] != "POST" ||
			request["ip"] != "127.0.0.1" || request["userAgent"] != "admin/1.0" || response["statusCode"] != want.status {
			t.Errorf("event %v, want %+v", events[i], want)
		}
		if events[i]["user_id"] != nil || events[i]["user_name"] != nil {
			t.Errorf("the event of a call names a user: %v", events[i])
		}
	}
}
