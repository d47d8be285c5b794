package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/meter"
)

// links carry wakes between the houses over one store, as servers that share a database do by a channel of its own: each
// house has its own watchers, and a wake goes to those of all.
type links struct {
	mu    sync.Mutex
	ends  []*link
	apart atomic.Bool // no wake goes over
}

// link is the end of one house.
type link struct {
	storage.Wakes
	links *links
}

func (l *links) join() *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := &link{storage.NewWakes(), l}
	l.ends = append(l.ends, one)
	return one
}

// Wake wakes who watches uid, at every house.
func (e *link) Wake(uid storage.UID) {
	e.links.mu.Lock()
	defer e.links.mu.Unlock()
	for _, other := range e.links.ends {
		if other == e || !e.links.apart.Load() {
			other.Wakes.Wake(uid)
		}
	}
}

// road takes a phone's calls to one house or the other, whatever their URL says: so a balancer does.
type road struct {
	to atomic.Pointer[string] // host:port
	http.RoundTripper
}

func (r *road) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := req.Clone(req.Context())
	sent.URL.Host = *r.to.Load()
	return r.RoundTripper.RoundTrip(sent)
}

// neighbours are two houses over one store, with everything mounted, each with its own services, caches and watchers. The
// first is furnished.
type neighbours struct {
	a, b *mounted
	road *road // of maria's phone
}

func mountNeighbours(t *testing.T) *neighbours {
	t.Helper()
	all := &links{}
	r := &road{RoundTripper: &http.Transport{DisableCompression: true}}
	t.Cleanup(func() { r.RoundTripper.(*http.Transport).CloseIdleConnections() })
	a := mountWith(t, func(m *mounted) {
		m.options.wakes = all.join()
		m.options.share = true
		m.road = &http.Client{Transport: r}
		r.leadTo(m)
	})
	return &neighbours{a: a, b: a.neighbour(all), road: r}
}

// leadTo takes the phone's calls to a house from now on.
func (r *road) leadTo(m *mounted) {
	host := strings.TrimPrefix(m.url, "http://")
	r.to.Store(&host)
}

// neighbour opens another house over the store of m, and serves it. It has the public URLs of m.
func (m *mounted) neighbour(all *links) *mounted {
	m.t.Helper()
	listener, err := new(net.ListenConfig).Listen(m.t.Context(), "tcp", "127.0.0.1:0")
	m.must(err)
	b := &mounted{
		t:      m.t,
		log:    m.log,
		url:    "http://" + listener.Addr().String(),
		client: m.client,
		held:   m.held,
		phone:  m.phone,
		known:  m.known,
	}
	master, err := keyring.MasterKey(os.Getenv(masterKeyVariable), m.options.masterKeyFile(), false)
	m.must(err)
	o := m.options
	o.wakes = all.join()
	b.house = &house{engine: m.house.engine, meter: meter.NewSet()}
	m.must(b.house.wire(m.t.Context(), master, o))
	b.options = o
	b.serve(listener)
	return b
}

// withinTheWait ends before a call that waits a minute would: an answer comes by a wake, or too late.
func withinTheWait(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// aside makes a call on a goroutine of its own, and returns what gives its outcome.
func aside[T any](call func() (T, error)) (outcome func() (T, error), over <-chan struct{}) {
	done := make(chan struct{})
	var value T
	var err error
	go func() {
		defer close(done)
		value, err = call()
	}()
	return func() (T, error) {
		<-done
		return value, err
	}, done
}

// waitsAt makes a call that a house holds, and returns what gives its outcome. The call waits when waitsAt returns.
func waitsAt[T any](m *mounted, call func() (T, error)) func() (T, error) {
	m.t.Helper()
	outcome, over := aside(call)
	for m.server.Waits().Len() == 0 {
		select {
		case <-over:
			value, err := outcome()
			m.t.Fatalf("the call does not wait: %v, %v", value, err)
		default:
			runtime.Gosched()
		}
	}
	return outcome
}

const longest = 60 * time.Second // what the server lets a call wait

func TestTwoHouses_AnApprovalIsAskedForAtOneAndAnsweredAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	ctx := withinTheWait(t)
	m := n.a
	answerAll(t, n)

	n.road.leadTo(n.b)
	asked := waitsAt(n.b, func() ([]phone.Approval, error) { return m.phone.Approvals(ctx, longest, nil) })
	asking := m.ok(m.form("/bc-authorize", "scope", "openid", "login_hint", "maria"))
	list, err := asked()
	must(t, err)

	held := waitsAt(n.a, func() (reply, error) {
		return m.try("POST", "/oauth/token", strings.NewReader(values("client_id", m.client.id, "client_secret", m.client.secret,
			"grant_type", access.GrantCIBA, "auth_req_id", asking.member("auth_req_id"), "wait", "60")), "Content-Type", formType)
	})
	must(t, m.phone.Approve(ctx, list[0], asking.member("number")))
	tokens, err := held()
	must(t, err)
	if n.a.ok(tokens).member("id_token") == "" {
		t.Errorf("%s", tokens.body)
	}
}

