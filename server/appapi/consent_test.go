package appapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/phone"
	"tutela/recovery/user"
	"tutela/storage/audit"
)

// detailed asks for an approval with details to show.
func detailed(r *login.Request) {
	r.Message = "Pay 250 €"
	r.Scope = "openid payments"
	r.Audience = "https://api.bank.example"
	r.Details = json.RawMessage(`[{"type": "payment", "amount": "250.00", "to": "<DE02 1203>"}]`)
}

// proven asks for the details of an approval by a proof of the phone that a test may change, as a call of its own.
func (h *house) proven(p *phone.Phone, a phone.Approval, change map[string]any, typ string) answer {
	h.t.Helper()
	tamper := func(kind phone.Kind, header, claims map[string]any) {
		if kind != phone.ConsentProof {
			return
		}
		maps.Copy(claims, change)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		if typ != "" {
			header["typ"] = typ
		}
	}
	p.SetQuirks(phone.Quirks{Tamper: tamper})
	defer p.SetQuirks(phone.Quirks{})
	proof, err := p.ConsentProof(a)
	h.must(err)
	return h.call("GET", "/rich-consents/"+a.ConsentID, "", "Authorization", "MFA-DPoP "+a.Token, "MFA-DPoP", proof)
}

func TestConsent_ShowsWhatTheLoginIsAboutToEveryKindOfPhone(t *testing.T) {
	for name, kind := range map[string]struct {
		key    phone.Algorithm
		quirks phone.Quirks
	}{
		"ed25519":                  {phone.EdDSA, phone.Quirks{}},
		"p256":                     {phone.ES256, phone.Quirks{}},
		"android, a leading zero":  {phone.RS256, phone.Quirks{LeadingZero: true}},
		"ios, fractional times":    {phone.RS256, phone.Quirks{AppleJSON: true}},
		"a clock that is days off": {phone.ES256, phone.Quirks{ClockOffset: -72 * time.Hour, KeepClock: true}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			p, _ := h.enroll("maria", withKey(kind.key), func(o *phone.Options) { o.Quirks.LeadingZero = kind.quirks.LeadingZero })
			begun := h.ask("maria", detailed)
			m := h.approval(p)
			p.SetQuirks(kind.quirks)
			c, err := p.Consent(t.Context(), m)
			h.must(err)
			created, errCreated := time.Parse("2006-01-02T15:04:05.000Z", c.CreatedAt)
			expires, errExpires := time.Parse("2006-01-02T15:04:05.000Z", c.ExpiresAt)
			if errCreated != nil || errExpires != nil || expires.Sub(created).Round(time.Second) != 2*time.Minute || c.ID != m.ConsentID {
				t.Errorf("%+v", c)
			}
			r := c.Requested
			if r.Audience != "https://api.bank.example" || strings.Join(r.Scope, " ") != "openid payments" || r.BindingMessage != "Pay 250 €" || len(r.AuthorizationDetails) != 1 {
				t.Errorf("%+v", r)
			}
			var detail map[string]string
			h.must(json.Unmarshal(r.AuthorizationDetails[0], &detail))
			if detail["type"] != "payment" || detail["to"] != "<DE02 1203>" {
				t.Errorf("%v", detail)
			}
			h.must(p.Approve(t.Context(), m, begun.Number))
		})
	}
}

func TestConsent_TheEventOfTheAnswerSaysWhatWasShown(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	begun := h.ask("maria", detailed)
	h.must(p.Approve(t.Context(), h.approval(p), begun.Number))
	h.clock.Advance(time.Second)
	begun = h.ask("maria", detailed)
	m := h.approval(p)
	a := h.proven(p, m, nil, "")
	h.accepted(a, 200)
	h.must(p.Approve(t.Context(), m, begun.Number))
	h.ask("maria", func(r *login.Request) { r.Message = "hello" }) // no details but what the message says
	h.must(p.Deny(t.Context(), h.approval(p), ""))
	var raw struct {
		Requested json.RawMessage `json:"requested_details"`
	}
	h.must(json.Unmarshal([]byte(a.raw), &raw))
	sum := sha256.Sum256(raw.Requested)
	digest := base64.RawURLEncoding.EncodeToString(sum[:])
	answers := h.Events(audit.AuthSucceed)
	if len(answers) != 2 || answers[1].Facts[audit.FactConsent] != audit.ConsentShown || answers[1].Detail.Shown != digest ||
		answers[0].Facts[audit.FactConsent] != audit.ConsentUnseen || answers[0].Detail.Shown != "" {
		t.Errorf("%+v; %s", answers, digest)
	}
	if denied := h.Events(audit.AuthRejected); len(denied) != 1 || denied[0].Facts[audit.FactConsent] != "" {
		t.Errorf("%+v", denied)
	}
}

func TestConsent_ALoginThatSaysNothingHasNone(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	h.ask("maria", detailed)
	about := h.approval(p)
	h.must(p.Deny(t.Context(), about, ""))
	h.ask("maria")
	m := h.approval(p)
	if m.ConsentID != "" {
		t.Errorf("txlnkid %q of a login with nothing to show", m.ConsentID)
	}
	m.ConsentID = about.ConsentID
	h.refused(h.proven(p, m, nil, ""), 404, "consent_not_found")
	m.ConsentID = "cns_unknown"
	h.refused(h.proven(p, m, nil, ""), 404, "consent_not_found")
}

