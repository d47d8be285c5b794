package managementapi_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tutela/recovery/user"
	"tutela/server/access"
)

func TestCreateUser_AnswersTheWholeUser(t *testing.T) {
	h := newHouse(t)
	got := h.call("POST", "/users", `{"connection":"Username-Password-Authentication","email":"chuck@example.com",
		"password":"I have a password and its a secret","username":"chuck","user_metadata":{"favourite_attack":"roundhouse_kick"},
		"given_name":"Chuck","verify_email":true,"nonsense":1}`).is(http.StatusCreated).object()
	id, _ := got["user_id"].(string)
	if !regexp.MustCompile(`^auth0\|[0-9a-f]{24}$`).MatchString(id) {
		t.Fatalf("user_id %q", id)
	}
	want := map[string]any{
		"user_id": id, "email": "chuck@example.com", "email_verified": false, "name": "chuck@example.com", "nickname": "chuck",
		"username": "chuck", "given_name": "Chuck", "user_metadata": map[string]any{"favourite_attack": "roundhouse_kick"},
		"identities": []any{map[string]any{
			"connection": "Username-Password-Authentication", "user_id": strings.TrimPrefix(id, "auth0|"), "provider": "auth0", "isSocial": false,
		}},
		"created_at": "2026-03-01T12:00:00.123Z", "updated_at": "2026-03-01T12:00:00.123Z", "logins_count": float64(0),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("user (-want +got):\n%s", diff)
	}
	read := h.call("GET", "/users/"+url.PathEscape(id), "").is(http.StatusOK).object()
	if diff := cmp.Diff(want, read); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	h.enroll(id)
	if read := h.call("GET", "/users/"+url.PathEscape(id), "").object(); !slices.Equal(read["multifactor"].([]any), []any{"guardian"}) {
		t.Errorf("multifactor %v", read["multifactor"])
	}
}

func TestCreateUser_RefusesWhatCannotBe(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"connection":"db","email":"a@example.com"}`).is(http.StatusCreated)
	h.call("POST", "/users", `{"user_id":"u1"}`).is(http.StatusCreated)
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		`{"connection":"db","email":"A@example.com"}`: {http.StatusConflict, "user_exists"},
		`{"user_id":"u1"}`:                            {http.StatusConflict, "user_exists"},
		`{}`:                                          {http.StatusBadRequest, "invalid_body"},
		``:                                            {http.StatusBadRequest, "invalid_body"},
		`[]`:                                          {http.StatusBadRequest, "invalid_body"},
		`{"user_id":7}`:                               {http.StatusBadRequest, "invalid_body"},
		`{"user_id":"` + strings.Repeat("x", 256) + `"}`:                           {http.StatusBadRequest, "invalid_body"},
		`{"user_id":"a\nb"}`:                                                       {http.StatusBadRequest, "invalid_body"},
		`{"user_id":"u2","email":"no address"}`:                                    {http.StatusBadRequest, "invalid_body"},
		`{"connection":"db"}`:                                                      {http.StatusBadRequest, "invalid_body"},
		`{"user_id":"u2","name":"` + strings.Repeat("n", 5000) + `"}`:              {http.StatusBadRequest, "invalid_body"},
		strings.Repeat(`{"user_metadata":`, 100) + `{}` + strings.Repeat("}", 100): {http.StatusBadRequest, "invalid_body"},
	} {
		h.call("POST", "/users", body).refused(want.status, want.code)
	}
	h.call("POST", "/users", `{"connection":"other","email":"a@example.com"}`).is(http.StatusCreated)
	h.call("GET", "/users/u2", "").refused(http.StatusNotFound, "inexistent_user")
}

func TestUserPath_IsOneDecodedSegment(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"auth0|1", "a/b", "100%", "a+b", "a b", "ü", "%2F", "a?b", "mfa-reset"} {
		h.call("POST", "/users", fmt.Sprintf(`{"user_id":%q}`, id)).is(http.StatusCreated)
		if got := h.call("GET", "/users/"+url.PathEscape(id), "").is(http.StatusOK).object(); got["user_id"] != id {
			t.Errorf("%q is found as %v", id, got["user_id"])
		}
	}
}

func TestDeleteUser_RemovesTheUserAndIsNoErrorForNobody(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"u1","email":"planted@example.com","connection":"db"}`).is(http.StatusCreated)
	id := h.enroll("u1")
	for range 2 {
		if got := h.call("DELETE", "/users/u1", ""); got.status != http.StatusNoContent || got.body != "" {
			t.Fatalf("%d %q", got.status, got.body)
		}
	}
	h.call("DELETE", "/users/"+strings.Repeat("x", 300), "").is(http.StatusNoContent)
	h.call("GET", "/users/u1", "").refused(http.StatusNotFound, "inexistent_user")
	h.call("GET", "/guardian/enrollments/"+id, "").refused(http.StatusNotFound, "enrollment_not_found")
	if found := h.call("GET", "/users-by-email?email=planted@example.com", "").array(); len(found) != 0 {
		t.Errorf("found %v", found)
	}
	h.call("POST", "/users", `{"user_id":"u2","email":"planted@example.com","connection":"db"}`).is(http.StatusCreated)
	if events := h.logsOf("gd_user_delete"); len(events) != 1 || events[0]["user_id"] != nil || events[0]["ip"] != nil {
		t.Errorf("events %v", events)
	}
}

