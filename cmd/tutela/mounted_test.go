package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/recovery"
	"tutela/recovery/signal"
	"tutela/recovery/webhook"
	"tutela/server"
	"tutela/server/access"
	"tutela/server/openapitest"
	"tutela/server/web/page"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/setting"
	"tutela/storage/storagetest"
)

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// mounted is the real house with everything mounted on its server, in this process, called over loopback HTTP. No
// sweeper, sender or phone works in the background, so only calls change the store.
type mounted struct {
	t       testing.TB
	house   *house
	server  *server.Server
	url     string
	caller  *http.Client
	log     *logLines
	options houseOptions
	road    *http.Client // of maria's phone; nil: its own
	tls     *devTLS      // nil: it serves plain http

	client  credentialPair    // may do everything
	other   string            // another client's id
	stream  string            // of signals: its id
	hook    string            // a webhook's id, of an address that is not called
	phone   *phone.Phone      // of maria: enrolled, and with a backup
	held    map[string]string // a secret of each kind that is good now
	waiting phone.Approval    // what maria's phone is asked, with a message to show

	newcomer string // the mfa_token of a new user, who has associated an app

	restoreID string  // of the restore that is open
	known     []route // the server's; see routes
	spent     string  // a ticket by which a phone has enrolled whose recovery code waits on the page
	shown     string  // that code
}

type credentialPair struct{ id, secret string }

// logLines is a log that a test can read while it is written.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func mount(t testing.TB) *mounted {
	t.Helper()
	return mountWith(t, func(*mounted) {})
}

// mountOn mounts the house with the engine that wrap puts around the data file.
func mountOn(t testing.TB, wrap func(storage.Engine) storage.Engine) *mounted {
	t.Helper()
	return mountWith(t, func(m *mounted) {
		watched := m.options.wrap
		m.options.wrap = func(engine storage.Engine) storage.Engine { return wrap(watched(engine)) }
	})
}

// mountWith mounts the house, with changes before it is opened.
func mountWith(t testing.TB, change func(*mounted)) *mounted {
	t.Helper()
	m := &mounted{t: t, log: new(logLines), held: map[string]string{}}
	log := slog.New(slog.NewTextHandler(m.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	m.must(err)
	m.url = "http://" + listener.Addr().String()
	data := dataIn(filepath.Join(t.TempDir(), "data"))
	m.options = houseOptions{
		dataFlags:  data,
		Begin:      true,
		PublicURLs: []string{m.url, strings.Replace(m.url, "127.0.0.1", "localhost", 1)}, // browsers have no passkeys for an address
		Issuer:     "Hafenlicht",
		Log:        log,
		wrap:       func(engine storage.Engine) storage.Engine { return storagetest.Watch(t, engine) },
	}
	change(m)
	m.house, err = openHouse(t.Context(), m.options)
	m.must(err)
	m.must(m.house.admins.CountEveryone(t.Context()))
	t.Cleanup(func() { m.must(m.house.Close()) })
	m.serve(listener)
	m.furnish()
	return m
}

// serve serves the house until the test ends.
func (m *mounted) serve(listener net.Listener) {
	t := m.t
	t.Helper()
	var err error
	config := server.Config{
		Listener:   listener,
		PublicURLs: m.options.PublicURLs,
		Origin:     m.house.allowsOrigin,
		Log:        m.options.Log,
		Meter:      m.house.meter,
	}
	transport := &http.Transport{DisableCompression: true}
	if m.tls != nil {
		config.CertFile = m.tls.certFile
		config.KeyFile = m.tls.keyFile
		transport = m.tls.transport()
	}
	m.server, err = server.New(config)
	m.must(err)
	m.house.mount(m.server, m.options.Log)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.server.Serve(ctx) }()
	m.caller = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		m.must(<-done)
	})
	openapitest.Watch(t, m.caller, func() ([]byte, error) { return json.Marshal(m.server.API().OpenAPI()) })
}

func (m *mounted) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// reply is the answer to a call.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// member returns a member of a JSON object that is text; "" when it is not there.
func (r reply) member(name string) string {
	var object map[string]any
	_ = json.Unmarshal(r.body, &object) // what is no object has none
	text, _ := object[name].(string)
	return text
}

// call makes a call; header are alternating names and values.
func (m *mounted) call(method, path, body string, header ...string) reply {
	m.t.Helper()
	r, err := m.try(method, path, strings.NewReader(body), header...)
	if err != nil {
		m.t.Fatalf("%s %.200s: %v", method, path, err)
	}
	return r
}

