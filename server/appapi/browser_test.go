package appapi

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/otp"
	"tutela/device/phone"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server"
	"tutela/server/access"
	"tutela/server/servertest"
	"tutela/storage/audit"
)

// page is a page of the browser client: what auth0-guardian.js calls, without its waits.
type page struct {
	h     *house
	token string // the transaction token
	start answer
}

// loginSystem registers a client; presence may be empty.
func (h *house) loginSystem(presence device.Presence) access.Client {
	h.t.Helper()
	c, _, err := h.Access.AddClient(h.t.Context(), servertest.Operator, access.Client{Name: "shop", Scopes: []string{"openid"}, Presence: presence})
	h.must(err)
	return c
}

// requestToken starts a login by grant, as POST /mfa/start does.
func (h *house) requestToken(c access.Client, userID string, change ...func(*login.MFAStart)) string {
	h.t.Helper()
	start := login.MFAStart{
		Client:  c.ID,
		Name:    c.Name,
		TapOnly: c.Presence == device.PresenceTap,
		User:    user.User{ID: userID},
		IP:      "203.0.113.7",
	}
	for _, f := range change {
		f(&start)
	}
	started, err := h.Logins.StartMFA(h.t.Context(), start)
	h.must(err)
	return started.Token
}

// post makes a call as the client does: without a body there is no Content-Type.
func (h *house) post(path, authorization, body string) answer {
	h.t.Helper()
	header := []string{"Authorization", authorization}
	if body != "" {
		header = append(header, "Content-Type", "application/json")
	}
	return h.call("POST", path, body, header...)
}

// opens starts a flow.
func (h *house) opens(authorization string) page {
	h.t.Helper()
	a := h.post("/api/start-flow", authorization, `{"state_transport":"polling"}`)
	h.accepted(a, http.StatusOK)
	token, _ := a.body["transaction_token"].(string)
	return page{h, token, a}
}

// logsIn starts the flow of a user's login through a client.
func (h *house) logsIn(c access.Client, userID string) page {
	h.t.Helper()
	return h.opens("Bearer " + h.requestToken(c, userID))
}

func (p page) call(name, body string) answer {
	p.h.t.Helper()
	return p.h.post("/api/"+name, "Bearer "+p.token, body)
}

// state asks how the transaction stands, which must be as wanted.
func (p page) state(want string) answer {
	p.h.t.Helper()
	a := p.call("transaction-state", "")
	p.h.accepted(a, http.StatusOK)
	if a.body["state"] != want || a.body["id"] != claimsOf(p.h.t, p.token)["txid"] {
		p.h.t.Fatalf("the state is %s, want %s", a.raw, want)
	}
	return a
}

// push asks the phones, and returns the number.
func (p page) push() string {
	p.h.t.Helper()
	a := p.call("send-push-notification", "")
	p.h.accepted(a, http.StatusOK)
	number, _ := a.body["number"].(string)
	return number
}

// account is a member of the start's device_account.
func (p page) account(member string) any {
	of, _ := p.start.body["device_account"].(map[string]any)
	return of[member]
}

func claimsOf(t testing.TB, token string) map[string]any {
	t.Helper()
	var claims map[string]any
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		t.Fatalf("%q is no JWT", token)
	}
	return claims
}

// result returns the claims of a result token, verified as a login system does it.
func (p page) result(a answer, c access.Client) map[string]any {
	p.h.t.Helper()
	token, _ := a.body["token"].(string)
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	p.h.must(err)
	published, err := p.h.Access.JWKS(p.h.t.Context())
	p.h.must(err)
	var keys jose.JSONWebKeySet
	p.h.must(json.Unmarshal(published, &keys))
	payload, err := parsed.Verify(keys.Key(parsed.Signatures[0].Header.KeyID)[0])
	p.h.must(err)
	var claims map[string]any
	p.h.must(json.Unmarshal(payload, &claims))
	if typ := parsed.Signatures[0].Header.ExtraHeaders[jose.HeaderType]; typ != "tutela-result+jwt" {
		p.h.t.Errorf("typ is %v", typ)
	}
	if claims["iss"] != "https://mfa.example.org/" || claims["aud"] != c.ID || claims["txid"] != claimsOf(p.h.t, p.token)["txid"] || claims["jti"] == "" {
		p.h.t.Errorf("the claims are %v", claims)
	}
	if life := claims["exp"].(float64) - claims["iat"].(float64); life != 60 {
		p.h.t.Errorf("it lives %v s", life)
	}
	return claims
}

