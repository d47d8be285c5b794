package loginapi_test

import (
	"strings"
	"testing"

	"tutela/server/access"
)

// Every secret that a client, a phone or a person can hold is sent to every endpoint in every place where it is taken,
// rightly and wrongly, and none is found in the log at its most talkative level.
func TestLog_HasNoSecrets(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria", pushed)
	c := h.client("openid reset:mfa")
	ticket := h.ticket("otto")
	begun := h.ask(c, "login_id", "the-login-id-of-a-session", "binding_message", "a planted message")
	id := begun.text("auth_req_id")
	txtkn := p.approvals()[0].TransactionToken
	h.collect(c, id)
	h.collect(c, id)
	p.approve(begun)
	collected := h.collect(c, id)
	want(t, collected, 200, "")
	started := h.start(c, "otto", "email", "otto@planted.example", "name", "Otto Planted", "ticket", ticket)
	token := h.started(c, "maria")
	redeemed := h.redeem(c, token, p.RecoveryCode)
	want(t, redeemed, 200, "")
	management := h.management(c)

	secrets := map[string]string{
		"client secret": c.secret, "mfa_token": token, "another mfa_token": started.text("mfa_token"), "recovery code": p.RecoveryCode,
		"next recovery code": redeemed.text("recovery_code"), "auth_req_id": id, "number": begun.text("number"), "txtkn": txtkn, "device token": p.Token,
		"ticket": ticket, "access token": collected.text("access_token"), "ID token": collected.text("id_token"),
		"management token": management.text("access_token"), "push token": "the-push-token-of-the-phone", "login_id": "the-login-id-of-a-session",
		"binding message": "a planted message", "email": "otto@planted.example", "name": "Otto Planted", "Basic": c.basic()[len("Basic "):],
	}
	for _, secret := range secrets {
		for _, path := range endpoints {
			h.send("POST", path, "", "Authorization", "Bearer "+secret)
			h.send("POST", path, "", "Authorization", "Basic "+secret)
			h.send("POST", path+"?secret="+secret, secret, "Content-Type", jsonType)
			h.send("POST", path, `{"client_id":"`+secret, "Content-Type", jsonType)
			h.form(path, "client_id", secret, "client_secret", secret)
			h.form(path, c.credentials("grant_type", secret, "scope", secret, "login_hint", secret, "user_id", secret+"\n", "ip", secret)...)
		}
		h.collect(c, secret)
		h.redeem(c, secret, secret)
		h.redeem(c, token, secret)
		h.ask(c, "audience", secret, "authorization_details", secret, "requested_expiry", secret)
		h.form("/oauth/token", c.credentials("grant_type", access.GrantClientCredentials, "audience", secret)...)
	}
	h.Stop()
	log := h.log.String()
	if !strings.Contains(log, "/oauth/token") {
		t.Fatal("the log has no calls")
	}
	for name, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log has the %s", name)
		}
	}
}