func (m *mounted) try(method, path string, body io.Reader, header ...string) (reply, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, m.url+path, body)
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := m.caller.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, raw}, err
}

// form calls the login API as the client, unless pairs name another.
func (m *mounted) form(path string, pairs ...string) reply {
	m.t.Helper()
	v := url.Values{"client_id": {m.client.id}, "client_secret": {m.client.secret}}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return m.call("POST", path, v.Encode(), "Content-Type", formType)
}

// json calls with a JSON body.
func (m *mounted) json(method, path string, body any, header ...string) reply {
	m.t.Helper()
	encoded, err := json.Marshal(body)
	m.must(err)
	return m.call(method, path, string(encoded), append(header, "Content-Type", jsonType)...)
}

func (m *mounted) managing() []string {
	return []string{"Authorization", "Bearer " + m.held["management_token"]}
}

// shopURL is where the client has browsers come back from hosted pages.
const shopURL = "https://shop.example/back"

// scopes are the scopes of the client: enough for every call.
var scopes = []string{
	"openid", "read:recoverability", "read:stats", "read:users", "create:users", "update:users", "delete:users", "reset:mfa", "reset:admin_mfa", "read:logs",
	"create:guardian_enrollment_tickets", "read:guardian_enrollments", "delete:guardian_enrollments",
	"read:authentication_methods", "create:authentication_methods", "update:authentication_methods", "delete:authentication_methods",
	"read:guardian_factors", "update:guardian_factors", "read:mfa_policies", "update:mfa_policies",
	"read:prompts", "update:prompts", "manage:clients", "manage:policies", "manage:webhooks", "ssf.read", "ssf.manage",
}

// furnish makes a user with a phone, a backup, a pending login and an open restore, and holds a secret of each kind.
// Whoever adds a kind adds it here.
func (m *mounted) furnish() {
	m.t.Helper()
	ctx := m.t.Context()
	client, secret, err := m.house.access.AddClient(ctx, audit.ByOperator(0), access.Client{
		Name:         "all",
		Scopes:       scopes,
		RedirectURIs: []string{shopURL},
	})
	m.must(err)
	m.client = credentialPair{client.ID, secret}
	other, _, err := m.house.access.AddClient(ctx, audit.ByOperator(0), access.Client{Name: "other", Scopes: []string{"read:users"}})
	m.must(err)
	m.other = other.ID
	url := "https://127.0.0.1/"
	events := []audit.Type{audit.Reset}
	hook, _, err := m.house.hooks.Add(ctx, audit.ByOperator(0), webhook.Change{URL: &url, Events: &events})
	m.must(err)
	m.hook = hook.ID
	stream, err := m.house.signals.Add(ctx, audit.ByClient(client.ID, scopes, storage.House), signal.Change{})
	m.must(err)
	m.stream = stream.ID
	m.held["security_event_token"], err = m.house.access.SignSET(ctx, []byte(`{"iss":"`+m.house.access.Issuer()+`","aud":"`+client.ID+`","jti":"1"}`))
	m.must(err)
	m.held["client_secret"] = secret
	m.held["management_token"] = m.ok(m.form("/oauth/token", "grant_type", access.GrantClientCredentials, "audience", m.url+"/api/v2/")).member("access_token")

	m.phone, err = phone.New(phone.Options{BaseURL: m.url, Client: m.road})
	m.must(err)
	enrolled, err := m.phone.Enroll(ctx, m.ticket("maria"))
	m.must(err)
	m.held["recovery_code"] = enrolled.RecoveryCode
	m.held["device_token"] = m.phone.Enrollment().Token
	m.held["device_jwt"], err = m.phone.DeviceJWT()
	m.must(err)
	_, err = m.phone.Backup(ctx, []phone.Account{{Issuer: "Bank", Name: "maria", Secret: "JBSWY3DPEHPK3PXP"}}, phone.BackupOptions{})
	m.must(err)
	m.held["restore_handle"] = m.phone.PlatformBackup().RestoreHandle
	m.furnishLogin()
	m.policy("restore.veto", "off") // else the restore's code counts after a minute
	m.furnishRestore()
	m.furnishPage()
	m.ticket("receipted")
	receipt, err := m.house.admins.Reset(ctx, "receipted", recovery.ResetRequest{Reason: "for its receipt"}, audit.ByOperator(0))
	m.must(err)
	m.held["receipt"] = receipt.Signature
	_, err = m.phone.Status(ctx) // the open restore notes the old phone's first call; later ones write nothing
	m.must(err)
}

