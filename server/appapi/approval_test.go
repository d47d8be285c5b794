package appapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/phone"
	"tutela/server"
)

// pull asks for the approvals of a phone in the background.
func (h *house) pull(p *phone.Phone, query string) <-chan answer {
	h.t.Helper()
	authorization := h.bearer(p)
	got := make(chan answer, 1)
	go func() { got <- h.call("GET", path(p, "/approvals"+query), "", "Authorization", authorization) }()
	return got
}

// state is how a login stands.
func (h *house) state(begun login.Begun) error {
	_, err := h.Logins.Collect(context.Background(), "shop", begun.ID)
	return err
}

func TestApprovals_ListTheKeysOfThePushMessageAsObjects(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	a := h.call("GET", path(p, "/approvals"), "", "Authorization", h.bearer(p))
	h.accepted(a, 200)
	if a.raw != "[]" {
		t.Errorf("no approvals are %s", a.raw)
	}
	h.ask("maria", func(r *login.Request) {
		r.Agent = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	})
	got := h.approval(p)
	if got.EnrollmentID != p.Enrollment().ID || !got.NumberMatching || got.Source.Browser.String() != "Firefox 145" {
		t.Errorf("got %+v", got)
	}
}

func TestApprovals_WaitIsAnsweredWhenALoginBegins(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	got := h.pull(p, "?wait=60")
	h.UntilHeld(1)
	h.ask("maria")
	if a := <-got; a.status != 200 || !strings.Contains(a.raw, `"txtkn"`) {
		t.Errorf("got %d %s", a.status, a.raw)
	}
}

func TestApprovals_WaitCountsWhatIsSeenAsNone(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	h.ask("maria")
	seen := h.approval(p).Challenge
	got := h.pull(p, "?wait=60&seen="+seen+",another")
	h.UntilHeld(1)
	h.ask("maria")
	a := <-got
	if strings.Contains(a.raw, seen) || strings.Count(a.raw, `"c":`) != 1 {
		t.Errorf("got %s", a.raw)
	}
}

func TestApprovals_TheNewestWaitWins(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	older := h.pull(p, "?wait=60")
	h.UntilHeld(1)
	newer := h.pull(p, "?wait=60")
	if a := <-older; a.status != 200 || a.raw != "[]" {
		t.Errorf("the older got %d %s", a.status, a.raw)
	}
	h.UntilHeld(1)
	h.ask("maria")
	if a := <-newer; !strings.Contains(a.raw, `"txtkn"`) {
		t.Errorf("the newer got %s", a.raw)
	}
}

func TestApprovals_WaitEndsAtOnceWhenTheUserIsResetOrTheEnrollmentRetired(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	got := h.pull(p, "?wait=60")
	h.UntilHeld(1)
	h.Reset("maria")
	h.refused(<-got, 404, "device_account_not_found")

	p, _ = h.enroll("bert")
	got = h.pull(p, "?wait=60")
	h.UntilHeld(1)
	h.accepted(h.call("DELETE", path(p, ""), "", "Authorization", h.bearer(p)), 204)
	h.refused(<-got, 404, "device_account_not_found")
}

func TestApprovals_WaitIsLetGoAtShutdown(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	got := h.pull(p, "?wait=60")
	h.UntilHeld(1)
	h.Stop()
	if a := <-got; a.status != 200 || a.raw != "[]" {
		t.Errorf("got %d %s", a.status, a.raw)
	}
}

func TestApprovals_PastTheCapAreAnsweredAtOnce(t *testing.T) {
	h := newHouse(t, func(c *server.Config) { c.Limits.Waits = 1 })
	maria, _ := h.enroll("maria")
	bert, _ := h.enroll("bert")
	held := h.pull(maria, "?wait=60")
	h.UntilHeld(1)
	if a := <-h.pull(bert, "?wait=60"); a.raw != "[]" {
		t.Errorf("got %s", a.raw)
	}
	h.ask("maria")
	<-held
}

func TestApprovals_RefuseAWaitThatIsNoNumberUpTo60(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	for _, query := range []string{"?wait=61", "?wait=-1", "?wait=long", "?wait=1.5", "?wait=99999999999999999999", "?wait=%zz"} {
		h.refused(<-h.pull(p, query), 400, "invalid_query_string")
	}
}