func (h *house) approve(p *phone.Phone, number string) {
	h.t.Helper()
	h.must(p.Approve(h.t.Context(), h.approval(p), number))
}

func TestBrowser_LogsInByTheNumberThatThePhoneMatches(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	c := h.loginSystem("")
	tab := h.logsIn(c, "maria")
	if tab.start.body["enrollment_tx_id"] != nil || tab.account("status") != "confirmed" || tab.account("name") != "Pixel 9" {
		t.Errorf("started: %s", tab.start.raw)
	}
	if got := fmt.Sprint(tab.account("available_authenticator_types"), tab.account("methods")); got != "[push otp recovery-code] [push otp]" {
		t.Errorf("the types are %s", got)
	}
	tab.state("pending")
	number := tab.push()
	if a := tab.state("pending"); len(number) != 6 || a.body["number"] != number || a.body["delivery"] != "pull" {
		t.Errorf("the number is %q, then %s", number, a.raw)
	}
	asked := h.approval(p)
	if asked.ClientName != "shop" || !asked.NumberMatching {
		t.Errorf("the phone is asked %+v", asked)
	}
	h.approve(p, number)
	accepted := tab.state("accepted")
	claims := tab.result(accepted, c)
	if claims["sub"] != "maria" || fmt.Sprint(claims["amr"]) != "[mfa swk]" || accepted.body["number"] != nil {
		t.Errorf("the claims are %v", claims)
	}
}

func TestBrowser_TwoTabsOfALoginGetOneTokenWhileItLives(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	request := "Bearer " + h.requestToken(h.loginSystem(""), "maria")
	one := h.opens(request)
	two := h.opens(request)
	h.approve(p, one.push())
	first := one.state("accepted").body["token"]
	if again := two.state("accepted").body["token"]; again != first {
		t.Errorf("the tabs get %v and %v", first, again)
	}
	h.clock.Advance(59 * time.Second)
	if again := one.state("accepted").body["token"]; again != first {
		t.Errorf("then it is %v", again)
	}
	h.clock.Advance(time.Second)
	h.refused(one.call("transaction-state", ""), http.StatusUnauthorized, "invalid_token")
	h.refused(one.call("send-push-notification", ""), http.StatusNotFound, "login_transaction_not_found")
}

// A page on the unmodified client cannot show digits: its login system is registered so. Any other's approvals match numbers,
// whichever API is used: who has the password cannot choose the weaker one.
func TestBrowser_TapsOnlyForAClientThatIsRegisteredSo(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	tab := h.logsIn(h.loginSystem(device.PresenceTap), "maria")
	if number := tab.push(); number != "" || h.approval(p).NumberMatching {
		t.Errorf("the number is %q", number)
	}
	h.approve(p, "")
	tab.state("accepted")

	h.Set("approval.presence", "number")
	tab = h.logsIn(h.loginSystem(device.PresenceTap), "maria")
	if got := fmt.Sprint(tab.account("available_authenticator_types")); got != "[otp recovery-code]" {
		t.Errorf("the types are %s", got)
	}
	h.refused(tab.call("send-push-notification", ""), http.StatusBadRequest, "method_not_available")
}

func TestBrowser_AsksAgainAfterADenial(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	tab := h.logsIn(h.loginSystem(""), "maria")
	first := tab.push()
	h.must(p.Deny(t.Context(), h.approval(p), ""))
	if a := tab.state("rejected"); a.body["token"] != nil || a.body["number"] != nil {
		t.Errorf("rejected: %s", a.raw)
	}
	number := tab.push()
	tab.state("pending")
	h.approve(p, number)
	tab.state("accepted")
	if first == "" || number == "" {
		t.Error("no number")
	}
}