// furnishLogin lets maria log in for the tokens of a login, and then asks her again.
func (m *mounted) furnishLogin() {
	m.t.Helper()
	ctx := m.t.Context()
	// With every scope that the client has: even then an access token must open no management call.
	begun := m.ok(m.form("/bc-authorize", "scope", strings.Join(scopes, " "), "login_hint", "maria"))
	asked, err := m.phone.Approvals(ctx, 0, nil)
	m.must(err)
	m.must(m.phone.Approve(ctx, asked[0], begun.member("number")))
	collected := m.ok(m.form("/oauth/token", "grant_type", access.GrantCIBA, "auth_req_id", begun.member("auth_req_id")))
	m.held["id_token"] = collected.member("id_token")
	m.held["access_token"] = collected.member("access_token")
	m.held[string(keyring.MFAToken)] = m.ok(m.form("/mfa/start", "user_id", "maria")).member("mfa_token")

	m.furnishFlow()
	m.furnishEnrolment()

	m.held["auth_req_id"] = m.ok(m.form("/bc-authorize", "scope", "openid", "login_hint", "maria", "binding_message", "Sign in")).member("auth_req_id")
	asked, err = m.phone.Approvals(ctx, 0, nil)
	m.must(err)
	m.waiting = asked[0]
	m.held[string(keyring.TransactionToken)] = asked[0].Token
	m.held["consent_proof"] = m.consentProof()
	m.held["challenge_response"] = m.signed(map[string]any{
		"iss": m.phone.Identifier(), "sub": asked[0].Challenge, "aud": m.url + "/api/resolve-transaction",
		"auth0_guardian_method": "push", "auth0_guardian_accepted": false, "exp": time.Now().Add(30 * time.Second).Unix(),
	})
}

// furnishFlow lets maria log in by a page of the browser client, and then starts another.
func (m *mounted) furnishFlow() {
	m.t.Helper()
	flow := m.startFlow(m.ok(m.form("/mfa/start", "user_id", "maria")).member("mfa_token"))
	number := m.ok(m.call("POST", "/api/send-push-notification", "", flow...)).member("number")
	asked, err := m.phone.Approvals(m.t.Context(), 0, nil)
	m.must(err)
	m.must(m.phone.Approve(m.t.Context(), asked[0], number))
	m.held["result_token"] = m.ok(m.call("POST", "/api/transaction-state", "", flow...)).member("token")
	m.held[string(keyring.FlowToken)] = strings.TrimPrefix(m.startFlow(m.held[string(keyring.MFAToken)])[1], "Bearer ")
}

// furnishEnrolment lets maria log in for an enrolment token, and lets a new user associate an app that nobody confirms.
func (m *mounted) furnishEnrolment() {
	m.t.Helper()
	token := m.ok(m.form("/mfa/start", "user_id", "maria")).member("mfa_token")
	audience := []string{"mfa_token", token, "audience", m.url + "/mfa/"}
	asked := m.ok(m.form("/mfa/challenge", append(audience, "challenge_type", "oob")...))
	list, err := m.phone.Approvals(m.t.Context(), 0, nil)
	m.must(err)
	m.must(m.phone.Approve(m.t.Context(), list[0], asked.member("number")))
	tokens := m.ok(m.form("/oauth/token", append(audience, "grant_type", access.GrantOOB, "oob_code", asked.member("oob_code"), "remember", "true")...))
	m.held["enrolment_token"] = tokens.member("access_token")
	m.held["remember_token"] = tokens.member("remember_token")

	m.newcomer = m.ok(m.form("/mfa/start", "user_id", "newcomer")).member("mfa_token")
	made := m.ok(m.json("POST", "/mfa/associate", map[string]any{"authenticator_types": []string{"oob"}}, "Authorization", "Bearer "+m.newcomer))
	m.held["oob_code"] = made.member("oob_code")
}

// startFlow starts a flow by a request token, and returns the header of its calls.
func (m *mounted) startFlow(requestToken string) []string {
	m.t.Helper()
	started := m.ok(m.call("POST", "/api/start-flow", "", "Authorization", "Bearer "+requestToken))
	return []string{"Authorization", "Bearer " + started.member("transaction_token")}
}

// consentProof signs a proof that maria's phone asks what it is asked about. Each counts once.
func (m *mounted) consentProof() string {
	m.t.Helper()
	proof, err := m.phone.ConsentProof(m.waiting)
	m.must(err)
	return proof
}

