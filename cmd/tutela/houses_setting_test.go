package main

import (
	"strings"
	"testing"
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
