package managementapi_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"tutela/server/access"
	"tutela/storage/audit"
)

// changedPart returns a JWT with one of its parts changed: its payload by change, its signature when change is nil.
func changedPart(token string, change func(payload string) string) string {
	parts := strings.Split(token, ".")
	if change == nil {
		flipped := "A"
		if parts[2][:1] == flipped {
			flipped = "B"
		}
		return parts[0] + "." + parts[1] + "." + flipped + parts[2][1:]
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(change(string(payload))))
	return strings.Join(parts, ".")
}

// Every route of this API is in its description, so that those who walk that walk all of them.
func TestMatrix_WalksEveryRoute(t *testing.T) {
	h := newHouse(t)
	described := h.operations()
	for _, route := range h.Server.App().GetRoutes(true) {
		below, ours := strings.CutPrefix(route.Path, "/api/v2")
		if !ours || route.Method == http.MethodHead || strings.Contains(below, "*") {
			continue
		}
		parts := strings.Split(below, "/")
		for i, part := range parts {
			if name, is := strings.CutPrefix(part, ":"); is {
				parts[i] = "{" + name + "}"
			}
		}
		if described[[2]string{route.Method, strings.Join(parts, "/")}] == nil {
			t.Errorf("%s %s: which scopes open it?", route.Method, route.Path)
		}
	}
}

// Each call by each token that is none for it: the answer is 401 and says no more. The right one opens it: see
// TestEveryCall_PassesWithOneOfItsScopes, and TestEveryCall_IsRefusedBeforeItsBodyIsReadOrAnythingIsLookedUp for other scopes.
func TestMatrix_NoCallTakesATokenThatIsNotItsOwn(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	all := append([]string{"openid", "reset:admin_mfa"}, allScopes...)
	old := h.tokenFor(all...)
	h.clock.Advance(24*time.Hour + time.Minute)
	good := h.tokenFor(all...)
	c, gone := h.clientFor(access.Client{Scopes: all})
	elsewhere, err := h.access.AccessToken(ctx, c, access.Login{UserID: "maria", AMR: []string{"mfa"}}, "https://other.example/api/v2/", all)
	must(t, err)
	must(t, h.access.RemoveClient(ctx, audit.ByOperator(0), c.ID))
	tokens := map[string]string{
		"none":              "",
		"expired":           old,
		"of another house":  elsewhere,
		"of a client gone":  gone,
		"changed signature": changedPart(good, nil),
		"changed scope":     changedPart(good, func(p string) string { return strings.Replace(p, `"scope":"`, `"scope":"manage:clients `, 1) }),
		"changed expiry":    changedPart(old, func(p string) string { return strings.Replace(p, `"exp":1`, `"exp":2`, 1) }),
		"without signature": good[:strings.LastIndexByte(good, '.')+1],
		"of another algorithm": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." +
			strings.Split(good, ".")[1] + ".",
	}
	for op := range h.operations() {
		path := pathParameter.ReplaceAllString(op[1], "nobody")
		for name, token := range tokens {
			if got := h.call(op[0], path, "", token); got.status != http.StatusUnauthorized || !strings.Contains(got.body, `"invalid_token"`) {
				t.Errorf("%v with a token %s: %d %s", op, name, got.status, got.body)
			}
		}
	}
	h.call("GET", "/users", "", good).is(http.StatusOK)
}
