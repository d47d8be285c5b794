package phone

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestApproval_ReadsEveryShapeOfTheMessage(t *testing.T) {
	want := Approval{
		Token:          "x.y.z",
		EnrollmentID:   "dev_1",
		Challenge:      "nonce",
		Started:        time.Date(2026, 11, 23, 15, 4, 5, 678e6, time.UTC),
		Server:         "http://localhost:8080",
		Source:         Source{Product{"Firefox", "145"}, Product{"Linux", ""}},
		Location:       &Location{"Zurich", "47.4", "8.5"},
		NumberMatching: true,
	}
	for name, message := range map[string]string{
		"pull":    `{"txtkn":"x.y.z","dai":"dev_1","c":"nonce","d":"2026-11-23T15:04:05.678Z","sh":"http://localhost:8080","s":{"b":{"n":"Firefox","v":"145"},"os":{"n":"Linux"}},"l":{"n":"Zurich","lat":47.4,"long":"8.5"},"nm":true}`,
		"Android": `{"txtkn":"x.y.z","dai":"dev_1","c":"nonce","d":"2026-11-23T15:04:05.678Z","sh":"http://localhost:8080","s":"{\"b\":{\"n\":\"Firefox\",\"v\":\"145\"},\"os\":{\"n\":\"Linux\"}}","l":"{\"n\":\"Zurich\",\"lat\":47.4,\"long\":8.5}","nm":"true"}`,
		"iOS":     `{"aps":{"category":"com.auth0.notification.authentication"},"mfa":{"txtkn":"x.y.z","dai":"dev_1","c":"nonce","d":"2026-11-23T15:04:05.678Z","sh":"http://localhost:8080","s":{"b":{"n":"Firefox","v":"145"},"os":{"n":"Linux"}},"l":{"n":"Zurich","lat":47.4,"long":8.5},"nm":true}}`,
	} {
		got := must(ParseMessage([]byte(message)))(t)
		if diff := cmp.Diff(&want, got.Approval); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestApproval_RefusesATimeThatTheSDKsWouldDrop(t *testing.T) {
	for _, d := range []string{"2026-11-23T15:04:05Z", "2026-11-23T15:04:05.678+00:00", ""} {
		var a Approval
		if err := json.Unmarshal([]byte(`{"d":"`+d+`"}`), &a); err == nil {
			t.Errorf("%q was accepted", d)
		}
	}
}

func TestApprovals_PassOverWhatWasSeen(t *testing.T) {
	s := newServer(t)
	p := enrolledPhone(t, s)
	s.ask()
	approvals := must(p.Approvals(ctx, 0, nil))(t)
	if len(approvals) != 1 || approvals[0].Source.Browser.String() != "Firefox 145" || !approvals[0].Expires().After(s.Clock.Wall()) {
		t.Fatalf("got %+v", approvals)
	}
	if again := must(p.Approvals(ctx, 0, []string{"other", approvals[0].Challenge}))(t); len(again) > 0 {
		t.Errorf("got %+v", again)
	}
}

func TestApprove_SignsWhatTheProtocolAsks(t *testing.T) {
	s := newServer(t)
	for name, c := range map[string]struct {
		capabilities []string
		answer       func(p *Phone, a Approval, number string) error
		special      map[string]any
	}{
		"yes by number": {nil, func(p *Phone, a Approval, number string) error { return p.Approve(ctx, a, number) }, map[string]any{"auth0_guardian_accepted": true, "tutela_number": ""}},
		"yes by tap":    {[]string{}, func(p *Phone, a Approval, _ string) error { return p.Approve(ctx, a, "") }, map[string]any{"auth0_guardian_accepted": true}},
		"no, not me":    {nil, func(p *Phone, a Approval, _ string) error { return p.Deny(ctx, a, "not_me") }, map[string]any{"auth0_guardian_accepted": false, "auth0_guardian_reason": "not_me"}},
		"no":            {nil, func(p *Phone, a Approval, _ string) error { return p.Deny(ctx, a, "") }, map[string]any{"auth0_guardian_accepted": false}},
	} {
		t.Run(name, func(t *testing.T) {
			s.answered = nil
			p := must(New(Options{BaseURL: s.URL, Capabilities: c.capabilities}))(t)
			must(p.Enroll(ctx, s.ticket()))(t)
			defer s.Reset(maria)
			begun := s.ask()
			a := must(p.Approvals(ctx, 0, nil))(t)[0]
			if err := c.answer(p, a, begun.Number); err != nil {
				t.Fatal(err)
			}
			got := s.answered[0]
			if got["exp"].(float64)-got["iat"].(float64) != 30 {
				t.Errorf("the answer lives from %v to %v", got["iat"], got["exp"])
			}
			delete(got, "iat")
			delete(got, "exp")
			want := map[string]any{
				"iss": p.Identifier(), "sub": a.Challenge, "aud": s.base() + "/api/resolve-transaction", "auth0_guardian_method": "push",
			}
			for claim, value := range c.special {
				want[claim] = value
			}
			if _, typed := want["tutela_number"]; typed {
				want["tutela_number"] = begun.Number
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestQuirks_WriteClaimsAsAppleDoes(t *testing.T) {
	s := newServer(t)
	at := time.UnixMicro(1795425899_123456)
	p := must(New(Options{BaseURL: s.URL, Now: func() time.Time { return at }, Quirks: Quirks{AppleJSON: true}}))(t)
	must(p.Enroll(ctx, s.ticket()))(t)
	token := must(p.DeviceJWT())(t)
	payload := string(must(base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1]))(t))
	for _, want := range []string{`"iat":1795425899.123456`, `"sub":"maria\/1"`} {
		if !strings.Contains(payload, want) {
			t.Errorf("%s is not in %s", want, payload)
		}
	}
}

func TestQuirks_AreRefusedByAStrictServer(t *testing.T) {
	for name, q := range map[string]Quirks{
		"audience":        {Tamper: func(_ Kind, _, claims map[string]any) { claims["aud"] = "https://elsewhere" }},
		"issuer":          {Tamper: func(_ Kind, _, claims map[string]any) { claims["iss"] = "dev_other" }},
		"no signature":    {Tamper: func(_ Kind, header, _ map[string]any) { header["alg"] = "none" }},
		"key confusion":   {Tamper: func(_ Kind, header, _ map[string]any) { header["alg"] = "HS256" }},
		"other algorithm": {Tamper: func(_ Kind, header, _ map[string]any) { header["alg"] = "RS256" }},
		"foreign key":     {ForeignKey: must(NewKey(ES256))(t)},
	} {
		p := enrolledPhone(t, newServer(t))
		p.SetQuirks(q)
		if _, err := p.Status(ctx); CodeOf(err) != "invalid_token" {
			t.Errorf("%s: got %v", name, err)
		}
		p.SetQuirks(Quirks{})
		must(p.Status(ctx))(t)
	}
}

func TestMessages_ReadsThoseForThisPhoneInOrder(t *testing.T) {
	p := enrolledPhone(t, newServer(t))
	dir := t.TempDir()
	id := p.Enrollment().ID
	for name, text := range map[string]string{
		"1.json":   `{"dai":"` + id + `","sh":"http://x","d":"2026-11-23T15:04:05.678Z","notice":"restore_started","rst":"rst_1"}`,
		"2.json":   `{"at":"…","data":{"txtkn":"x.y.z","dai":"` + id + `","c":"nonce","d":"2026-11-23T15:04:05.678Z","sh":"http://x"}}`,
		"3.json":   `{"dai":"dev_other","notice":"restored"}`,
		"4.json.x": `half a mess`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	messages := must(p.Messages(dir))(t)
	if len(messages) != 2 || messages[0].Notice == nil || messages[0].Notice.RestoreID != "rst_1" ||
		messages[1].Approval == nil || messages[1].Approval.Challenge != "nonce" {
		t.Errorf("got %+v", slices.Collect(slices.Values(messages)))
	}
}
