package main

import (
	"strings"
	"testing"

	"tutela/storage/audit"
)

// A setting that is changed at one house rules at the other with the next call.
func TestTwoHouses_AFactorThatIsSwitchedOffAtOneIsOffAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	answerAll(t, n)
	for _, off := range []bool{true, false} {
		body := map[string]any{"enabled": !off}
		n.a.ok(n.a.json("PUT", "/api/v2/guardian/factors/push-notification", body, n.a.managing()...))
		listed := n.b.ok(n.b.call("GET", "/api/v2/guardian/factors", "", n.b.managing()...))
		started := n.b.ok(n.b.form("/mfa/start", "user_id", "maria"))
		asked := n.b.form("/bc-authorize", "scope", "openid", "login_hint", "maria")
		if got := strings.Contains(string(listed.body), `"push-notification","enabled":false`); got != off {
			t.Errorf("off %v: listed %s", off, listed.body)
		}
		if got := strings.Contains(string(started.body), "push-notification"); got == off {
			t.Errorf("off %v: started %s", off, started.body)
		}
		if off != (asked.status == 400 && asked.member("error") == "access_denied") {
			t.Errorf("off %v: asked %d %s", off, asked.status, asked.body)
		}
	}
}

// What is done to a client at one house counts at the other with the next call.
func TestTwoHouses_AClientThatIsRotatedAndRemovedAtOneIsSoAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	made := n.a.ok(n.a.json("POST", "/api/v2/clients", map[string]any{"name": "x", "scopes": []string{"read:users"}}, n.a.managing()...))
	id := made.member("client_id")
	token := func(secret string) reply {
		return n.b.form("/oauth/token", "client_id", id, "client_secret", secret, "grant_type", "client_credentials", "audience", n.a.url+"/api/v2/")
	}
	reads := func(token string) int {
		return n.b.call("GET", "/api/v2/users/maria", "", "Authorization", "Bearer "+token).status
	}
	first := n.b.ok(token(made.member("client_secret"))).member("access_token")
	if got := reads(first); got != 200 {
		t.Fatalf("with its token: %d", got)
	}
	rotated := n.a.ok(n.a.json("POST", "/api/v2/clients/"+id+"/rotate-secret", map[string]any{}, n.a.managing()...)).member("client_secret")
	if got := token(made.member("client_secret")).status; got != 401 {
		t.Errorf("the secret before: %d", got)
	}
	if got := reads(first); got != 401 {
		t.Errorf("a token of before: %d", got)
	}
	second := n.b.ok(token(rotated)).member("access_token")
	n.a.ok(n.a.call("DELETE", "/api/v2/clients/"+id, "", n.a.managing()...))
	if got := reads(second); got != 401 {
		t.Errorf("a token of a client that is gone: %d", got)
	}
	if got := token(rotated).status; got != 401 {
		t.Errorf("the secret of a client that is gone: %d", got)
	}
}

// Keys that are rotated at one house verify and sign at the other.
func TestTwoHouses_KeysThatAreRotatedAtOneAreUsedAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	before := n.a.held["management_token"]
	_, err := n.a.house.access.RotateAll(t.Context(), audit.ByOperator(0))
	must(t, err)
	after := n.a.ok(n.a.form("/oauth/token", "grant_type", "client_credentials", "audience", n.a.url+"/api/v2/")).member("access_token")
	for name, token := range map[string]string{"before": before, "after": after} {
		if got := n.b.call("GET", "/api/v2/users/maria", "", "Authorization", "Bearer "+token).status; got != 200 {
			t.Errorf("a token of %s the rotation: %d", name, got)
		}
	}
}
