package appapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"tutela/device"
)

func FuzzAuthorization(f *testing.F) {
	for _, field := range []string{
		"", "Bearer", "Bearer abc", "bearer  a.b.c ", "Ticket id=\"abc\"", "ticket id = abc", "Ticket id=\"", "Basic YTpi", "Bearer a\x00b", "Ticket id=\"\"\"",
	} {
		f.Add(field)
	}
	f.Fuzz(func(t *testing.T, field string) {
		check := func(token string, err error, longest int) {
			switch {
			case err != nil && (token != "" || !errors.Is(err, errAuthorization) && !errors.Is(err, device.ErrTicket)):
				t.Fatalf("%q is %q, %v", field, token, err)
			case err == nil && (token == "" || len(token) > longest || !isToken68(token) || !strings.Contains(field, token)):
				t.Fatalf("%q is %q", field, token)
			}
		}
		token, err := bearer(field)
		check(token, err, device.MaxTokenBytes)
		token, err = ticket(field)
		check(token, err, maxTicketBytes)
	})
}

func FuzzClaimedEnrollment(f *testing.F) {
	for _, token := range []string{"", "a.b.c", "e30.eyJpc3MiOiJkZXZfMSJ9.c", "..", "e30.eyJpc3MiOjd9.c", "e30.W10.c"} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := claimedEnrollment(token); err != nil && !errors.Is(err, errAuthorization) {
			t.Fatal(err)
		}
	})
}

// FuzzBody feeds bodies to the operations that decode the most: nothing may fail inside, or write.
func FuzzBody(f *testing.F) {
	h := newHouse(f)
	p, _ := h.enroll("maria")
	device := h.bearer(p)
	ticket := ticketField(h.ticket("bert"))
	calls := [][3]string{
		{"POST", "/api/enroll", ticket}, {"PATCH", path(p, ""), device}, {"POST", "/api/restores", ""},
		{"POST", "/api/resolve-transaction", "Bearer a.b.c"}, {"POST", path(p, "/recovery-code/check"), device}, {"PUT", path(p, "/backup"), device},
	}
	for _, body := range []string{
		"", "{}", "[]", "null", `{"name":"x"}`, h.body(nil), `{"recovery_code":"x"}`, `{"challenge_response":"a.b.c"}`,
		`{"push_credentials":{"service":"GCM","token":"t"}}`, `{"identifier":"\ud800","capabilities":[null]}`, `{"public_key":{"kty":"EC"}}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, call := range calls {
			h.t = t
			a := h.call(call[0], call[1], body, "Authorization", call[2])
			if a.status >= http.StatusInternalServerError {
				t.Fatalf("%s %s with %q: %d %s", call[0], call[1], body, a.status, a.raw)
			}
			if a.status >= http.StatusBadRequest && (a.body["errorCode"] == "" || a.body["message"] == "") {
				t.Fatalf("%s %s with %q: %s", call[0], call[1], body, a.raw)
			}
		}
	})
}

func TestPublicKey_KeepsTheJWKAsItCame(t *testing.T) {
	const jwk = `{"kty":"RSA", "n":"AAEC","e":"AQAB","more":[1]}`
	var k publicKey
	if err := json.Unmarshal([]byte(jwk), &k); err != nil || string(k) != jwk {
		t.Errorf("got %s, %v", k, err)
	}
}

func TestDescription_TellsOfEveryOperationAndItsAuthorization(t *testing.T) {
	h := newHouse(t)
	described := h.srv.API().OpenAPI()
	operations := 0
	for at, item := range described.Paths {
		if !strings.HasPrefix(at, "/api/") {
			continue
		}
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			operations++
			if op.Summary == "" || len(op.Security) == 0 {
				t.Errorf("%s %s is not described", op.Method, at)
			}
		}
	}
	if operations != 32 {
		t.Errorf("%d operations", operations)
	}
	if a := h.call("GET", "/openapi.json", ""); a.status != 200 || !json.Valid([]byte(a.raw)) {
		t.Errorf("got %d", a.status)
	}
}