func TestEveryChangeOfFactors_FollowsTheRuleOnAdmins(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"boss", "self"} {
		h.call("POST", "/users", `{"user_id":"`+id+`"}`).is(http.StatusCreated)
	}
	h.setRole("boss", user.Admin)
	self, err := h.Admins.ReadUser(t.Context(), "self")
	must(t, err)
	// A program that may act on admins, and acts for one user.
	_, own := h.clientFor(access.Client{Scopes: append([]string{"reset:admin_mfa"}, allScopes...), ActsAs: self.UID})
	calls := func(id, enrollment string) [][3]string {
		return [][3]string{
			{"POST", "/guardian/enrollments/ticket", `{"user_id":"` + id + `","allow_multiple_enrollments":true}`},
			{"POST", "/guardian/enrollments/" + enrollment + "/suspend", ""},
			{"POST", "/guardian/enrollments/" + enrollment + "/resume", ""},
			{"DELETE", "/user-blocks/" + id, ""},
			{"PATCH", "/users/" + id, `{"blocked":true}`},
			{"DELETE", "/users/" + id + "/multifactor/google-authenticator", ""},
			{"DELETE", "/guardian/enrollments/" + enrollment, ""},
			{"DELETE", "/users/" + id + "/authenticators", ""},
			{"POST", "/users/" + id + "/mfa-reset", `{"reason":"x"}`},
			{"POST", "/users/" + id + "/mfa-reset", `{"reason":"x","dry_run":true}`},
			{"DELETE", "/users/" + id, ""},
		}
	}
	boss := h.enroll("boss")
	selfs := h.enroll("self")
	for _, c := range calls("boss", boss) {
		h.call(c[0], c[1], c[2]).refused(http.StatusForbidden, "admin_reset_refused")
	}
	// Nobody acts on himself, whatever the scopes.
	for _, c := range calls("self", selfs) {
		h.call(c[0], c[1], c[2], own).refused(http.StatusForbidden, "admin_reset_refused")
	}
	for _, c := range calls("boss", boss) {
		if got := h.call(c[0], c[1], c[2], own); got.status >= 300 {
			t.Errorf("%v by a client with reset:admin_mfa: %d %s", c, got.status, got.body)
		}
	}
}

// listed are the ids of the users in a list.
func listed(users []map[string]any) (ids []string) {
	for _, u := range users {
		ids = append(ids, u["user_id"].(string))
	}
	return ids
}

func TestListUsers_PagesAndCounts(t *testing.T) {
	h := newHouse(t)
	var all []string
	for i := range 7 {
		id := fmt.Sprintf("u%d", i)
		all = append(all, id)
		h.call("POST", "/users", `{"user_id":"`+id+`"}`).is(http.StatusCreated)
	}
	if got := listed(h.call("GET", "/users", "").is(http.StatusOK).array()); !slices.Equal(got, all) {
		t.Errorf("users %v", got)
	}
	if got := listed(h.call("GET", "/users?page=1&per_page=3", "").array()); !slices.Equal(got, all[3:6]) {
		t.Errorf("page 1: %v", got)
	}
	for _, path := range []string{"/users?page=2&per_page=3&include_totals=true", "/users?page=2&per_page=3&include_totals=true&sort=user_id:1"} {
		got := h.call("GET", path, "").object()
		users := got["users"].([]any)
		delete(got, "users")
		want := map[string]any{"start": 6.0, "limit": 3.0, "length": 1.0, "total": 7.0}
		if diff := cmp.Diff(want, got); diff != "" || len(users) != 1 {
			t.Errorf("%s (-want +got):\n%s%v", path, diff, users)
		}
	}
	if got := h.call("GET", "/users?page=9", "").is(http.StatusOK).body; strings.TrimSpace(got) != "[]" {
		t.Errorf("past the end: %s", got)
	}
	if got := listed(h.call("GET", "/users?sort=user_id:-1&per_page=2", "").array()); !slices.Equal(got, []string{"u6", "u5"}) {
		t.Errorf("sorted: %v", got)
	}
	// From a cursor on, which wins over the page and the total.
	var walked []string
	next := ""
	for range 4 {
		var page struct {
			Users []map[string]any
			Next  string
		}
		h.call("GET", "/users?take=2&page=3&per_page=50&include_totals=true&from="+next, "").is(http.StatusOK).into(&page)
		walked = append(walked, listed(page.Users)...)
		next = page.Next
	}
	if !slices.Equal(walked, all) || next != "" {
		t.Errorf("walked %v, next %q", walked, next)
	}
}