// A second click rings the phone again, for the same approval: the number on the screen stays right, and the phone lists one.
func TestBrowser_RingsAgainForThePendingApproval(t *testing.T) {
	h := newPushing(t)
	p, _ := h.enroll("maria", withPush("GCM", "token"))
	h.pushed()
	tab := h.logsIn(h.loginSystem(""), "maria")
	number := tab.push()
	rung := h.pushed()
	h.clock.Advance(119 * time.Second)
	if again := tab.push(); again != number {
		t.Errorf("the number is %s and then %s", number, again)
	}
	again := h.pushed()
	if len(rung) != 1 || len(again) != 1 || rung[0].Message.Challenge != again[0].Message.Challenge {
		t.Errorf("the phone was rung %d times, then %d", len(rung), len(again))
	}
	h.clock.Advance(119 * time.Second)
	h.approve(p, number)
	tab.state("accepted")
}

func TestBrowser_PushesWithinThePaceAndTheBudget(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	tab := h.logsIn(h.loginSystem(""), "maria")
	delivered := ""
	for range login.PushesPerMinute {
		a := tab.call("send-push-notification", "")
		h.accepted(a, http.StatusOK)
		delivered += " " + a.body["delivery"].(string)
	}
	if want := strings.Repeat(" pull", 5) + strings.Repeat(" silent", 7); delivered != want {
		t.Errorf("delivered%s", delivered)
	}
	a := tab.call("send-push-notification", "")
	h.refused(a, http.StatusTooManyRequests, "too_many_attempts")
	if a.header.Get("Retry-After") != "60" {
		t.Errorf("Retry-After: %s", a.header.Get("Retry-After"))
	}
}

func TestBrowser_RecoversByTheCodeAndAnswersTwice(t *testing.T) {
	h := newHouse(t)
	p, code := h.enroll("maria")
	c := h.loginSystem("")
	tab := h.logsIn(c, "maria")
	number := tab.push()
	asked := h.approval(p)
	h.refused(tab.call("recover-account", `{}`), http.StatusBadRequest, "invalid_body")
	h.refused(tab.call("recover-account", `{"recovery_code":"`+strings.Repeat("0", 300)+`"}`), http.StatusForbidden, "invalid_recovery_code")
	h.refused(tab.call("recover-account", `{"recovery_code":"7V3KQ9X2M4T8R6W5Y1ZJ0ABV"}`), http.StatusForbidden, "invalid_recovery_code")
	tab.state("pending")
	a := tab.call("recover-account", h.json(map[string]string{"recovery_code": strings.ToLower(code)}))
	h.accepted(a, http.StatusOK)
	next, _ := a.body["recovery_code"].(string)
	if again := tab.call("recover-account", h.json(map[string]string{"recovery_code": code})); again.raw != a.raw || len(next) != 24 || next == code {
		t.Errorf("the next code is %s, then %s", a.raw, again.raw)
	}
	claims := tab.result(tab.state("accepted"), c)
	if fmt.Sprint(claims["amr"]) != "[mfa rc]" {
		t.Errorf("amr is %v", claims["amr"])
	}
	// What was asked before is over: the phone cannot answer a login that is decided.
	if err := p.Approve(t.Context(), asked, number); err == nil || !strings.Contains(err.Error(), "login_transaction_not_found") {
		t.Errorf("the phone answers: %v", err)
	}
	h.refused(tab.call("recover-account", h.json(map[string]string{"recovery_code": next})), http.StatusNotFound, "login_transaction_not_found")
	if valid, err := p.CheckCode(t.Context(), next); err != nil || !valid {
		t.Errorf("the next code: %v %v", valid, err)
	}
}