func TestApprovals_OfABlockedUserAreNone(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	begun := h.ask("maria")
	waiting := h.approval(p)
	h.block("maria")
	if a := <-h.pull(p, ""); a.raw != "[]" {
		t.Errorf("got %s", a.raw)
	}
	err := p.Approve(t.Context(), waiting, begun.Number)
	if phone.CodeOf(err) != "login_transaction_not_found" {
		t.Errorf("got %v", err)
	}
}

func TestResolve_DecidesOnceAndSaysSoAgainToTheSameDecision(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	begun := h.ask("maria")
	approval := h.approval(p)
	body := h.json(map[string]any{"challenge_response": h.response(p, approval, begun.Number)})
	resolve := func(body string) answer {
		return h.call("POST", "/appliance-mfa/api/resolve-transaction", body, "Authorization", "Bearer "+approval.Token)
	}
	h.accepted(resolve(body), 204)
	h.accepted(resolve(body), 204)
	anew := h.json(map[string]any{"challenge_response": h.response(p, approval, begun.Number)})
	h.accepted(resolve(anew), 204) // its first answer was lost, so the phone has signed anew
	other := h.json(map[string]any{"challenge_response": h.response(p, approval, "000000"+begun.Number)})
	h.refused(resolve(other), 404, "login_transaction_not_found")
	h.must(h.state(begun))
}

// response signs an answer that accepts, as the phone would.
func (h *house) response(p *phone.Phone, a phone.Approval, number string) string {
	h.t.Helper()
	now := h.clock.Wall().Unix()
	signed, err := p.Enrollment().Key.Sign(map[string]any{"alg": string(p.Enrollment().Key.Algorithm)}, map[string]any{
		"iss": p.Identifier(), "sub": a.Challenge, "aud": h.url + "/api/resolve-transaction", "iat": now, "exp": now + 30,
		"auth0_guardian_method": "push", "auth0_guardian_accepted": true, "tutela_number": number,
	}, false)
	h.must(err)
	return signed
}

func TestResolve_TellsAWrongNumberFromAMissingOne(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	begun := h.ask("maria")
	approval := h.approval(p)
	h.Unchanged(func() {
		err := p.Approve(t.Context(), approval, "")
		if phone.CodeOf(err) != "invalid_body" {
			t.Errorf("without a number: %v", err)
		}
	})
	wrong := "0" + begun.Number[1:]
	if wrong == begun.Number {
		wrong = "1" + begun.Number[1:]
	}
	if err := p.Approve(t.Context(), approval, wrong); phone.CodeOf(err) != "invalid_otp" {
		t.Errorf("with a wrong number: %v", err)
	}
	if err := h.state(begun); !errors.Is(err, login.ErrDenied) {
		t.Errorf("the login is %v", err)
	}
}

func TestResolve_TakesADenialWithoutANumberAndAClockThatIsDaysOff(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	begun := h.ask("maria")
	approval := h.approval(p)
	p.SetQuirks(phone.Quirks{ClockOffset: 5 * 24 * time.Hour, AppleJSON: true})
	h.must(p.Deny(t.Context(), approval, "not_me"))
	if err := h.state(begun); !errors.Is(err, login.ErrDenied) {
		t.Errorf("the login is %v", err)
	}
}

