package main

import (
	"bufio"
	"context"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/evanw/esbuild/pkg/api"
	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/device/otp"
	"tutela/device/phone"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage/audit"
	"tutela/storage/keyring"
)

// javascript is where auth0-guardian-js runs, with the driver of testdata/browser around it.
type javascript interface {
	// call calls a function of the driver and returns its value as JSON. Safe for concurrent use.
	call(ctx context.Context, name string, args ...any) ([]byte, error)
}

// guardianModules installs npm's auth0-guardian-js, as it is, in a folder with the driver.
func guardianModules(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "browser"))); err != nil {
		t.Fatal(err)
	}
	npm := example{t: t, program: []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"}, folder: folder}
	if output, err := npm.run(); err != nil && os.Getenv("CI") == "" {
		t.Skipf("npm brings no auth0-guardian-js: %v\n%s", err, output)
	} else if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	must(t, os.WriteFile(filepath.Join(folder, "page.js"), documentedPage(t), 0o600))
	return folder
}

// documentedPage is the page of docs/login-systems.md, as a module that the driver runs for a server and with functions of its own.
func documentedPage(t *testing.T) []byte {
	t.Helper()
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "login-systems.md"))
	must(t, err)
	_, code, found := strings.Cut(string(docs), "       import guardian from \"auth0-guardian-js\";\n")
	code, _, ends := strings.Cut(code, "\n\n")
	code, isServer := replaced(code, `"https://mfa.example.com"`, "serviceUrl")
	if !found || !ends || !isServer {
		t.Fatalf("docs/login-systems.md has no such page: %s", code)
	}
	return []byte("const guardian = require(\"auth0-guardian-js\");\n" +
		"exports.run = (serviceUrl, mfaToken, { send, show, enrol }) => {\n" + code + "\n};\n")
}

// replaced replaces the one place where text has old.
func replaced(text, old, by string) (after string, once bool) {
	return strings.Replace(text, old, by, 1), strings.Count(text, old) == 1
}

// nodeProcess is the driver in Node.
type nodeProcess struct {
	in io.Writer

	mu      sync.Mutex // guards what is below, and in
	next    int
	waiting map[int]chan []byte
}

func startNode(t *testing.T, folder string) *nodeProcess {
	t.Helper()
	run := exec.CommandContext(t.Context(), node(t), filepath.Join(folder, "driver.js"))
	run.Stderr = os.Stderr
	in, err := run.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	n := &nodeProcess{in: in, waiting: map[int]chan []byte{}}
	t.Cleanup(func() {
		_ = run.Process.Kill() // its flows still poll
		_ = run.Wait()
	})
	go n.read(out)
	return n
}

// read hands each answer to the call that waits for it.
func (n *nodeProcess) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var answer struct {
			ID    int
			Value json.RawMessage
		}
		if json.Unmarshal(lines.Bytes(), &answer) != nil {
			continue
		}
		n.mu.Lock()
		waits := n.waiting[answer.ID]
		delete(n.waiting, answer.ID)
		n.mu.Unlock()
		if waits != nil {
			waits <- answer.Value
		}
	}
}

func (n *nodeProcess) call(ctx context.Context, name string, args ...any) ([]byte, error) {
	answered := make(chan []byte, 1)
	n.mu.Lock()
	n.next++
	n.waiting[n.next] = answered
	err := json.NewEncoder(n.in).Encode(map[string]any{"id": n.next, "name": name, "args": args})
	n.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case value := <-answered:
		return value, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// browserPage is the driver in a page of a real browser.
type browserPage struct{ tab context.Context }

// openPage opens a page that another origin than the server's serves, in Debian's Chromium.
func openPage(t *testing.T, origin string) *browserPage {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("there is no chromium here: apt-get install chromium")
	}
	if err != nil {
		t.Fatal("there is no chromium, which CI needs: make test installs it")
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // as root there is none
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-quic", true),
		chromedp.UserDataDir(profile),
		chromedp.WSURLReadTimeout(time.Minute))
	allocated, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	tab, leave := chromedp.NewContext(allocated)
	t.Cleanup(func() {
		leave()
		stop()
		_ = os.RemoveAll(profile) // it may still write: then the machine's own sweeping takes the rest
	})
	if _, err := chromedp.Run(tab, chromedp.Navigate(origin)); err != nil {
		t.Fatal(err)
	}
	return &browserPage{tab}
}