// otp is the one-time code that maria's phone shows.
func (m *mounted) otp() string {
	m.t.Helper()
	code, err := m.phone.OneTimeCode()
	m.must(err)
	return code.Code
}

// furnishRestore opens a restore of maria's backup by a new installation, and signs what else a phone signs.
func (m *mounted) furnishRestore() {
	m.t.Helper()
	answer := m.ok(m.json("POST", "/api/restores", m.installation("restore_handle", m.held["restore_handle"])))
	m.held["restore_token"] = answer.member("token")
	m.restoreID = answer.member("id")
	m.held["restore_proof"] = m.signed(map[string]any{"restore": m.restoreID})
	versions, err := m.phone.Generations(m.t.Context())
	m.must(err)
	parent := sha256.Sum256([]byte(versions[0].Manifest))
	digest := sha256.Sum256(nil)
	m.held["manifest"] = m.signed(map[string]any{
		"iss": m.phone.Enrollment().ID, "generation": 2, "parent": hex.EncodeToString(parent[:]),
		"digest": hex.EncodeToString(digest[:]), "size": 0, "items": 1, "provider": "icloud", "automatic_restore": true,
	})
}

// furnishPage starts two tickets on the page, and uses one of them.
func (m *mounted) furnishPage() {
	m.t.Helper()
	ctx := m.t.Context()
	m.held["page_session"] = storage.NewID("", 43)
	m.spent = m.ticket("ida")
	m.held["ticket"] = m.ticket("otto")
	started, err := m.house.devices.StartTicket(ctx, m.spent, "", m.held["page_session"])
	m.must(err)
	m.shown = m.ok(m.json("POST", "/api/enroll", m.installation(), "Authorization", `Ticket id="`+started.TxID+`"`)).member("recovery_code")
	started, err = m.house.devices.StartTicket(ctx, m.held["ticket"], "", m.held["page_session"])
	m.must(err)
	m.held["enrollment_tx_id"] = started.TxID
}

// pageBrowser is by what the pages know the browser of the tests, and so its forms.
var pageBrowser = strings.Repeat("b", 43)

// pageCookie is the cookies of a browser that comes by http: of a ticket's session, and by which its forms are known.
func pageCookie(ticket, session string) string {
	name := sha256.Sum256([]byte(ticket))
	return "tutela_enrollment_" + hex.EncodeToString(name[:5]) + "=" + session + "; tutela_browser=" + pageBrowser
}

// pageForm is a form that a page has made for the browser of pageCookie.
func pageForm(pairs ...string) string {
	return values(append(pairs, "form", page.TokenOf(pageBrowser))...)
}

// pageForm sends a form that a page has made for the browser of pageCookie, and goes to the page to which the answer leads.
func (m *mounted) pageForm(path, cookie string, pairs ...string) reply {
	m.t.Helper()
	r := m.call("POST", path, pageForm(pairs...), "Content-Type", formType, "Cookie", cookie)
	if r.status != http.StatusSeeOther {
		return r
	}
	for _, set := range r.header.Values("Set-Cookie") {
		kept, _, _ := strings.Cut(set, ";")
		cookie += "; " + kept
	}
	from, err := url.Parse(m.url + path)
	m.must(err)
	to, err := from.Parse(r.header.Get("Location"))
	m.must(err)
	return m.call("GET", to.RequestURI(), "", "Cookie", cookie)
}

// signed returns claims as a JWS signed with the key of maria's phone.
func (m *mounted) signed(claims map[string]any) string {
	m.t.Helper()
	claims["iat"] = time.Now().Unix()
	signed, err := m.phone.Enrollment().Key.Sign(map[string]any{"alg": "ES256", "typ": "JWT"}, claims, false)
	m.must(err)
	return signed
}

// installation returns what a new app says of itself, and the members of more.
func (m *mounted) installation(more ...any) map[string]any {
	m.t.Helper()
	key, err := phone.NewKey(phone.ES256)
	m.must(err)
	public, err := key.Public(false)
	m.must(err)
	about := map[string]any{"identifier": storage.NewID("app_", 8), "name": "Pixel 9", "public_key": public, "capabilities": []string{phone.NumberMatching}}
	for i := 0; i < len(more); i += 2 {
		about[more[i].(string)] = more[i+1]
	}
	return about
}

func (m *mounted) ticket(userID string) string {
	m.t.Helper()
	body := map[string]any{"user_id": userID, "allow_multiple_enrollments": true}
	return m.ok(m.json("POST", "/api/v2/guardian/enrollments/ticket", body, m.managing()...)).member("ticket_id")
}

