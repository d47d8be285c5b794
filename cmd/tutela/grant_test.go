package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/server/access"
)

// approveNewest has maria's phone approve what it was asked last.
func approveNewest(m *mounted, number string) {
	m.t.Helper()
	asked, err := m.phone.Approvals(m.t.Context(), 0, nil)
	m.must(err)
	newest := slices.IndexFunc(asked, func(a phone.Approval) bool { return a.Token != m.waiting.Token })
	m.must(m.phone.Approve(m.t.Context(), asked[max(newest, 0)], number))
}

// phoneOf is a phone that is not enrolled, whose calls go to the house.
func phoneOf(m *mounted) *phone.Phone {
	m.t.Helper()
	p, err := phone.New(phone.Options{BaseURL: m.url})
	m.must(err)
	return p
}

// newURI is the QR code of the newcomer's association.
func (m *mounted) newURI() string {
	m.t.Helper()
	return m.uri(m.newcomer, `{"authenticator_types":["oob"]}`)
}

// uri is the QR code of an association.
func (m *mounted) uri(token, body string) string {
	m.t.Helper()
	return m.ok(m.call("POST", "/mfa/associate", body, "Content-Type", jsonType, "Authorization", "Bearer "+token)).member("barcode_uri")
}

// A new phone, and no backup came along: she logs in with the recovery code at one house, and enrols the new phone at the other. The old
// one is retired, its backup is there, and its key may dispute that for a day.
func TestTwoHouses_ANewPhoneTakesTheOldOnesPlaceByAnEnrolmentToken(t *testing.T) {
	n := mountNeighbours(t)
	old := n.a.phone
	before := old.Enrollment().ID
	started := n.b.ok(n.b.form("/mfa/start", "user_id", "maria")).member("mfa_token")
	tokens := n.a.ok(n.a.form("/oauth/token", "grant_type", access.GrantRecoveryCode, "mfa_token", started,
		"recovery_code", n.a.held["recovery_code"], "audience", n.a.url+"/mfa/"))
	token := tokens.member("access_token")
	body := `{"authenticator_types":["oob"],"oob_channels":["auth0"],"replaces":"` + before + `"}`
	made := n.b.ok(n.b.call("POST", "/mfa/associate", body, "Content-Type", jsonType, "Authorization", "Bearer "+token))

	fresh, err := phone.New(phone.Options{BaseURL: n.a.url, Client: n.a.road})
	must(t, err)
	n.road.leadTo(n.a)
	_, err = fresh.Enroll(t.Context(), made.member("barcode_uri"))
	must(t, err)
	confirmed := n.b.ok(n.b.form("/oauth/token", "grant_type", access.GrantOOB, "mfa_token", token, "oob_code", made.member("oob_code")))
	if confirmed.member("id_token") == "" {
		t.Errorf("confirmed: %s", confirmed.body)
	}
	versions, err := fresh.Generations(t.Context())
	if err != nil || len(versions) != 1 || versions[0].Generation != 1 {
		t.Errorf("the new phone finds of the backup %+v: %v", versions, err)
	}
	notices, err := old.Notices(t.Context(), time.Time{}, 0)
	must(t, err)
	last := notices[len(notices)-1]
	if last.Kind != "replaced" || last.RestoreID != fresh.Enrollment().ID {
		t.Fatalf("the old phone is told %+v", last)
	}
	must(t, old.Dispute(t.Context(), last.RestoreID))
	var list []struct{ ID string }
	r := n.b.call("GET", "/mfa/authenticators", "", "Authorization", "Bearer "+token)
	must(t, json.Unmarshal(r.body, &list))
	if strings.Contains(string(r.body), before) || len(list) != 3 {
		t.Errorf("authenticators: %d %s", r.status, r.body)
	}
}