func TestBrowser_OffersARecoveryOnlyUserTheCodeAlone(t *testing.T) {
	h := newHouse(t)
	p, code := h.enroll("maria")
	h.must(p.Unenroll(t.Context()))
	tab := h.logsIn(h.loginSystem(""), "maria")
	if got := fmt.Sprint(tab.account("available_authenticator_types")); got != "[recovery-code]" || tab.start.body["enrollment_tx_id"] != nil {
		t.Errorf("started: %s", tab.start.raw)
	}
	h.refused(tab.call("send-push-notification", ""), http.StatusNotFound, "device_account_not_found")
	h.accepted(tab.call("recover-account", h.json(map[string]string{"recovery_code": code})), http.StatusOK)
	tab.state("accepted")
}

func TestBrowser_EnrolsANewUserAndThenAsksHerPhone(t *testing.T) {
	h := newHouse(t)
	request := "Bearer " + h.requestToken(h.loginSystem(""), "zoe")
	tab := h.opens(request)
	if again := h.opens(request); again.account("recovery_code") != tab.account("recovery_code") ||
		again.start.body["enrollment_tx_id"] != tab.start.body["enrollment_tx_id"] || again.account("otp_secret") != tab.account("otp_secret") {
		t.Errorf("the same token gets %s, then %s", tab.start.raw, again.start.raw)
	}
	if a := tab.state("pending"); a.body["enrollment"] != nil {
		t.Errorf("at first: %s", a.raw)
	}
	h.refused(tab.call("send-push-notification", ""), http.StatusNotFound, "device_account_not_found")
	txID, _ := tab.start.body["enrollment_tx_id"].(string)
	code, _ := tab.account("recovery_code").(string)
	if tab.account("status") != "confirmation_pending" || len(code) != 24 {
		t.Errorf("started: %s", tab.start.raw)
	}
	if h.Holds(code) || h.Holds(txID) {
		t.Error("the store has a secret in plain form")
	}
	p := h.phone()
	enrolled, err := p.Enroll(t.Context(), txID)
	h.must(err)
	if enrolled.EnrollmentID != tab.account("id") || p.Enrollment().TOTP.Secret != tab.account("otp_secret") || enrolled.RecoveryCode != code {
		t.Errorf("enrolled %+v, offered %s", enrolled, tab.start.raw)
	}
	a := tab.state("pending")
	told, _ := a.body["enrollment"].(map[string]any)
	if told["id"] != enrolled.EnrollmentID || fmt.Sprint(told["available_authenticator_types"]) != "[push otp recovery-code]" || told["otp_secret"] != nil {
		t.Errorf("after the enrolment: %s", a.raw)
	}
	if valid, err := p.CheckCode(t.Context(), code); err != nil || !valid {
		t.Errorf("the code: %v %v", valid, err)
	}
	h.approve(p, tab.push())
	tab.state("accepted")
	if e := h.Events(audit.EnrollComplete); len(e) != 1 {
		t.Errorf("%d enrolments", len(e))
	}
}

// The code that a page was told counts as arrived when the page has learned of the enrolment, and not before.
func TestBrowser_ACodeArrivesWithThePageThatShowsIt(t *testing.T) {
	for name, shown := range map[string]bool{"shown": true, "the page was closed": false} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			tab := h.logsIn(h.loginSystem(""), "zoe")
			p := h.phone(tapOnly)
			_, err := p.Enroll(t.Context(), tab.start.body["enrollment_tx_id"].(string))
			h.must(err)
			if shown {
				tab.state("pending")
			}
			another := h.opens(ticketField(h.ticket("zoe")))
			if keeps := another.account("recovery_code") == nil; keeps != shown {
				t.Errorf("the next enrolment is offered %s", another.start.raw)
			}
		})
	}
}

