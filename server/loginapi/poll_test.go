package loginapi_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"tutela/server"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
)

const undecided = "the login is not decided yet"

func TestToken_OfAnApprovedLoginIsGivenOnce(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	begun := h.ask(c)
	wantError(t, h.collect(c, begun.text("auth_req_id")), 400, "authorization_pending", undecided)
	p.approve(begun)
	a := h.collect(c, begun.text("auth_req_id"))
	want(t, a, 200, "")
	if a.text("token_type") != "Bearer" || a.body["expires_in"] != 3600.0 || a.text("scope") != "openid" || len(a.body) != 5 {
		t.Errorf("answer %s", a.raw)
	}
	for range 2 {
		wantError(t, h.collect(c, begun.text("auth_req_id")), 400, "invalid_grant", "the id is not of a login of this client, or was used already")
	}
}

func TestToken_PolledTooFastIsToldToSlowDown(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	id := h.asked(c)
	another := h.asked(c)
	steps := []struct {
		after    time.Duration
		interval int // 0: pending
	}{
		{0, 0}, {5 * time.Second, 0}, {4999 * time.Millisecond, 10}, {5 * time.Second, 15}, {15 * time.Second, 0}, {14 * time.Second, 20},
		{0, 25}, {25 * time.Second, 0},
	}
	for i, step := range steps {
		h.clock.Advance(step.after)
		a := h.collect(c, id)
		if step.interval == 0 {
			wantError(t, a, 400, "authorization_pending", undecided)
			if wait := a.header.Get("Retry-After"); wait != "" {
				t.Errorf("poll %d: Retry-After %s", i+1, wait)
			}
			continue
		}
		wantError(t, a, 400, "slow_down", "polled too fast: the interval is longer now")
		if wait := a.header.Get("Retry-After"); wait != strconv.Itoa(step.interval) {
			t.Errorf("poll %d: Retry-After %s, want %d", i+1, wait, step.interval)
		}
	}
	// Each login for itself; and what is decided is told however fast it is asked.
	wantError(t, h.collect(c, another), 400, "authorization_pending", undecided)
}

func TestToken_ADecisionIsToldHoweverFastItIsPolled(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	begun := h.ask(c)
	h.collect(c, begun.text("auth_req_id"))
	want(t, h.collect(c, begun.text("auth_req_id")), 400, "slow_down")
	p.approve(begun)
	want(t, h.collect(c, begun.text("auth_req_id")), 200, "")
}

func TestToken_OfALoginThatWasDeniedOrIsOver(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	denied := h.ask(c)
	p.deny("")
	for range 2 {
		wantError(t, h.collect(c, denied.text("auth_req_id")), 400, "access_denied", "the login was denied")
	}
	wrong := h.ask(c)
	other := "000000"
	if wrong.text("number") == other {
		other = "000001"
	}
	if err := p.answer(true, other, ""); storage.CodeOf(err) != storage.Denied {
		t.Fatalf("a wrong number: %v", err)
	}
	wantError(t, h.collect(c, wrong.text("auth_req_id")), 400, "access_denied", "the login was denied")

	expired := h.asked(c, "requested_expiry", "10")
	h.clock.Advance(10*time.Second - time.Millisecond)
	want(t, h.collect(c, expired), 400, "authorization_pending")
	h.clock.Advance(time.Millisecond)
	wantError(t, h.collect(c, expired), 400, "expired_token", "the login is over")
	h.clock.Advance(time.Hour)
	wantError(t, h.collect(c, expired), 400, "expired_token", "the login is over")
}

func TestToken_OfALoginThatWasDecidedInTimeIsKeptForAMinute(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	begun := []answer{h.ask(c, "requested_expiry", "10"), h.ask(c, "requested_expiry", "10")}
	h.clock.Advance(9 * time.Second)
	p.approve(begun[1])
	p.approve(begun[0])
	h.clock.Advance(60 * time.Second)
	want(t, h.collect(c, begun[0].text("auth_req_id")), 200, "")
	h.clock.Advance(time.Second)
	want(t, h.collect(c, begun[1].text("auth_req_id")), 400, "expired_token")
}

// changed is an id with another character at a place, whatever was there.
func changed(id string, at int) string {
	other := "A"
	if id[at] == 'A' {
		other = "B"
	}
	return id[:at] + other + id[at+1:]
}

func TestToken_OfSomethingElseThanALoginOfThisClientIsInvalid(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	other := h.client("openid")
	begun := h.ask(c)
	id := begun.text("auth_req_id")
	started := h.form("/mfa/start", c.credentials("user_id", "maria")...)
	p.approve(begun)
	for name, id := range map[string]string{
		"nonsense":        "x",
		"no text of ours": strings.Repeat("A", 512),
		"a changed id":    changed(id, len(id)/2),
		"a cut id":        id[:len(id)-1],
		"an mfa_token":    started.text("mfa_token"),
		"an access key":   c.secret,
		"a zero byte":     id + "\x00",
	} {
		t.Run(name, func(t *testing.T) { want(t, h.collect(c, id), 400, "invalid_grant") })
	}
	const notYours = "the id is not of a login of this client, or was used already"
	wantError(t, h.collect(other, id), 400, "invalid_grant", notYours)
	wantError(t, h.collect(other, id, "wait", "60"), 400, "invalid_grant", notYours)
	wantError(t, h.collect(c, ""), 400, "invalid_request", "auth_req_id is missing")
	wantError(t, h.collect(c, strings.Repeat("x", 513)), 400, "invalid_request", "auth_req_id is longer than 512 bytes")
	want(t, h.collect(c, id), 200, "")
}