func (m *mounted) ok(r reply) reply {
	m.t.Helper()
	if r.status >= 400 {
		m.t.Fatalf("%d %s", r.status, r.body)
	}
	return r
}

// contents returns all rows of the store by their keys, without events, which record refusals too.
func (m *mounted) contents() map[string]string {
	m.t.Helper()
	rows := map[string]string{}
	m.must(m.house.engine.Peek(m.t.Context(), storage.Range{}, func(key, value []byte) bool {
		for _, ofEvents := range []string{"event", "fold\x00", "fold_"} { // folds are events to come
			if bytes.Contains(key, []byte(ofEvents)) {
				return true
			}
		}
		rows[string(key)] = string(value)
		return true
	}))
	return rows
}

// changes returns the keys on which two states of the store differ, as people can read them.
func changes(before, after map[string]string) []string {
	var keys []string
	for key, value := range after {
		if was, there := before[key]; !there || was != value {
			keys = append(keys, strconv.Quote(key))
		}
	}
	for key := range before {
		if _, there := after[key]; !there {
			keys = append(keys, strconv.Quote(key)+" is gone")
		}
	}
	slices.Sort(keys)
	return keys
}

// wantRefusal checks that a call was refused in the form of its API: a 4xx, and the members of its error body.
func wantRefusal(t testing.TB, what, path string, r reply) {
	t.Helper()
	if r.status/100 != 4 {
		t.Errorf("%s: %d %.300s", what, r.status, r.body)
		return
	}
	wantErrorBody(t, what, path, r)
}

// wantErrorBody checks the body of an error. The path says which API's it is; a page has one of its own.
func wantErrorBody(t testing.TB, what, path string, r reply) {
	t.Helper()
	isPage := strings.Contains(path, "/mfa/enrollment") || strings.Contains(path, "/mfa/challenge") || strings.Contains(path, "/mfa/me") || strings.HasPrefix(path, "/admin")
	if isPage && r.header.Get("Content-Type") == "text/html; charset=utf-8" {
		if !bytes.HasPrefix(r.body, []byte("<!doctype html>")) || !bytes.HasSuffix(bytes.TrimSpace(r.body), []byte("</html>")) {
			t.Errorf("%s: %d is no page: %.300s", what, r.status, r.body)
		}
		return
	}
	var body map[string]any
	if err := json.Unmarshal(r.body, &body); err != nil || r.header.Get("Content-Type") != jsonType {
		t.Errorf("%s: %d is no JSON of an API: %s %.300s", what, r.status, r.header.Get("Content-Type"), r.body)
		return
	}
	members := []string{"error", "errorCode", "message", "statusCode"}
	path = strings.TrimPrefix(path, "/appliance-mfa")
	for _, prefix := range []string{"/oauth", "/mfa/", "/bc-authorize"} {
		if strings.HasPrefix(path, prefix) {
			members = []string{"error", "error_description"}
		}
	}
	for _, name := range members {
		if body[name] == nil || body[name] == "" {
			t.Errorf("%s: the error lacks %s: %s", what, name, r.body)
		}
	}
	if status, there := body["statusCode"]; there && status != float64(r.status) {
		t.Errorf("%s: statusCode %v in a %d", what, status, r.status)
	}
}

// policy sets a policy.
func (m *mounted) policy(name, value string) {
	m.t.Helper()
	m.must(m.house.store.Update(m.t.Context(), func(tx *storage.Tx) error { return setting.Set(tx, name, value) }))
}