func TestResolve_RefusesWhatIsNotTheAnswer(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	begun := h.ask("maria")
	approval := h.approval(p)
	other, err := phone.NewKey(phone.ES256)
	h.must(err)
	claim := func(name string, value any) phone.Quirks {
		return phone.Quirks{Tamper: func(_ phone.Kind, _, claims map[string]any) { claims[name] = value }}
	}
	for name, quirks := range map[string]phone.Quirks{
		"another challenge":  claim("sub", "AAAA"),
		"another server":     claim("aud", "https://evil.example.org/appliance-mfa/api/resolve-transaction"),
		"another call":       claim("aud", h.url+"/api/device-accounts"),
		"no method":          claim("auth0_guardian_method", nil),
		"no decision":        claim("auth0_guardian_accepted", nil),
		"a decision of text": claim("auth0_guardian_accepted", "true"),
		"a life of hours":    claim("exp", h.clock.Wall().Unix()+3600),
		"alg none":           {Tamper: func(_ phone.Kind, header, _ map[string]any) { header["alg"] = "none" }},
		"alg HS256":          {Tamper: func(_ phone.Kind, header, _ map[string]any) { header["alg"] = "HS256" }},
		"a foreign key":      {ForeignKey: other},
	} {
		t.Run(name, func(t *testing.T) {
			p.SetQuirks(quirks)
			h.Unchanged(func() {
				if err := p.Approve(t.Context(), approval, begun.Number); phone.CodeOf(err) != "invalid_token" {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestResolve_RefusesEveryOtherTokenAndBody(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	h.ask("maria")
	approval := h.approval(p)
	post := func(authorization, body string) answer {
		return h.call("POST", "/api/resolve-transaction", body, "Authorization", authorization)
	}
	signed := h.json(map[string]any{"challenge_response": h.response(p, approval, "")})
	for _, token := range []string{"wrong", approval.Token + "x", h.bearer(p)[len("Bearer "):], p.Enrollment().Token} {
		h.Unchanged(func() { h.refused(post("Bearer "+token, signed), 401, "invalid_token") })
	}
	for _, body := range []string{"", "{}", "[]", `{"challenge_response":7}`, `{"challenge_response":""}`, `{"challenge_response":null}`} {
		h.Unchanged(func() { h.refused(post("Bearer "+approval.Token, body), 400, "invalid_body") })
	}
	h.refused(post("Bearer "+approval.Token, `{"challenge_response":"a.b.c"}`), 401, "invalid_token")
	h.refused(post("Bearer "+approval.Token, `{"challenge_response":"`+strings.Repeat("a", 9000)+`"}`), 400, "invalid_body")
}

func TestResolve_TooLateOrGoneIsOneCode(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	late := h.ask("maria")
	first := h.approval(p)
	h.clock.Advance(3 * time.Minute)
	gone := h.ask("maria")
	second := h.approval(p)
	if err := p.Approve(t.Context(), first, late.Number); phone.CodeOf(err) != "login_transaction_not_found" {
		t.Errorf("too late: %v", err)
	}
	h.change(p.Enrollment().ID, func(e *device.Enrollment) { e.Status = device.Suspended })
	if err := p.Approve(t.Context(), second, gone.Number); phone.CodeOf(err) != "enrollment_suspended" {
		t.Errorf("suspended: %v", err)
	}
	h.Reset("maria")
	if err := p.Approve(t.Context(), second, gone.Number); phone.CodeOf(err) != "login_transaction_not_found" {
		t.Errorf("reset: %v", err)
	}
}

func TestResolve_IsNotForAPhoneThatWasNotAsked(t *testing.T) {
	h := newHouse(t)
	asked, _ := h.enroll("maria")
	other, _ := h.enroll("maria")
	begun := h.ask("maria")
	approval := h.approval(asked)
	body := h.json(map[string]any{"challenge_response": h.response(other, approval, begun.Number)})
	h.Unchanged(func() {
		h.refused(h.call("POST", "/api/resolve-transaction", body, "Authorization", "Bearer "+approval.Token), 401, "invalid_token")
	})
}

func TestResolve_OfManyAnswersAtOnceDecidesOne(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	begun := h.ask("maria")
	approval := h.approval(p)
	statuses := make([]int, 16)
	var group sync.WaitGroup
	for i := range statuses {
		number := begun.Number // of every other one; the rest are numbers of their own
		if i%2 == 1 {
			number = fmt.Sprint(i, begun.Number)
		}
		body := h.json(map[string]any{"challenge_response": h.response(p, approval, number)})
		group.Go(func() {
			statuses[i] = h.call("POST", "/api/resolve-transaction", body, "Authorization", "Bearer "+approval.Token).status
		})
	}
	group.Wait()
	counts := map[int]int{}
	for _, status := range statuses {
		counts[status]++
	}
	accepted := map[int]int{http.StatusNoContent: 8, http.StatusNotFound: 8}
	denied := map[int]int{http.StatusForbidden: 8, http.StatusNotFound: 8}
	if !maps.Equal(counts, accepted) && !maps.Equal(counts, denied) {
		t.Errorf("answers got %v, want %v or %v", counts, accepted, denied)
	}
}