func TestToken_OfAUserWhoIsGone(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	p := h.enroll("maria")
	begun := h.ask(c)
	p.approve(begun)
	h.block("maria")
	wantError(t, h.collect(c, begun.text("auth_req_id")), 400, "access_denied", "the user is blocked")

	h.enroll("otto")
	id := h.asked(c, "login_hint", "otto")
	waiting := h.hold(1, c, id)
	h.Reset("otto")
	wantError(t, <-waiting, 400, "expired_token", "the login is over")
	wantError(t, h.collect(c, id), 400, "expired_token", "the login is over")
}

func TestToken_AHeldRequestIsAnsweredByTheDecision(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	begun := h.ask(c)
	waiting := h.hold(1, c, begun.text("auth_req_id"))
	p.approve(begun)
	want(t, <-waiting, 200, "")
	h.ask(c)
	denied := h.asked(c)
	waiting = h.hold(1, c, denied)
	p.deny("")
	want(t, <-waiting, 400, "access_denied")
}

func TestToken_AHeldRequestIsNoPoll(t *testing.T) {
	t.Parallel() // each held request waits for its second
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	id := h.asked(c)
	for range 2 { // waits one second each, and is repeated at once
		wantError(t, h.collect(c, id, "wait", "1"), 400, "authorization_pending", undecided)
	}
	want(t, h.collect(c, id), 400, "authorization_pending")
	want(t, h.collect(c, id), 400, "slow_down")
}

func TestToken_TwoRequestsWaitForOneLogin(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	begun := h.ask(c)
	id := begun.text("auth_req_id")
	first := h.hold(1, c, id)
	second := h.hold(2, c, id)
	third := h.hold(2, c, id)
	// The oldest made room: which of the first two that was is theirs to say.
	var left held
	select {
	case a := <-first:
		want(t, a, 400, "authorization_pending")
		left = second
	case a := <-second:
		want(t, a, 400, "authorization_pending")
		left = first
	}
	other := h.asked(c)
	another := h.hold(3, c, other) // another login has its own two
	h.must(p.answer(false, "", ""))
	want(t, <-another, 400, "access_denied")
	p.approve(begun)
	one := <-left
	if another := <-third; one.status != 200 || one.raw != another.raw {
		t.Errorf("two who waited are told %d %s and %d %s", one.status, one.raw, another.status, another.raw)
	}
	if n := h.srv.Waits().Len(); n != 0 {
		t.Errorf("%d calls are still held", n)
	}
}

func TestToken_ShutdownAnswersWhoWaits(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	waiting := h.hold(1, c, h.asked(c))
	h.Stop()
	wantError(t, <-waiting, 400, "authorization_pending", undecided)
}

func TestToken_PastTheBoundOnWaitsTheAnswerComesAtOnce(t *testing.T) {
	h := newHouse(t, func(c *server.Config) { c.Limits.Waits = 1 })
	h.enroll("maria")
	c := h.client("openid")
	id := h.asked(c)
	waiting := h.hold(1, c, h.asked(c))
	for range 2 {
		wantError(t, h.collect(c, id, "wait", "60"), 400, "authorization_pending", undecided)
	}
	h.Stop()
	want(t, <-waiting, 400, "authorization_pending")
}

func TestToken_ChecksTheWait(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.client("openid")
	id := h.asked(c)
	for _, wait := range []string{"61", "-1", "1.5", "long", "999999999999999999999"} {
		wantError(t, h.collect(c, id, "wait", wait), 400, "invalid_request", "wait is a whole number from 0 to 60")
	}
	want(t, h.collect(c, id, "wait", "0"), 400, "authorization_pending")
	want(t, h.collect(c, id, "wait", ""), 400, "slow_down")
}

func TestToken_OfAClientThatWasRemovedIsRefused(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid reset:mfa")
	begun := h.ask(c)
	id := begun.text("auth_req_id")
	waiting := h.hold(1, c, id)
	management := h.form("/oauth/token", c.credentials("grant_type", access.GrantClientCredentials, "audience", public+"/api/v2/")...)
	want(t, management, 200, "")
	h.must(h.access.RemoveClient(t.Context(), audit.ByOperator(1000), c.ID))
	p.approve(begun)
	wantError(t, <-waiting, 401, "invalid_client", "the client is unknown, or its secret is wrong")
	want(t, h.collect(c, id), 401, "invalid_client")
	if _, err := h.access.VerifyManagement(t.Context(), management.text("access_token")); storage.CodeOf(err) != storage.Denied {
		t.Errorf("its management token: %v", err)
	}
}

func TestToken_WantsAGrantTypeThatIsServed(t *testing.T) {
	h := newHouse(t)
	c := h.client("openid")
	wantError(t, h.form("/oauth/token", c.credentials()...), 400, "invalid_request", "grant_type is missing")
	for _, grant := range []string{"password", "refresh_token", "CLIENT_CREDENTIALS", "client_credentials ", "\x00", "urn:openid:params:grant-type:ciba/"} {
		wantError(t, h.form("/oauth/token", c.credentials("grant_type", grant)...), 400, "unsupported_grant_type", "this grant_type is not served here")
	}
	wantError(t, h.form("/oauth/token", c.credentials("grant_type", strings.Repeat("x", 600))...), 400, "invalid_request", "grant_type is longer than 512 bytes")
	// Who calls comes before what is asked for.
	want(t, h.form("/oauth/token", "grant_type", "password"), 401, "invalid_client")
}