// values returns a form of alternating names and values.
func values(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

// fill replaces a route's parameters with ids that exist.
func (m *mounted) fill(route string) string {
	for prefix, id := range map[string]string{
		"/api/device-accounts/:id": m.phone.Enrollment().ID, "/api/restores/:id": m.restoreID,
		"/api/v2/guardian/enrollments/:id": m.phone.Enrollment().ID, "/api/v2/logs/:id": "1", "/api/v2/clients/:id": m.other, "/api/v2/webhooks/:id": m.hook, "/api/v2/ssf/streams/:id": m.stream,
		"/mfa/authenticators/:id": "push%7C" + m.phone.Enrollment().ID,
	} {
		if rest, found := strings.CutPrefix(route, prefix); found {
			route = strings.TrimSuffix(prefix, ":id") + id + rest
		}
	}
	route = strings.NewReplacer(":mid", url.PathEscape("push|"+m.phone.Enrollment().ID), ":provider", "google-authenticator", ":cid", "chk_none", ":did", "dlv_none").Replace(route)
	if strings.Contains(route, ":bid") {
		route = strings.ReplaceAll(route, ":bid", m.backupID())
	}
	return strings.NewReplacer(":id", "maria", ":n", "1").Replace(route)
}

// backupID is the id of maria's first backup, as admins see it.
func (m *mounted) backupID() (id string) {
	m.t.Helper()
	list, err := m.house.admins.Backups(m.t.Context(), "maria")
	m.must(err)
	if len(list) > 0 {
		id = list[0].ID
	}
	return id
}

// bodyOf returns a body with which a call to a route is right.
func (m *mounted) bodyOf(method, route string) (body, contentType string) {
	m.t.Helper()
	object := map[string]any{}
	switch method + " " + route {
	case "POST /api/resolve-transaction":
		object["challenge_response"] = m.held["challenge_response"]
	case "POST /api/restores/:id/recovery-code", "POST /api/device-accounts/:id/recovery-code/check", "POST /api/recover-account":
		object["recovery_code"] = m.held["recovery_code"]
	case "POST /mfa/associate":
		object["authenticator_types"] = []string{"oob"}
	case "POST /api/enroll":
		object = m.installation()
	case "POST /api/restores":
		object = m.installation("restore_handle", m.held["restore_handle"])
	case "PATCH /api/device-accounts/:id":
		object["name"] = "Pixel 10"
	case "POST /api/v2/users":
		object["user_id"] = "new"
		object["email"] = "new@example.com"
	case "PUT /api/v2/users/:id/authentication-methods":
		return "[]", jsonType
	case "POST /api/v2/users/:id/authentication-methods":
		object["type"] = "totp"
		object["totp_secret"] = "JBSWY3DPEHPK3PXP"
	case "POST /api/v2/users/:id/caller-check":
		object["note"] = "new phone"
	case "PATCH /api/v2/users/:id", "PATCH /api/v2/users/:id/authentication-methods/:mid":
		object["name"] = "Maria"
	case "POST /api/v2/users/:id/mfa-reset":
		object["reason"] = "lost phone"
		object["dry_run"] = true
	case "POST /api/v2/users/mfa-reset":
		object["reason"] = "lost phones"
		object["user_ids"] = []string{"maria"}
	case "PUT /api/v2/guardian/factors/push-notification/selected-provider":
		object["provider"] = "direct"
	case "PUT /api/v2/guardian/factors/webauthn-roaming/settings", "PUT /api/v2/guardian/factors/webauthn-platform/settings":
		object["overrideRelyingParty"] = false
	case "PUT /api/v2/guardian/settings":
		object["remember_me_default_value"] = true
	case "PATCH /api/v2/prompts/mfa-push":
		object["app_name"] = "Hafenlicht"
	case "POST /api/v2/clients":
		object["name"] = "another"
		object["scopes"] = []string{"read:users"}
	case "POST /api/v2/webhooks":
		object["url"] = "https://127.0.0.1/another"
		object["events"] = []string{"td_reset"}
	case "PATCH /api/v2/webhooks/:id":
		object["enabled"] = false
	case "PATCH /api/v2/ssf/streams", "PUT /api/v2/ssf/streams", "POST /api/v2/ssf/verification":
		object["stream_id"] = m.stream
	case "POST /api/v2/ssf/status":
		object["stream_id"] = m.stream
		object["status"] = "enabled"
	case "POST /api/v2/ssf/subjects/add", "POST /api/v2/ssf/subjects/remove":
		object["stream_id"] = m.stream
		object["subject"] = map[string]any{"format": "opaque", "id": "maria"}
	case "POST /api/v2/ssf/streams/:id/poll":
		object["returnImmediately"] = true
	case "PATCH /api/v2/clients/:id":
		object["name"] = "renamed"
	case "PUT /api/v2/guardian/policies":
		return `["all-applications"]`, jsonType
	case "PUT /api/v2/guardian/factors/:name":
		object["enabled"] = true
	case "POST /api/v2/guardian/enrollments/ticket":
		object["user_id"] = "maria"
	}
	switch {
	case method == http.MethodGet || method == http.MethodDelete:
		return "", jsonType
	case strings.HasPrefix(route, "/mfa/enrollment/"), strings.HasPrefix(route, "/mfa/challenge/"), strings.HasPrefix(route, "/mfa/me/"), strings.HasPrefix(route, "/admin"):
		return "", formType
	}
	encoded, err := json.Marshal(object)
	m.must(err)
	return string(encoded), jsonType
}