// answerAll denies what maria's phone is asked, so that a test begins with nothing pending.
func answerAll(t *testing.T, n *neighbours) {
	t.Helper()
	pending, err := n.a.phone.Approvals(t.Context(), 0, nil)
	must(t, err)
	for _, one := range pending {
		must(t, n.a.phone.Deny(t.Context(), one, ""))
	}
}

func TestTwoHouses_ADenialAtOneEndsTheRequestHeldAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	ctx := withinTheWait(t)
	answerAll(t, n)
	asking := n.b.ok(n.b.form("/bc-authorize", "scope", "openid", "login_hint", "maria"))
	held := waitsAt(n.b, func() (reply, error) {
		return n.b.try("POST", "/oauth/token", strings.NewReader(values("client_id", n.b.client.id, "client_secret", n.b.client.secret,
			"grant_type", access.GrantCIBA, "auth_req_id", asking.member("auth_req_id"), "wait", "60")), "Content-Type", formType)
	})
	list, err := n.a.phone.Approvals(ctx, 0, nil) // at a
	must(t, err)
	must(t, n.a.phone.Deny(ctx, list[0], ""))
	r, err := held()
	must(t, err)
	if r.member("error") != "access_denied" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestTwoHouses_ALoginIsDecidedOnceHoweverBothAreAnswered(t *testing.T) {
	n := mountNeighbours(t)
	answerAll(t, n)
	for range 5 {
		asking := n.a.ok(n.a.form("/bc-authorize", "scope", "openid", "login_hint", "maria"))
		list, err := n.a.phone.Approvals(t.Context(), 0, nil)
		must(t, err)
		body := func(accepted bool) string {
			claims := map[string]any{
				"iss": n.a.phone.Identifier(), "sub": list[0].Challenge, "aud": n.a.url + "/api/resolve-transaction",
				"auth0_guardian_method": "push", "auth0_guardian_accepted": accepted, "exp": time.Now().Add(30 * time.Second).Unix(),
			}
			if accepted {
				claims["tutela_number"] = asking.member("number")
			}
			encoded, err := json.Marshal(map[string]string{"challenge_response": n.a.signed(claims)})
			must(t, err)
			return string(encoded)
		}
		yes := body(true)
		no := body(false)
		authorize := []string{"Authorization", "Bearer " + list[0].Token, "Content-Type", jsonType}
		accepted, _ := aside(func() (reply, error) {
			return n.a.try("POST", "/api/resolve-transaction", strings.NewReader(yes), authorize...)
		})
		denied, _ := aside(func() (reply, error) {
			return n.b.try("POST", "/api/resolve-transaction", strings.NewReader(no), authorize...)
		})
		first, err := accepted()
		must(t, err)
		second, err := denied()
		must(t, err)
		if (first.status == 204) == (second.status == 204) {
			t.Errorf("accepted: %d %s; denied: %d %s", first.status, first.body, second.status, second.body)
		}
		collected := n.b.form("/oauth/token", "grant_type", access.GrantCIBA, "auth_req_id", asking.member("auth_req_id"))
		if (collected.status == 200) != (first.status == 204) {
			t.Errorf("accepted: %d; collected: %d %s", first.status, collected.status, collected.body)
		}
	}
}

func TestTwoHouses_ANoticeReachesThePhoneThatWaitsAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	ctx := withinTheWait(t)
	known, err := n.a.phone.Notices(ctx, time.Time{}, 0)
	must(t, err)
	var last time.Time
	for _, one := range known {
		if one.At.After(last) {
			last = one.At
		}
	}
	n.road.leadTo(n.b)
	got := waitsAt(n.b, func() ([]phone.Notice, error) { return n.a.phone.Notices(ctx, last, longest) })
	n.a.ok(n.a.call("POST", "/api/v2/users/maria/recovery-code-regeneration", "", n.a.managing()...))
	list, err := got()
	must(t, err)
	if len(list) == 0 {
		t.Error("the wait has ended without a notice")
	}
}