func TestList_RefusesAQueryThatDoesNotParse(t *testing.T) {
	h := newHouse(t)
	for _, query := range []string{
		"page=-1", "page=x", "per_page=101", "per_page=0", "take=101", "take=0&from=x", "from=%25", "sort=email", "sort=email:2", "sort=password:1",
		"search_engine=v2", "sort=nickname:1", "take=2&q=a&from=e30x", "take=2&q=a&from=" + base64.RawURLEncoding.EncodeToString([]byte(`{"t":7}`)),
		"include_totals=maybe", "q=email:%22open", "q=a%20OR%20b", "q=nosuch:1", "q=%25", "q=user_id:", "q=AND", "q=a%20AND", "%zz",
	} {
		if query == "q=%25" {
			continue // text like any other
		}
		h.call("GET", "/users?"+query, "").refused(http.StatusBadRequest, "invalid_query_string")
	}
	for _, query := range []string{"page=100000", "page=11&per_page=100", "page=21", "page=1001&per_page=1"} {
		h.call("GET", "/users?"+query, "").refused(http.StatusBadRequest, "invalid_paging")
	}
	h.call("GET", "/users?page=10&per_page=100", "").is(http.StatusOK)
	h.call("GET", "/users-by-email", "").refused(http.StatusBadRequest, "invalid_query_string")
	h.call("GET", "/users-by-email?email=none", "").refused(http.StatusBadRequest, "invalid_body")
	h.call("GET", "/users-by-email?email=none@example.com", "").is(http.StatusOK)
}

func TestSearchUsers_FindsByEveryIndexAtOnce(t *testing.T) {
	h := newHouse(t)
	for _, body := range []string{
		`{"user_id":"auth0|1","email":"Maria@Example.com","username":"maria","name":"Maria \"M\" López"}`,
		`{"user_id":"auth0|2","email":"mario@example.com","username":"mario","name":"Mario Rossi"}`,
		`{"user_id":"b\\s","email":"maria@example.com","name":"Another"}`,
	} {
		h.call("POST", "/users", body).is(http.StatusCreated)
	}
	for q, want := range map[string][]string{
		`email:"maria@example.com"`:                      {"auth0|1", `b\s`},
		`email:"maria@example.com" AND username:"maria"`: {"auth0|1"},
		`user_id:"auth0|2"`:                              {"auth0|2"},
		`user_id:auth0|2`:                                {"auth0|2"},
		`user_id:"AUTH0|2"`:                              nil,
		`user_id:"b\\s"`:                                 {`b\s`},
		`user_id:auth0*`:                                 {"auth0|1", "auth0|2"},
		`username:mari*`:                                 {"auth0|1", "auth0|2"},
		`username:mari`:                                  nil,
		`name:"Maria \"M\" López"`:                       {"auth0|1"},
		`name:mar*`:                                      {"auth0|1", "auth0|2"},
		`name:"mario r"*`:                                {"auth0|2"},
		`maria`:                                          {"auth0|1", `b\s`},
		`MARIA lópez`:                                    {"auth0|1"},
		`rossi	mario`:                                    {"auth0|2"},
		`example.com mari*`:                              {"auth0|1", "auth0|2", `b\s`},
		`"rossi mario"`:                                  nil,
		`user_id:b\\s`:                                   {`b\s`},
		`username:mari\*`:                                nil,
		`"mario rossi"`:                                  {"auth0|2"},
		`mario rossi`:                                    {"auth0|2"},
		`mari AND user_id:"auth0|2"`:                     {"auth0|2"},
		`*`:                                              {"auth0|1", "auth0|2", `b\s`},
		`email:"nobody@example.com"`:                     nil,
		`email:"maria@example.com" AND email:"x@example.com"`:   nil,
		`username:"maria"   AND   name:"maria \"m\" l\u00f3"* `: {"auth0|1"},
	} {
		q = strings.ReplaceAll(q, `\u00f3`, "ó")
		got := listed(h.call("GET", "/users?search_engine=v3&q="+url.QueryEscape(q), "").is(http.StatusOK).array())
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", q, got, want)
		}
	}
	if got := listed(h.call("GET", "/users-by-email?email=MARIA@example.com", "").array()); !slices.Equal(got, []string{"auth0|1", `b\s`}) {
		t.Errorf("by email: %v", got)
	}
}

func TestFields_ChooseMembers(t *testing.T) {
	h := newHouse(t)
	h.call("POST", "/users", `{"user_id":"u1","email":"a@example.com"}`).is(http.StatusCreated)
	for _, path := range []string{"/users/u1?fields=user_id,email", "/users/u1?fields=user_id,email&include_fields=true"} {
		if diff := cmp.Diff(map[string]any{"user_id": "u1", "email": "a@example.com"}, h.call("GET", path, "").object()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if got := h.call("GET", "/users?fields=email&include_fields=false", "").array()[0]; got["email"] != nil || got["user_id"] != "u1" {
		t.Errorf("without email: %v", got)
	}
}