func TestConsent_WantsAProofOfTheEnrolledKeyForThisCall(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria", withKey(phone.RS256))
	other, _ := h.enroll("maria", withKey(phone.RS256))
	h.ask("maria", detailed)
	m := h.approval(p)
	address := h.url + "/rich-consents/" + m.ConsentID
	for name, change := range map[string]map[string]any{
		"another token":          {"ath": base64.RawURLEncoding.EncodeToString(make([]byte, 32))},
		"no token":               {"ath": nil},
		"another method":         {"htm": "POST"},
		"another server":         {"htu": "https://evil.example/rich-consents/" + m.ConsentID},
		"another path":           {"htu": h.url + "/api/resolve-transaction"},
		"another consent":        {"htu": h.url + "/rich-consents/cns_other"},
		"no address":             {"htu": nil},
		"no jti":                 {"jti": nil},
		"an empty jti":           {"jti": ""},
		"a jti that is too long": {"jti": strings.Repeat("x", 257)},
		"no iat":                 {"iat": nil},
		"an iat that is no time": {"iat": -1},
	} {
		if a := h.proven(p, m, change, ""); a.status != 401 || a.body["errorCode"] != "invalid_token" {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	h.refused(h.proven(p, m, nil, "JWT"), 401, "invalid_token")
	for name, quirks := range map[string]phone.Quirks{
		"alg none":  {Tamper: func(_ phone.Kind, header, _ map[string]any) { header["alg"] = "none" }},
		"alg HS256": {Tamper: func(_ phone.Kind, header, _ map[string]any) { header["alg"] = "HS256" }},
		"no jwk":    {Tamper: func(_ phone.Kind, header, _ map[string]any) { delete(header, "jwk") }},
	} {
		p.SetQuirks(quirks)
		if _, err := p.Consent(t.Context(), m); phone.CodeOf(err) != "invalid_token" {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.SetQuirks(phone.Quirks{})
	stolen := m // the other phone of the same user, with the txtkn of this one
	if _, err := other.Consent(t.Context(), stolen); phone.CodeOf(err) != "invalid_token" {
		t.Errorf("another phone's key: %v", err)
	}
	h.refused(h.call("GET", "/rich-consents/"+m.ConsentID, "", "Authorization", "MFA-DPoP "+m.Token), 401, "invalid_token")
	h.refused(h.call("GET", "/rich-consents/"+m.ConsentID, "", "Authorization", "Bearer "+m.Token), 401, "invalid_token")
	h.refused(h.call("GET", "/rich-consents/"+m.ConsentID, ""), 401, "invalid_token")
	h.accepted(h.proven(p, m, map[string]any{"htu": address + "?a=b#c"}, ""), 200)
	h.accepted(h.proven(p, m, map[string]any{"htu": "https://mfa.example.org/rich-consents/" + m.ConsentID}, ""), 200)
}

func TestConsent_EachProofCountsOnceAndTwentyOfALogin(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	h.ask("maria", detailed)
	m := h.approval(p)
	proof, err := p.ConsentProof(m)
	h.must(err)
	ask := func(proof string) answer {
		return h.call("GET", "/rich-consents/"+m.ConsentID, "", "Authorization", "MFA-DPoP "+m.Token, "MFA-DPoP", proof)
	}
	var taken atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if ask(proof).status == 200 {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 {
		t.Errorf("one proof was taken %d times", taken.Load())
	}
	for range 19 {
		h.accepted(h.proven(p, m, nil, ""), 200)
	}
	a := h.proven(p, m, nil, "")
	h.refused(a, 429, "too_many_attempts")
	if a.header.Get("Retry-After") != "120" {
		t.Errorf("Retry-After %s", a.header.Get("Retry-After"))
	}
	h.refused(ask(proof), 401, "invalid_token")
}

func TestConsent_IsOnlyShownWhileThePhoneCanAnswer(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	h.enroll("maria")
	begun := h.ask("maria", detailed)
	m := h.approval(p)
	h.change(p.Enrollment().ID, func(e *device.Enrollment) { e.Status = device.Suspended })
	h.refused(h.proven(p, m, nil, ""), 403, "enrollment_suspended")
	h.change(p.Enrollment().ID, func(e *device.Enrollment) { e.Status = device.Active })
	h.block("maria")
	h.refused(h.proven(p, m, nil, ""), 404, "login_transaction_not_found")
	h.ChangeUser("maria", func(u *user.User) { u.Blocked = false })
	h.accepted(h.proven(p, m, nil, ""), 200)
	h.must(p.Approve(t.Context(), m, begun.Number))
	h.refused(h.proven(p, m, nil, ""), 404, "login_transaction_not_found")

	h.ask("maria", detailed)
	m = h.approval(p)
	h.clock.Advance(2 * time.Minute)
	h.refused(h.proven(p, m, nil, ""), 404, "login_transaction_not_found") // never 401 for its exp
	h.clock.Advance(24 * time.Hour)
	h.refused(h.proven(p, m, nil, ""), 404, "login_transaction_not_found")
}