func TestTwoHouses_ARestoreThatBeginsAtOneIsSeenByThePhoneThatWaitsAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	ctx := withinTheWait(t)
	n.a.ok(n.a.call("POST", "/api/restores/"+n.a.restoreID+"/first-time-setup", "", "Authorization", "Bearer "+n.a.held["restore_token"]))
	n.road.leadTo(n.b)
	seen := waitsAt(n.b, func() (int, error) {
		open, err := n.a.phone.OpenRestoresOfMine(ctx, longest)
		return len(open), err
	})
	started := n.a.ok(n.a.json("POST", "/api/restores", n.a.installation("restore_handle", n.a.held["restore_handle"])))
	count, err := seen()
	must(t, err)
	if count == 0 {
		t.Errorf("%s was started, and not seen", started.member("id"))
	}
	must(t, n.a.phone.Veto(ctx, started.member("id"))) // at b
	state := n.a.call("GET", "/api/restores/"+started.member("id"), "", "Authorization", "Bearer "+started.member("token"))
	if state.member("reason") != "vetoed" {
		t.Errorf("at the first it is %s", state.body)
	}
}

func TestTwoHouses_AClientIsKnownAndForgottenAtBothAtOnce(t *testing.T) {
	n := mountNeighbours(t)
	ctx := t.Context()
	operator := audit.ByOperator(0)
	client, secret, err := n.a.house.access.AddClient(ctx, operator, access.Client{
		Name:       "shop",
		Scopes:     []string{"openid", "read:users"},
		WebOrigins: []string{"https://shop.example"},
	})
	must(t, err)
	asked := func(m *mounted) reply {
		return m.form("/oauth/token", "client_id", client.ID, "client_secret", secret, "grant_type", access.GrantClientCredentials, "audience", n.a.url+"/api/v2/")
	}
	token := n.b.ok(asked(n.b)).member("access_token")
	n.a.ok(asked(n.a))
	listed := func(m *mounted) int {
		return m.call("GET", "/api/v2/users/maria", "", "Authorization", "Bearer "+token).status
	}
	preflight := func(m *mounted) string {
		return m.call("OPTIONS", "/mfa/start", "", "Origin", "https://shop.example", "Access-Control-Request-Method", "POST").
			header.Get("Access-Control-Allow-Origin")
	}
	for _, m := range []*mounted{n.b, n.a, n.b} {
		if status := listed(m); status != 200 || preflight(m) == "" {
			t.Fatalf("%d, origin %q", status, preflight(m))
		}
	}
	must(t, n.a.house.access.RemoveClient(ctx, operator, client.ID))
	for _, m := range []*mounted{n.b, n.a} {
		if r := asked(m); r.status != 401 {
			t.Errorf("its secret: %d %s", r.status, r.body)
		}
		if status := listed(m); status != 401 {
			t.Errorf("its token: %d", status)
		}
		if origin := preflight(m); origin != "" {
			t.Errorf("its origin: %q", origin)
		}
	}
}

func TestTwoHouses_APolicySetAtOneRulesAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	answerAll(t, n)
	for digits, set := range map[string]*mounted{"3": n.a, "4": n.b} {
		set.policy("approval.digits", digits)
		for _, m := range []*mounted{n.a, n.b} {
			asking := m.ok(m.form("/bc-authorize", "scope", "openid", "login_hint", "maria"))
			if number := asking.member("number"); len(number) != int(digits[0]-'0') {
				t.Errorf("with %s digits: %q", digits, number)
			}
			answerAll(t, n)
		}
	}
}

