package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/server/access"
)

// A page whose calls go to one house and the other logs in as at one. Its polls are counted by each house for itself.
func TestTwoHouses_APageStartsAtOneIsAnsweredAtTheOtherAndIsInAtBoth(t *testing.T) {
	n := mountNeighbours(t)
	answerAll(t, n)
	post := func(m *mounted, call, token string) reply {
		return m.call("POST", "/api/"+call, "", "Authorization", "Bearer "+token)
	}
	request := n.a.ok(n.a.form("/mfa/start", "user_id", "maria")).member("mfa_token")
	token := n.a.ok(post(n.a, "start-flow", request)).member("transaction_token")
	state := func(m *mounted) string { return m.ok(post(m, "transaction-state", token)).member("state") }
	if got := state(n.b); got != "pending" {
		t.Errorf("before the push, at the other: %s", got)
	}
	var asked struct{ Number string }
	must(t, json.Unmarshal(n.b.ok(post(n.b, "send-push-notification", token)).body, &asked))

	n.road.leadTo(n.a)
	list, err := n.a.phone.Approvals(t.Context(), 0, nil)
	must(t, err)
	must(t, n.a.phone.Approve(t.Context(), list[0], asked.Number))

	at := n.b.ok(post(n.b, "transaction-state", token))
	again := n.a.ok(post(n.a, "transaction-state", token))
	if at.member("state") != "accepted" || at.member("token") == "" || at.member("token") != again.member("token") {
		t.Errorf("at the other: %s; at the first: %s", at.body, again.body)
	}
	if limited := pollsUntilRefused(t, n.b, token); limited != login.PollsPerMinute-2 {
		t.Errorf("after two polls the other admits %d", limited)
	}
	if got := state(n.a); got != "accepted" {
		t.Errorf("at the first, which counts for itself: %s", got)
	}
}

// pollsUntilRefused returns how often a house admits another poll of a flow.
func pollsUntilRefused(t *testing.T, m *mounted, token string) int {
	t.Helper()
	for admitted := 0; ; admitted++ {
		r := m.call("POST", "/api/transaction-state", "", "Authorization", "Bearer "+token)
		if r.status == http.StatusTooManyRequests {
			return admitted
		}
		m.ok(r)
	}
}

// What a ceremony needs lies in the store: it begins at one server and ends at the other, once.
func TestTwoHouses_APasskeyIsAddedAndUsedAcrossBoth(t *testing.T) {
	n := mountNeighbours(t)
	authenticator := devicetest.NewAuthenticator(t)
	token, code, credential := newPasskey(n.a, authenticator)
	n.b.ok(verifyPasskey(n.b, token, code, credential))
	tokens := n.a.ok(n.a.form("/oauth/token", "grant_type", access.GrantOOB, "mfa_token", token, "oob_code", code))
	if tokens.member("id_token") == "" {
		t.Errorf("the association lets nobody in: %s", tokens.body)
	}

	started := n.b.ok(n.b.form("/mfa/start", "user_id", "key")).member("mfa_token")
	challenged := n.a.ok(n.a.form("/mfa/challenge", "mfa_token", started, "challenge_type", "webauthn"))
	signed := authenticator.Get(optionsIn(n.a, challenged))
	redeem := func(m *mounted, token string) reply {
		return m.form("/oauth/token", "grant_type", access.GrantPasskey, "mfa_token", token, "credential", string(signed))
	}
	first := n.b.ok(redeem(n.b, started))
	again := n.a.ok(redeem(n.a, started)) // an answer can be lost
	if first.member("id_token") == "" || again.member("id_token") == "" {
		t.Errorf("%s, %s", first.body, again.body)
	}
	// What has opened one login opens no other, at either.
	other := n.a.ok(n.a.form("/mfa/start", "user_id", "key")).member("mfa_token")
	n.a.ok(n.a.form("/mfa/challenge", "mfa_token", other, "challenge_type", "webauthn"))
	for _, m := range []*mounted{n.a, n.b} {
		if r := redeem(m, other); r.status != 403 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
}