func TestBrowser_ATicketEnrolsAndLogsNobodyIn(t *testing.T) {
	h := newHouse(t)
	ticket := ticketField(h.ticket("maria"))
	one := h.opens(ticket)
	two := h.opens(ticket)
	if one.account("recovery_code") == two.account("recovery_code") || one.start.body["enrollment_tx_id"] == two.start.body["enrollment_tx_id"] {
		t.Errorf("two browsers are told the same: %s", two.start.raw)
	}
	one.state("pending")
	p := h.phone()
	_, err := p.Enroll(t.Context(), one.start.body["enrollment_tx_id"].(string))
	h.must(err)
	if a := one.state("pending"); a.body["enrollment"] == nil {
		t.Errorf("after the enrolment: %s", a.raw)
	}
	two.h.refused(two.call("transaction-state", ""), http.StatusUnauthorized, "invalid_token")
	for _, call := range []string{"send-push-notification", "recover-account"} {
		h.refused(one.call(call, `{"recovery_code":"`+one.account("recovery_code").(string)+`"}`), http.StatusForbidden, "insufficient_scope")
	}
	h.refused(h.post("/api/start-flow", ticket, ""), http.StatusNotFound, "enrollment_transaction_not_found")
	if valid, err := p.CheckCode(t.Context(), one.account("recovery_code").(string)); err != nil || !valid {
		t.Errorf("the code: %v %v", valid, err)
	}
	// She keeps the code that she has when another phone enrols.
	three := h.opens(ticketField(h.ticket("maria")))
	if three.account("recovery_code") != nil || three.start.body["enrollment_tx_id"] == nil {
		t.Errorf("started: %s", three.start.raw)
	}
}

func TestBrowser_ATicketThatReplacesRetiresThePhone(t *testing.T) {
	h := newHouse(t)
	old, _ := h.enroll("maria")
	ticket, err := h.Admins.NewTicket(t.Context(), admin.TicketRequest{User: user.User{ID: "maria"}, Replaces: old.Enrollment().ID}, servertest.Operator)
	h.must(err)
	tab := h.opens(ticketField(ticket))
	_, err = h.phone().Enroll(t.Context(), tab.start.body["enrollment_tx_id"].(string))
	h.must(err)
	h.refused(h.call("GET", path(old, ""), "", "Authorization", h.bearer(old)), http.StatusNotFound, "device_account_not_found")
}

func TestBrowser_NeedsATicketWhereThePolicySaysSo(t *testing.T) {
	h := newHouse(t)
	c := h.loginSystem("")
	started := h.requestToken(c, "zoe")
	h.Set("enrollment.after_reset", "ticket")
	h.refused(h.post("/api/start-flow", "Bearer "+started, ""), http.StatusForbidden, "ticket_required")
	ticket := h.ticket("zoe")
	tab := h.opens("Bearer " + h.requestToken(c, "zoe", func(s *login.MFAStart) { s.Ticket = ticket }))
	p := h.phone()
	_, err := p.Enroll(t.Context(), tab.start.body["enrollment_tx_id"].(string))
	h.must(err)
	h.approve(p, tab.push())
	tab.state("accepted")
	h.refused(h.postEnroll(ticket, h.body(nil)), http.StatusNotFound, "enrollment_transaction_not_found")
}