func TestTwoHouses_KeysRotatedAtOneOpenAtTheOther(t *testing.T) {
	n := mountNeighbours(t)
	ctx := t.Context()
	operator := audit.ByOperator(0)
	for i, m := range []*mounted{n.a, n.b, n.a} {
		other := n.b
		if m == n.b {
			other = n.a
		}
		_, err := m.house.access.RotateAll(ctx, operator)
		must(t, err)
		p, err := phone.New(phone.Options{BaseURL: n.a.url, Client: &http.Client{Transport: n.road}})
		must(t, err)
		n.road.leadTo(m)
		_, err = p.Enroll(ctx, m.ticket("carla")) // its secrets are sealed by the new ring
		must(t, err)
		n.road.leadTo(other)
		_, err = p.Status(ctx)
		must(t, err)
		asking := other.ok(other.form("/bc-authorize", "scope", "openid", "login_hint", "carla"))
		list, err := p.Approvals(ctx, 0, nil)
		must(t, err)
		n.road.leadTo(m)
		if err := p.Approve(ctx, list[0], asking.member("number")); err != nil {
			t.Errorf("rotation %d: %v", i, err)
		}
		if other.ok(other.form("/oauth/token", "grant_type", access.GrantCIBA, "auth_req_id", asking.member("auth_req_id"))).member("id_token") == "" {
			t.Errorf("rotation %d: no tokens", i)
		}
		must(t, p.Unenroll(ctx))
		for name, one := range map[string]*mounted{"here": m, "there": other} {
			if r := one.call("GET", "/api/v2/users/maria", "", one.managing()...); r.status != 200 {
				t.Errorf("rotation %d, a token from before, %s: %d %s", i, name, r.status, r.body)
			}
		}
	}
}

func TestTwoHouses_ATicketIsSpentOnceAndThePageOfTheOtherSeesIt(t *testing.T) {
	n := mountNeighbours(t)
	ctx := withinTheWait(t)
	ticket := n.a.ticket("dora")
	session := storage.NewID("", 43)
	started, err := n.b.house.devices.StartTicket(ctx, ticket, "", session)
	must(t, err)
	page := func() (reply, error) {
		return n.b.try("GET", "/mfa/enrollment?ticket="+url.QueryEscape(ticket), strings.NewReader(""), "Cookie", pageCookie(ticket, session))
	}
	before, err := page()
	must(t, err)
	bodies := [2]string{}
	for i := range bodies {
		encoded, err := json.Marshal(n.a.installation())
		must(t, err)
		bodies[i] = string(encoded)
	}
	enrol := func(m *mounted, body string) func() (reply, error) {
		outcome, _ := aside(func() (reply, error) {
			return m.try("POST", "/api/enroll", strings.NewReader(body), "Authorization", `Ticket id="`+started.TxID+`"`, "Content-Type", jsonType)
		})
		return outcome
	}
	one := enrol(n.a, bodies[0])
	two := enrol(n.b, bodies[1])
	first, err := one()
	must(t, err)
	second, err := two()
	must(t, err)
	if (first.status < 300) == (second.status < 300) {
		t.Errorf("%d %s; %d %s", first.status, first.body, second.status, second.body)
	}
	after, err := page()
	must(t, err)
	if string(before.body) == string(after.body) || after.status != 200 {
		t.Errorf("the page has not gone on: %d", after.status)
	}
}

func TestTwoHouses_LimitsAndSpentCodesCountAtBoth(t *testing.T) {
	n := mountNeighbours(t)
	wrong := n.a.shown // ida's code
	try := func(m *mounted, code string) reply {
		token := m.ok(m.form("/mfa/start", "user_id", "maria")).member("mfa_token")
		return m.form("/oauth/token", "grant_type", "http://auth0.com/oauth/grant-type/mfa-recovery-code", "mfa_token", token, "recovery_code", code)
	}
	for i := range 10 {
		m := n.a
		if i%2 == 1 {
			m = n.b
		}
		if r := try(m, wrong); r.status != 403 {
			t.Fatalf("wrong code %d: %d %s", i+1, r.status, r.body)
		}
	}
	for _, m := range []*mounted{n.a, n.b} {
		if r := try(m, wrong); r.status != 429 {
			t.Errorf("the eleventh wrong code: %d %s", r.status, r.body)
		}
	}
	n.a.ok(try(n.a, n.a.held["recovery_code"]))
	if r := try(n.b, n.a.held["recovery_code"]); r.status < 400 {
		t.Errorf("the spent code, at the other: %d %s", r.status, r.body)
	}
}