func (p *browserPage) call(_ context.Context, name string, args ...any) ([]byte, error) {
	encoded, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	said, err := p.eval(fmt.Sprintf(`driver[%q](...%s).then((value) => JSON.stringify(value || {}))`, name, encoded))
	return []byte(said), err
}

// eval returns the text that the promise of an expression has.
func (p *browserPage) eval(expression string) (string, error) {
	return chromedp.Run(p.tab, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
}

// bundled is the driver with all that it needs, as one script for a browser.
func bundled(t *testing.T, folder string) []byte {
	t.Helper()
	built := api.Build(api.BuildOptions{
		EntryPoints:   []string{filepath.Join(folder, "driver.js")},
		AbsWorkingDir: folder,
		Bundle:        true,
		Platform:      api.PlatformBrowser,
		Format:        api.FormatIIFE,
		Define:        map[string]string{"global": "window"},
		External:      []string{"readline"}, // of Node alone
	})
	if len(built.Errors) > 0 {
		t.Fatalf("esbuild: %+v", built.Errors)
	}
	return built.OutputFiles[0].Contents
}

// servePage serves the page of a login system, from an origin of its own.
func servePage(t *testing.T, script []byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/driver.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(script)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<!doctype html><title>Shop</title><script src="/driver.js"></script>`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// loginPage is the second step of a login system: its page, where auth0-guardian-js runs, and its server.
type loginPage struct {
	*mounted
	js     javascript
	client access.Client
	secret string
	fast   bool // the page asks more often than every 5 s
}

// flow is a transaction of the page. Its methods fail the test when a call of the driver fails.
type flow struct {
	*loginPage
	t    *testing.T
	name string
	mfa  string // the request token
}

func (p *loginPage) mfaStart(t *testing.T, userID string) string {
	t.Helper()
	r := p.form("/mfa/start", "client_id", p.client.ID, "client_secret", p.secret, "user_id", userID, "ip", "203.0.113.7")
	if r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	return r.member("mfa_token")
}

// do calls the driver about the flow.
func (f *flow) do(call string, args ...any) map[string]any {
	f.t.Helper()
	raw, err := f.js.call(f.t.Context(), call, append([]any{f.name}, args...)...)
	var value map[string]any
	if err != nil || json.Unmarshal(raw, &value) != nil {
		f.t.Fatalf("%s %s: %s %v", call, f.name, raw, err)
	}
	return value
}

// fails calls the driver, which must say that the client's error has a code.
func (f *flow) fails(code string, call string, args ...any) {
	f.t.Helper()
	if value := f.do(call, args...); value["error"] != code {
		f.t.Errorf("%s %s: %v, want %s", call, f.name, value, code)
	}
}

// starts starts a flow for a user, by a request token.
func (p *loginPage) starts(t *testing.T, userID string) (*flow, map[string]any) {
	t.Helper()
	f := &flow{
		loginPage: p,
		t:         t,
		name:      userID,
		mfa:       p.mfaStart(t, userID),
	}
	started := f.do("start", map[string]any{"serviceUrl": p.url, "requestToken": f.mfa}, p.fast)
	if started["error"] != nil {
		t.Fatalf("start %s: %v", userID, started)
	}
	return f, started
}

// hears waits for an event of the flow, and passes over those that come again while the page polls.
func (f *flow) hears(name string, want func(event map[string]any) bool) map[string]any {
	f.t.Helper()
	for {
		event := f.do("event")
		if event["name"] == name && want(event) {
			return event
		}
		if event["name"] == "timeout" {
			f.t.Fatalf("%s: it never came: %s", f.name, name)
		}
	}
}

func whatever(map[string]any) bool     { return true }
func isAccepted(e map[string]any) bool { return e["accepted"] == true }
func isRejected(e map[string]any) bool { return e["accepted"] == false }
func isError(e map[string]any) bool    { return e["error"] != nil }

// textOf returns a value that is text; "" for any other.
func textOf(value any) string {
	s, _ := value.(string)
	return s
}

// param returns a parameter of the text of a QR code.
func param(t *testing.T, uri, name string) string {
	t.Helper()
	u, err := url.Parse(uri)
	must(t, err)
	return u.Query().Get(name)
}

// isIn waits until the page has the signature of an accepted login, and takes it as the login system's server does.
func (f *flow) isIn(userID, method string) {
	f.t.Helper()
	signature := textOf(f.hears("auth-response", isAccepted)["signature"])
	parsed, err := jose.ParseSignedCompact(signature, []jose.SignatureAlgorithm{jose.ES256})
	must(f.t, err)
	var published jose.JSONWebKeySet
	must(f.t, json.Unmarshal(f.call("GET", "/.well-known/jwks.json", "").body, &published))
	payload, err := parsed.Verify(published.Key(parsed.Signatures[0].Header.KeyID)[0])
	must(f.t, err)
	var claims struct {
		Subject  string   `json:"sub"`
		Audience string   `json:"aud"`
		TxID     string   `json:"txid"`
		AMR      []string `json:"amr"`
	}
	must(f.t, json.Unmarshal(payload, &claims))
	if claims.Subject != userID || claims.Audience != f.client.ID || claims.TxID != f.txid() || strings.Join(claims.AMR, " ") != "mfa "+method {
		f.t.Errorf("%s: the claims are %+v", f.name, claims)
	}
}

// txid is the id of the login, as the login system's server reads it out of the request token.
func (f *flow) txid() string {
	f.t.Helper()
	unverified, err := jose.ParseSignedCompact(f.mfa, []jose.SignatureAlgorithm{jose.HS256})
	must(f.t, err)
	var claims struct {
		TxID string `json:"txid"`
	}
	must(f.t, json.Unmarshal(unverified.UnsafePayloadWithoutVerification(), &claims))
	return claims.TxID
}

// enrolled makes a user's phone, an app as the public SDKs make it, and returns its recovery code.
func (p *loginPage) enrolled(t *testing.T, userID string) (*phone.Phone, string) {
	t.Helper()
	app := p.newPhone(t)
	enrolled, err := app.Enroll(t.Context(), p.ticket(userID))
	must(t, err)
	return app, enrolled.RecoveryCode
}

func (p *loginPage) newPhone(t *testing.T) *phone.Phone {
	t.Helper()
	app, err := phone.New(phone.Options{BaseURL: p.url, Capabilities: []string{}})
	must(t, err)
	return app
}

// answers has the phone answer the approval that it is asked for.
func (f *flow) answers(app *phone.Phone, yes bool) {
	f.t.Helper()
	asked, err := app.Approvals(f.t.Context(), time.Minute, nil)
	must(f.t, err)
	if len(asked) != 1 || asked[0].NumberMatching {
		f.t.Fatalf("the phone is asked %+v", asked)
	}
	if yes {
		must(f.t, app.Approve(f.t.Context(), asked[0], ""))
	} else {
		must(f.t, app.Deny(f.t.Context(), asked[0], ""))
	}
}

// rightOTP is the one-time code of the next step, which counts for at least a minute.
func rightOTP(t *testing.T, secret string) map[string]string {
	t.Helper()
	return map[string]string{"otpCode": codeAt(t, secret, 1)}
}

// wrongOTP is a code of none of the steps around this one.
func wrongOTP(t *testing.T, secret string) map[string]string {
	t.Helper()
	near := map[string]bool{}
	for ahead := otp.Step(-5); ahead <= 5; ahead++ {
		near[codeAt(t, secret, ahead)] = true
	}
	ahead := otp.Step(100)
	for near[codeAt(t, secret, ahead)] {
		ahead++
	}
	return map[string]string{"otpCode": codeAt(t, secret, ahead)}
}

func codeAt(t *testing.T, secret string, ahead otp.Step) string {
	t.Helper()
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	must(t, err)
	return string(otp.Secret(raw).At(otp.StepAt(time.Now()) + ahead))
}

// clientStories are what the browser client does, each by a user of its own.
var clientStories = map[string]func(t *testing.T, p *loginPage){
	"enrols by a one-time code, and is in": func(t *testing.T, p *loginPage) {
		f, started := p.starts(t, "code")
		if started["enrolled"] != false || fmt.Sprint(started["enroll"]) != "[push otp]" {
			t.Errorf("started: %v", started)
		}
		f.fails("not_enrolled", "ask", "push")
		f.fails("enrollment_method_disabled", "enroll", "sms")
		uri := textOf(f.do("enroll", "otp")["uri"])
		f.fails("invalid_otp_format", "confirm", map[string]string{"otpCode": "12"})
		f.hears("error", isError)
		f.do("enroll", "otp")
		f.fails("invalid_otp", "confirm", wrongOTP(t, param(t, uri, "secret")))
		f.hears("error", isError)
		f.do("enroll", "otp")
		confirmed := f.do("confirm", rightOTP(t, param(t, uri, "secret")))
		done := f.hears("enrollment-complete", whatever)
		if code := textOf(done["recoveryCode"]); len(code) != 24 || code != confirmed["recoveryCode"] || done["authRequired"] != false {
			t.Errorf("confirmed: %v, then %v", confirmed, done)
		}
		f.isIn("code", "otp")
		f.fails("already_enrolled", "enroll", "otp")
	},
	"enrols by push, and logs in by push": func(t *testing.T, p *loginPage) {
		f, _ := p.starts(t, "push")
		uri := textOf(f.do("enroll", "push")["uri"])
		f.do("confirm", map[string]string{})
		app := p.newPhone(t)
		enrolled, err := app.Enroll(t.Context(), param(t, uri, "enrollment_tx_id"))
		must(t, err)
		done := f.hears("enrollment-complete", whatever)
		if done["recoveryCode"] != enrolled.RecoveryCode || done["authRequired"] != true || param(t, uri, "id") != enrolled.EnrollmentID {
			t.Errorf("enrolled: %v, then %v", enrolled, done)
		}
		f.do("ask", "push")
		f.do("verify", map[string]string{})
		f.answers(app, true)
		f.isIn("push", "swk")
	},
	"is denied, and asks again": func(t *testing.T, p *loginPage) {
		app, _ := p.enrolled(t, "denied")
		f, started := p.starts(t, "denied")
		if fmt.Sprint(started["types"]) != "[push otp recovery-code]" || started["enrolled"] != true {
			t.Errorf("started: %v", started)
		}
		f.fails("method_not_found", "ask", "carrier-pigeon")
		f.do("ask", "push")
		f.do("verify", map[string]string{})
		f.answers(app, false)
		f.hears("auth-response", isRejected)
		f.do("ask", "push")
		f.do("verify", map[string]string{})
		f.answers(app, true)
		f.isIn("denied", "swk")
	},
	"logs in by a one-time code": func(t *testing.T, p *loginPage) {
		app, _ := p.enrolled(t, "digits")
		f, _ := p.starts(t, "digits")
		f.do("ask", "otp")
		f.fails("invalid_otp", "verify", wrongOTP(t, app.Enrollment().TOTP.Secret))
		f.do("verify", rightOTP(t, app.Enrollment().TOTP.Secret))
		f.isIn("digits", "otp")
		f.fails("login_transaction_not_found", "verify", wrongOTP(t, app.Enrollment().TOTP.Secret))
	},
	"recovers": func(t *testing.T, p *loginPage) {
		app, code := p.enrolled(t, "lost")
		must(t, app.Unenroll(t.Context()))
		f, started := p.starts(t, "lost")
		if fmt.Sprint(started["types"]) != "[recovery-code]" {
			t.Errorf("started: %v", started)
		}
		f.fails("enrollment_not_found", "ask", "push")
		f.fails("invalid_recovery_code_format", "recover", "too short")
		f.fails("invalid_recovery_code", "recover", "7V3KQ9X2M4T8R6W5Y1ZJ0ABV")
		if next := textOf(f.do("recover", code)["recoveryCode"]); len(next) != 24 || next == code {
			t.Errorf("the next code is %q", next)
		}
		f.isIn("lost", "rc")
	},
	"guesses until it must wait": func(t *testing.T, p *loginPage) {
		app, _ := p.enrolled(t, "guesser")
		f, _ := p.starts(t, "guesser")
		f.do("ask", "otp")
		wrong := wrongOTP(t, app.Enrollment().TOTP.Secret)
		for range 10 {
			f.fails("invalid_otp", "verify", wrong)
		}
		f.fails("too_many_attempts", "verify", wrong)
	},
	"enrols by ticket": func(t *testing.T, p *loginPage) {
		ticket, err := p.house.admins.NewTicket(t.Context(), admin.TicketRequest{User: user.User{ID: "invited"}, Factor: "push-notification"}, audit.ByOperator(0))
		must(t, err)
		f := &flow{loginPage: p, t: t, name: "invited"}
		started := f.do("start", map[string]any{"serviceUrl": p.url + "/appliance-mfa/", "ticket": ticket}, p.fast)
		if fmt.Sprint(started["enroll"]) != "[push]" {
			t.Errorf("started: %v", started)
		}
		f.fails("enrollment_method_disabled", "enroll", "otp")
		uri := textOf(f.do("enroll", "push")["uri"])
		f.do("confirm", map[string]string{})
		_, err = p.newPhone(t).Enroll(t.Context(), param(t, uri, "enrollment_tx_id"))
		must(t, err)
		if code := textOf(f.hears("enrollment-complete", whatever)["recoveryCode"]); len(code) != 24 {
			t.Errorf("the code is %q", code)
		}
		f.fails("insufficient_scope", "ask", "push")
		again := &flow{loginPage: p, t: t, name: "invited twice"}
		again.fails("enrollment_transaction_not_found", "start", map[string]any{"serviceUrl": p.url, "ticket": ticket})
	},
	"shows tokens that are none": func(t *testing.T, p *loginPage) {
		f := &flow{loginPage: p, t: t, name: "tokens"}
		expired, err := p.house.ring.SignToken(keyring.MFAToken, map[string]any{"txid": "mfa_x", "azp": p.client.ID, "exp": time.Now().Add(-time.Second).Unix()})
		must(t, err)
		f.fails("credentials_expired", "start", map[string]any{"serviceUrl": p.url, "requestToken": expired})
		f.fails("invalid_token", "start", map[string]any{"serviceUrl": p.url, "requestToken": p.mfaStart(t, "tokens") + "x"})
		f.fails("InvalidTokenError", "start", map[string]any{"serviceUrl": p.url, "requestToken": "none"})
		f.fails("invalid_body", "start", map[string]any{"serviceUrl": p.url, "requestToken": p.mfaStart(t, "tokens"), "stateCheckingMechanism": "socket"})
	},
	"is blocked in the middle": func(t *testing.T, p *loginPage) {
		p.enrolled(t, "blocked")
		f, _ := p.starts(t, "blocked")
		must(t, p.house.admins.SetBlocked(t.Context(), "blocked", true, audit.ByOperator(0)))
		f.fails("login_transaction_not_found", "ask", "push")
		f.hears("error", func(e map[string]any) bool { return e["status"] == 404.0 })
	},
	"goes on after its page was loaded again": func(t *testing.T, p *loginPage) {
		app, _ := p.enrolled(t, "reloads")
		f, _ := p.starts(t, "reloads")
		f.do("ask", "push")
		manual := map[string]any{"transport": "manual"}
		// As it is it cannot poll: it hands its own polling client a token of the wrong type.
		f.fails("TypeError", "resume", map[string]any{})
		f.fails("invalid_token", "resume", manual, map[string]any{"transactionToken": "none"})
		f.fails("credentials_expired", "resume", manual, map[string]any{"transactionToken": f.ending(time.Now().Add(-time.Second))})
		if resumed := f.do("resume", manual); resumed["enrolled"] != true {
			t.Errorf("resumed: %v", resumed)
		}
		f.do("verify", map[string]string{})
		f.answers(app, true)
		if state := f.do("state"); state["state"] != "accepted" || textOf(state["token"]) == "" {
			t.Errorf("the state is %v", state)
		}
	},
	"enrols though its page was loaded again": func(t *testing.T, p *loginPage) {
		f, _ := p.starts(t, "reenrols")
		uri := textOf(f.do("enroll", "otp")["uri"])
		if resumed := f.do("resume", map[string]any{"transport": "manual"}); resumed["enrolled"] != false {
			t.Errorf("resumed: %v", resumed)
		}
		if code := textOf(f.do("confirm", rightOTP(t, param(t, uri, "secret")))["recoveryCode"]); len(code) != 24 {
			t.Errorf("the code is %q", code)
		}
		if state := f.do("state"); state["state"] != "accepted" || textOf(state["token"]) == "" {
			t.Errorf("the state is %v", state)
		}
	},
	"is told what it lacks": func(t *testing.T, p *loginPage) {
		p.enrolled(t, "lacks")
		f, _ := p.starts(t, "lacks")
		at := f.do("steps")
		for step := range at {
			if told, _ := at[step].(map[string]any); told["error"] != "invalid_state" {
				t.Errorf("%s: %v", step, told)
			}
		}
		f.fails("invalid_enrollment", "ask", "push", 1)
		f.fails("field_required", "recover", "")
		f.do("ask", "otp")
		f.fails("field_required", "verify", map[string]string{})
		f.fails("invalid_otp_format", "verify", map[string]string{"otpCode": "12"})
		manual := map[string]any{"transport": "manual"}
		f.fails("unexpected_input", "resume", manual, map[string]any{"authVerificationStep": map[string]string{"method": "pigeon"}})
		f.fails("invalid_state", "resume", manual, map[string]any{"enrollments": []any{}})
		f.fails("invalid_state", "resume", manual, map[string]any{"enrollmentConfirmationStep": map[string]string{"method": "otp"}})
		f.do("resume", manual, map[string]any{"availableAuthenticationMethods": []string{}})
		f.fails("no_method_available", "ask", "otp")
	},
	"finds no method to enrol by": func(t *testing.T, p *loginPage) {
		f, _ := p.starts(t, "no method")
		f.do("enroll", "otp")
		f.fails("field_required", "confirm", map[string]string{})
		f.hears("error", isError)
		manual := map[string]any{"transport": "manual"}
		f.do("resume", manual, map[string]any{"availableEnrollmentMethods": []string{}})
		f.fails("no_method_available", "enroll", "otp")
	},
	"is refused SMS": func(t *testing.T, p *loginPage) {
		p.enrolled(t, "sms")
		f, _ := p.starts(t, "sms")
		f.fails("method_not_available", "ask", "sms")
		phoneless, _ := p.starts(t, "sms alone")
		phoneless.do("resume", map[string]any{"transport": "manual"}, map[string]any{"availableEnrollmentMethods": []string{"sms"}})
		phoneless.fails("field_required", "enroll", "sms", map[string]string{"country": "DE"})
		phoneless.fails("method_not_available", "enroll", "sms", map[string]string{"phoneNumber": "+49 30 1"})
	},
	"enrols in the page that is first": func(t *testing.T, p *loginPage) {
		first, _ := p.starts(t, "two pages")
		second := &flow{loginPage: p, t: t, name: "second page"}
		second.mfa = p.mfaStart(t, "two pages")
		second.do("start", map[string]any{"serviceUrl": p.url, "requestToken": second.mfa}, p.fast)
		mine := textOf(first.do("enroll", "otp")["uri"])
		late := textOf(second.do("enroll", "otp")["uri"])
		first.do("confirm", rightOTP(t, param(t, mine, "secret")))
		first.isIn("two pages", "otp")
		// The offer of the other is gone, so its code is nobody's.
		second.fails("invalid_otp", "confirm", rightOTP(t, param(t, late, "secret")))
	},
	"is reset in the middle": func(t *testing.T, p *loginPage) {
		p.enrolled(t, "reset")
		f, _ := p.starts(t, "reset")
		if r := p.json("POST", "/api/v2/users/reset/mfa-reset", map[string]any{"reason": "lost phone"}, p.managing()...); r.status != http.StatusOK {
			t.Fatalf("%d %s", r.status, r.body)
		}
		f.fails("invalid_token", "ask", "push")
		f.hears("error", func(e map[string]any) bool { return e["status"] == 401.0 })
	},
}

// tell plays the stories side by side. Two that only wait begin before the others and end after them: so they cost no time.
func tell(t *testing.T, page loginPage) {
	t.Helper()
	page.fast = true
	slow := page.paced(t)
	late := page.nearItsEnd(t)
	for name, story := range clientStories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, &page)
		})
	}
	t.Run("at the pace of the documented page", func(t *testing.T) {
		t.Parallel()
		slow.t = t
		slow.isIn("slow", "swk")
	})
	t.Run("hears that a transaction is over", func(t *testing.T) {
		t.Parallel()
		late.t = t
		late.hears("timeout", whatever)
	})
}

// paced is the documented page, which asks every 5 s, with a login that is answered at once.
func (p *loginPage) paced(t *testing.T) *flow {
	t.Helper()
	app, _ := p.enrolled(t, "slow")
	f := &flow{
		loginPage: p,
		t:         t,
		name:      "slow",
		mfa:       p.mfaStart(t, "slow"),
	}
	f.do("documented", p.url, f.mfa)
	f.answers(app, true)
	return f
}

// nearItsEnd is a page that goes on with a transaction whose token has seconds left. On a slow machine it tries again with more.
func (p *loginPage) nearItsEnd(t *testing.T) *flow {
	t.Helper()
	p.enrolled(t, "late")
	f, _ := p.starts(t, "late")
	for left := 2 * time.Second; ; left *= 2 {
		token := f.ending(time.Now().Add(left))
		resumed := f.do("resume", map[string]any{"transport": "manual"}, map[string]any{"transactionToken": token})
		if resumed["error"] == nil {
			return f
		}
		if resumed["error"] != "credentials_expired" {
			t.Fatalf("resumed: %v", resumed)
		}
	}
}

// ending is the transaction token of the flow, as it would be if it ended at an instant.
func (f *flow) ending(at time.Time) string {
	f.t.Helper()
	token, err := f.house.ring.SignToken(keyring.FlowToken, map[string]any{"txid": f.txid(), "azp": f.client.ID, "exp": at.Unix()})
	must(f.t, err)
	return token
}

// mountPage mounts a server and registers the login system of a page.
func mountPage(t *testing.T, origin string) loginPage {
	t.Helper()
	m := mount(t)
	c, secret, err := m.house.access.AddClient(t.Context(), audit.ByOperator(0), access.Client{
		Name:       "shop",
		Scopes:     []string{"openid"},
		Presence:   device.PresenceTap,
		WebOrigins: []string{origin},
	})
	must(t, err)
	return loginPage{mounted: m, client: c, secret: secret}
}

// npm's auth0-guardian-js 1.4.1, as it is, in Node.
func TestBrowserClient_WorksAsItIsInNode(t *testing.T) {
	node(t) // or skip
	t.Parallel()
	page := mountPage(t, "http://localhost:1")
	page.js = startNode(t, guardianModules(t))
	tell(t, page)
}

// The same in a real browser, from another origin. It has no bundle of its own: esbuild makes one.
func TestBrowserClient_WorksAsItIsInChromium(t *testing.T) {
	node(t) // npm comes with it
	t.Parallel()
	script := bundled(t, guardianModules(t))
	origin := servePage(t, script)
	page := mountPage(t, origin)
	tab := openPage(t, origin)
	page.js = tab
	tell(t, page)
	t.Run("from an origin that is not registered", func(t *testing.T) {
		t.Parallel()
		stranger := openPage(t, servePage(t, script))
		call := fmt.Sprintf(`fetch(%q, {method: "POST", headers: {Authorization: "Bearer x"}}).then((r) => "" + r.status, (e) => e.name)`, page.url+"/api/start-flow")
		for who, asks := range map[*browserPage]string{tab: "401", stranger: "TypeError"} {
			if said, err := who.eval(call); err != nil || said != asks {
				t.Errorf("the page is told %q, want %q: %v", said, asks, err)
			}
		}
	})
}