func TestBrowser_EndsInTheMiddleOfWhateverHappens(t *testing.T) {
	over := func(h *house, tab page) {
		h.refused(tab.call("transaction-state", ""), http.StatusUnauthorized, "invalid_token")
		h.refused(tab.call("send-push-notification", ""), http.StatusUnauthorized, "invalid_token")
		h.refused(tab.call("recover-account", `{"recovery_code":"x"}`), http.StatusUnauthorized, "invalid_token")
	}
	for name, play := range map[string]func(h *house, p *phone.Phone, c access.Client, request string, tab page){
		"the user is blocked": func(h *house, p *phone.Phone, c access.Client, request string, tab page) {
			number := tab.push()
			h.SetBlocked("maria", true)
			for _, call := range []string{"transaction-state", "send-push-notification", "recover-account"} {
				h.refused(tab.call(call, `{"recovery_code":"x"}`), http.StatusNotFound, "login_transaction_not_found")
			}
			h.refused(h.post("/api/start-flow", "Bearer "+request, ""), http.StatusNotFound, "login_transaction_not_found")
			h.SetBlocked("maria", false)
			h.approve(p, number)
			tab.state("accepted")
			h.SetBlocked("maria", true)
			h.refused(tab.call("transaction-state", ""), http.StatusNotFound, "login_transaction_not_found")
		},
		"the user is reset": func(h *house, _ *phone.Phone, _ access.Client, request string, tab page) {
			tab.push()
			h.Reset("maria")
			over(h, tab)
			h.refused(h.post("/api/start-flow", "Bearer "+request, ""), http.StatusUnauthorized, "invalid_token")
		},
		"the phone that approved is suspended": func(h *house, p *phone.Phone, _ access.Client, _ string, tab page) {
			h.approve(p, tab.push())
			h.change(p.Enrollment().ID, func(e *device.Enrollment) { e.Status = device.Suspended })
			if a := tab.state("rejected"); a.body["token"] != nil {
				h.t.Errorf("the state is %s", a.raw)
			}
		},
		"the client is removed": func(h *house, p *phone.Phone, c access.Client, _ string, tab page) {
			h.approve(p, tab.push())
			h.must(h.Access.RemoveClient(h.t.Context(), servertest.Operator, c.ID))
			over(h, tab)
		},
		"ten minutes have passed": func(h *house, _ *phone.Phone, _ access.Client, request string, tab page) {
			h.clock.Advance(10 * time.Minute)
			over(h, tab)
			h.refused(h.post("/api/start-flow", "Bearer "+request, ""), http.StatusUnauthorized, "invalid_token")
		},
		"it was decided at the last moment": func(h *house, p *phone.Phone, c access.Client, _ string, tab page) {
			h.clock.Advance(10*time.Minute - time.Second)
			h.approve(p, tab.push())
			h.clock.Advance(time.Minute)
			tab.result(tab.state("accepted"), c)
		},
		"another token is shown": func(h *house, p *phone.Phone, _ access.Client, request string, tab page) {
			for _, wrong := range []string{request, tab.token + "x", p.Enrollment().Token} {
				h.refused(page{h: h, token: wrong}.call("transaction-state", ""), http.StatusUnauthorized, "invalid_token")
			}
			h.refused(h.post("/api/start-flow", "Bearer "+tab.token, ""), http.StatusUnauthorized, "invalid_token")
			h.refused(h.post("/api/start-flow", "Basic eDp5", ""), http.StatusUnauthorized, "invalid_token")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.t = t
			p, _ := h.enroll("maria")
			c := h.loginSystem("")
			request := h.requestToken(c, "maria")
			play(h, p, c, request, h.opens("Bearer "+request))
		})
	}
}

// The header fields say what the limit is that applies. Five pages of one transaction may poll as the client does.
func TestBrowser_SaysHowOftenATransactionMayAsk(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	c := h.loginSystem("")
	tab := h.logsIn(c, "maria")
	ends := h.clock.Wall().Add(time.Minute)
	for n := 1; n <= login.PollsPerMinute; n++ {
		a := tab.state("pending")
		limit := a.header.Get("X-RateLimit-Limit")
		left := a.header.Get("X-RateLimit-Remaining")
		reset, err := strconv.ParseInt(a.header.Get("X-RateLimit-Reset"), 10, 64)
		h.must(err)
		if limit != "60" || left != strconv.Itoa(60-n) || time.Unix(reset, 0).Before(ends) || time.Unix(reset, 0).After(ends.Add(time.Second)) {
			t.Fatalf("poll %d: limit %s, left %s, reset %v, want %v", n, limit, left, time.Unix(reset, 0), ends)
		}
	}
	a := tab.call("transaction-state", "")
	h.refused(a, http.StatusTooManyRequests, "too_many_attempts")
	if a.header.Get("X-RateLimit-Remaining") != "0" || a.header.Get("Retry-After") == "" {
		t.Errorf("the header is %v", a.header)
	}
	h.logsIn(c, "maria").state("pending") // another transaction has a limit of its own
	h.clock.Advance(time.Minute)
	tab.state("pending")
}