func TestTwoHouses_WhatAnAdminTakesAwayAtOneIsGoneAtTheOtherThoughItWasUsedThere(t *testing.T) {
	n := mountNeighbours(t)
	ctx := t.Context()
	operator := audit.ByOperator(0)
	admins := n.a.house.admins
	for name, take := range map[string]func(userID, enrollment string) error{
		"suspension": func(_, enrollment string) error { return admins.Suspend(ctx, enrollment, operator) },
		"removal":    func(_, enrollment string) error { return admins.RemoveEnrollment(ctx, enrollment, operator) },
		"reset": func(userID, _ string) error {
			_, err := admins.Reset(ctx, userID, recovery.ResetRequest{Reason: "lost"}, operator)
			return err
		},
	} {
		p, err := phone.New(phone.Options{BaseURL: n.a.url, Client: &http.Client{Transport: n.road}})
		must(t, err)
		n.road.leadTo(n.b)
		_, err = p.Enroll(ctx, n.b.ticket(name))
		must(t, err)
		jwt, err := p.DeviceJWT()
		must(t, err)
		id := p.Enrollment().ID
		asked := func() int { // a call that a suspended phone may not make
			return n.b.call("GET", "/api/device-accounts/"+id+"/approvals", "", "Authorization", "Bearer "+jwt).status
		}
		if got := asked(); got >= 500 || got == 401 || got == 403 {
			t.Fatalf("before the %s: %d", name, got)
		}
		before := asked() // b remembers the JWT
		must(t, take(name, id))
		if got := asked(); got == before || got < 400 {
			t.Errorf("after the %s: %d, as before", name, got)
		}
	}
}

// counting is a push service that notes what it was given.
type counting struct {
	mu   sync.Mutex
	sent map[string]int // by challenge and token
}

func (c *counting) Deliver(_ context.Context, to push.Address, m push.Message) error {
	if m.Challenge == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[m.Challenge+" "+to.Token]++
	return nil
}

func TestTwoHouses_EachPushIsSentOnceWhenBothSend(t *testing.T) {
	n := mountNeighbours(t)
	answerAll(t, n)
	service := &counting{sent: map[string]int{}}
	for _, m := range []*mounted{n.a, n.b} {
		m.house.push.Use(push.FCM, service)
	}
	const users = 24
	for i := range users {
		p, err := phone.New(phone.Options{BaseURL: n.a.url, Push: &phone.PushCredentials{Service: "FCM", Token: "token-" + string(rune('a'+i))}, Client: &http.Client{Transport: n.road}})
		must(t, err)
		_, err = p.Enroll(t.Context(), n.a.ticket("user "+string(rune('a'+i))))
		must(t, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for _, m := range []*mounted{n.a, n.b} {
		senders.Go(func() { m.house.outbox.Run(ctx) })
	}
	for i := range users {
		m := n.a
		if i%2 == 1 {
			m = n.b
		}
		asking := m.ok(m.form("/bc-authorize", "scope", "openid", "login_hint", "user "+string(rune('a'+i))))
		if asking.member("auth_req_id") == "" {
			t.Errorf("%s", asking.body)
		}
	}
	must(t, errors.Join(n.a.house.outbox.Drain(t.Context()), n.b.house.outbox.Drain(t.Context())))
	stop()
	senders.Wait()
	service.mu.Lock()
	defer service.mu.Unlock()
	if len(service.sent) != users {
		t.Errorf("%d of %d approvals were sent", len(service.sent), users)
	}
	for what, times := range service.sent {
		if times != 1 {
			t.Errorf("%s was sent %d times", what, times)
		}
	}
}

func TestTwoHouses_TheDaysOfBothAddUp(t *testing.T) {
	n := mountNeighbours(t)
	answerAll(t, n)
	counted := func() (logins, denied uint64) {
		for _, m := range []*mounted{n.a, n.b, n.a} {
			must(t, m.house.tally.Fold(t.Context()))
		}
		days, err := n.b.house.admins.Stats(t.Context(), time.Now().Add(-48*time.Hour), time.Now().Add(48*time.Hour))
		must(t, err)
		for _, d := range days {
			logins += d.Logins
			denied += d.Denied
		}
		return logins, denied
	}
	logins, denied := counted()
	for _, m := range []*mounted{n.a, n.b} {
		m.ok(m.form("/bc-authorize", "scope", "openid", "login_hint", "maria"))
		n.road.leadTo(m)
		answerAll(t, n)
	}
	if more, moreDenied := counted(); more != logins+2 || moreDenied != denied+2 {
		t.Errorf("%d logins after %d, %d denied after %d", more, logins, moreDenied, denied)
	}
}
