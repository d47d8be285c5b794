package managementapi_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pieces are what queries of users and events are made of, and what nobody would think of.
var pieces = []string{
	"email:", "user_id:", "username:", "name:", "type:", "date:", "client_id:", "nonsense:", `"`, `\`, "*", " ", " AND ", " OR ", "NOT ", "[", " TO ", "]", "(", ")",
	"maria", "María", "auth0|1", "\x00", "\xff", "ß", "\u202e", "%", ":", "-", strings.Repeat("x", 200), "2026-01-01", "é", "\t", "\n",
}

// cursors are from-values: real ones, and such as a careless or hostile program sends.
var cursors = []string{
	"", "x", "=", "%", "e30", base64.RawURLEncoding.EncodeToString([]byte(`{"t":0,"v":"a","u":"00000000000000000000000000000000"}`)),
	base64.RawURLEncoding.EncodeToString([]byte(`{"t":-1}`)), base64.RawURLEncoding.EncodeToString([]byte(`{"t":9999999999999999999}`)),
	base64.RawURLEncoding.EncodeToString([]byte(`{"t":0,"v":"\u0000","u":"zz"}`)), base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe")),
	base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("a", 3000))),
}

// Whatever stands in a query, a cursor or a page, the answer is a list or a refusal in the API's words, and never a 500.
func TestLists_AnswerNoQueryAndNoCursorWithA500(t *testing.T) {
	h := newHouse(t)
	for _, body := range []string{
		`{"user_id":"auth0|1","email":"maria@example.com","username":"maria","name":"María"}`,
		`{"user_id":"b\\s","name":"\"quoted\" *star*"}`,
	} {
		h.call("POST", "/users", body).is(http.StatusCreated)
	}
	token := h.tokenFor(append([]string{"read:authentication_methods"}, allScopes...)...)
	rapid.Check(t, func(rt *rapid.T) {
		query := url.Values{}
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8).Draw(rt, "q"), "")
		add := func(name string, values ...string) {
			if rapid.Bool().Draw(rt, "has "+name) {
				query.Set(name, rapid.SampledFrom(values).Draw(rt, name))
			}
		}
		add("q", text)
		add("from", cursors...)
		add("take", "1", "100", "0", "-1", "x", "101")
		add("page", "0", "1", "-1", "1000", "99999999999999999999")
		add("per_page", "1", "100", "0", "101", "")
		add("include_totals", "true", "false", "maybe")
		add("sort", "email:1", "name:-1", "created_at:1", "last_login:-1", "user_id:1", "x:1", ":", "date:1")
		add("fields", "user_id", ",", text)
		add("include_fields", "false")
		path := rapid.SampledFrom([]string{"/users", "/logs", "/users/auth0%7C1/logs", "/users/auth0%7C1/authentication-methods", "/users-by-email"}).Draw(rt, "path")
		answer := h.call("GET", path+"?"+query.Encode(), "", token)
		if answer.status != http.StatusOK && answer.status != http.StatusBadRequest {
			rt.Fatalf("%s?%s: %d %s", path, query.Encode(), answer.status, answer.body)
		}
	})
}