func TestBrowser_IsServedAtBothMountsAndHasNoSocket(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	request := "Bearer " + h.requestToken(h.loginSystem(""), "maria")
	for _, mount := range []string{"", "/appliance-mfa"} {
		a := h.post(mount+"/api/start-flow", request, `{"state_transport":"polling"}`)
		h.accepted(a, http.StatusOK)
		h.accepted(h.post(mount+"/api/transaction-state", "Bearer "+a.body["transaction_token"].(string), ""), http.StatusOK)
		h.refused(h.call("GET", mount+"/socket.io/?EIO=4&transport=polling", ""), http.StatusNotFound, "not_found")
	}
	h.refused(h.post("/api/start-flow", request, `{"state_transport":"socket"}`), http.StatusBadRequest, "invalid_body")
}

func TestBrowser_RefusesSMS(t *testing.T) {
	h := newHouse(t)
	h.enroll("maria")
	tab := h.logsIn(h.loginSystem(""), "maria")
	h.refused(tab.call("send-sms", ""), http.StatusBadRequest, "method_not_available")
	h.refused(tab.call("device-accounts/"+tab.account("id").(string)+"/sms-enroll", `{"phone_number":"+49 30 1"}`), http.StatusBadRequest, "method_not_available")
}

// A page comes from the login system's origin: a registered one may call and read, at both mounts, and no other.
func TestBrowser_LetsRegisteredOriginsRead(t *testing.T) {
	const shop = "https://shop.example.org"
	h := newHouse(t, func(c *server.Config) { c.Origin = func(origin string) bool { return origin == shop } })
	h.enroll("maria")
	request := "Bearer " + h.requestToken(h.loginSystem(""), "maria")
	for _, mount := range []string{"", "/appliance-mfa"} {
		for _, call := range []string{"start-flow", "transaction-state", "send-push-notification", "recover-account", "send-sms"} {
			asks := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type"}
			a := h.call("OPTIONS", mount+"/api/"+call, "", append(asks, "Origin", shop)...)
			if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != shop || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "authorization") {
				t.Errorf("%s%s: preflight %d %v", mount, call, a.status, a.header)
			}
			if a := h.call("OPTIONS", mount+"/api/"+call, "", append(asks, "Origin", "https://evil.example.org")...); a.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s%s: another origin is let in: %v", mount, call, a.header)
			}
		}
		a := h.call("POST", mount+"/api/start-flow", "", "Authorization", request, "Origin", shop)
		h.accepted(a, http.StatusOK)
		a = h.call("POST", mount+"/api/transaction-state", "", "Authorization", "Bearer "+a.body["transaction_token"].(string), "Origin", shop)
		if a.header.Get("Access-Control-Allow-Origin") != shop || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "X-RateLimit-Remaining") {
			t.Errorf("%s: %v", mount, a.header)
		}
		refused := h.call("POST", mount+"/api/start-flow", "{}", "Authorization", "Bearer x", "Origin", shop, "Content-Type", "application/json")
		if refused.status != http.StatusUnauthorized || refused.header.Get("Access-Control-Allow-Origin") != shop {
			t.Errorf("%s: a refusal is %d %v", mount, refused.status, refused.header)
		}
	}
}

// otpOf is the one-time code that an app with a secret, in base32, shows when its clock is off by skew.
func (h *house) otpOf(secret any, skew time.Duration) string {
	h.t.Helper()
	text, _ := secret.(string)
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	h.must(err)
	return string(otp.Secret(raw).At(otp.StepAt(h.clock.Wall().Add(skew))))
}

// typed is the body of verify-otp.
func typed(code string) string { return `{"type":"manual_input","code":"` + code + `"}` }

func TestBrowser_EnrolsByAOneTimeCodeAloneAndIsIn(t *testing.T) {
	h := newHouse(t)
	c := h.loginSystem("")
	request := "Bearer " + h.requestToken(c, "zoe")
	tab := h.opens(request)
	if got := fmt.Sprint(tab.start.body["available_enrollment_methods"], tab.start.body["available_authentication_methods"]); got != "[push otp] [push otp recovery-code]" {
		t.Errorf("the methods are %s", got)
	}
	secret := tab.account("otp_secret")
	code := h.otpOf(secret, 0)
	h.refused(tab.call("verify-otp", typed("12345")), http.StatusForbidden, "invalid_otp")
	h.refused(tab.call("verify-otp", typed(h.otpOf(secret, time.Hour))), http.StatusForbidden, "invalid_otp")
	h.refused(tab.call("verify-otp", `{"type":"push_notification","code":"123456"}`), http.StatusBadRequest, "invalid_body")
	tab.state("pending")
	for range 2 { // the first answer may be lost
		h.accepted(tab.call("verify-otp", typed(code)), http.StatusNoContent)
	}
	a := tab.state("accepted")
	told, _ := a.body["enrollment"].(map[string]any)
	if told["id"] != tab.account("id") || fmt.Sprint(told["available_authenticator_types"]) != "[otp recovery-code]" {
		t.Errorf("after the enrolment: %s", a.raw)
	}
	if claims := tab.result(a, c); fmt.Sprint(claims["amr"]) != "[mfa otp]" {
		t.Errorf("amr is %v", claims["amr"])
	}
	// The code is spent for the next login too; the recovery code counts.
	next := h.logsIn(c, "zoe")
	h.refused(next.call("verify-otp", typed(code)), http.StatusForbidden, "invalid_otp")
	h.accepted(next.call("recover-account", h.json(map[string]any{"recovery_code": tab.account("recovery_code")})), http.StatusOK)
}

func TestBrowser_ATicketEnrolsByAOneTimeCode(t *testing.T) {
	h := newHouse(t)
	tab := h.opens(ticketField(h.ticket("maria")))
	tab.state("pending")
	code := h.otpOf(tab.account("otp_secret"), 0)
	for range 2 {
		h.accepted(tab.call("verify-otp", typed(code)), http.StatusNoContent)
	}
	if a := tab.state("accepted"); a.body["token"] != nil || a.body["enrollment"] == nil {
		t.Errorf("after the enrolment: %s", a.raw)
	}
	h.refused(tab.call("verify-otp", typed(h.otpOf(tab.account("otp_secret"), time.Minute))), http.StatusNotFound, "enrollment_transaction_not_found")
}

func TestBrowser_LogsInByTheOneTimeCodeOfAPhone(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	c := h.loginSystem("")
	tab := h.logsIn(c, "maria")
	if got := fmt.Sprint(tab.account("available_authenticator_types"), tab.account("methods")); got != "[push otp recovery-code] [push otp]" {
		t.Errorf("the types are %s", got)
	}
	number := tab.push()
	asked := h.approval(p)
	h.clock.Advance(time.Minute)
	code := h.otpOf(p.Enrollment().TOTP.Secret, 0)
	for range 2 {
		h.accepted(tab.call("verify-otp", typed(code)), http.StatusNoContent)
	}
	h.refused(tab.call("verify-otp", typed("000000")), http.StatusNotFound, "login_transaction_not_found")
	if claims := tab.result(tab.state("accepted"), c); fmt.Sprint(claims["amr"]) != "[mfa otp]" {
		t.Errorf("amr is %v", claims["amr"])
	}
	if err := p.Approve(t.Context(), asked, number); err == nil || !strings.Contains(err.Error(), "login_transaction_not_found") {
		t.Errorf("the phone answers: %v", err)
	}
	other := h.logsIn(c, "maria")
	for range 10 {
		h.refused(other.call("verify-otp", typed(h.otpOf(p.Enrollment().TOTP.Secret, time.Hour))), http.StatusForbidden, "invalid_otp")
	}
	a := other.call("verify-otp", typed(h.otpOf(p.Enrollment().TOTP.Secret, 30*time.Second)))
	h.refused(a, http.StatusTooManyRequests, "too_many_attempts")
	if a.header.Get("Retry-After") == "" {
		t.Error("there is no time to wait")
	}
}
