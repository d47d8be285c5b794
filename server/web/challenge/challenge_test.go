package challenge

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tutela/backup"
	"tutela/device/phone"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/server/appapi"
	"tutela/server/loginapi"
	"tutela/server/servertest"
	"tutela/server/web/enrollment"
	"tutela/server/web/webtest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the pages, with the APIs that phones and login systems call, over a real store.
type house struct {
	*servertest.House
	t      testing.TB
	client access.Client // a login system
	secret string
	back   string // where it has browsers come back to
}

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

func newHouse(t testing.TB, public ...string) *house {
	t.Helper()
	h := &house{t: t, back: shop(t) + "/back?from=mfa"}
	h.House = servertest.Open(t, servertest.Options{
		Public: public,
		Ground: ground.Options{Chaos: true, Clock: storage.NewFakeClock(time.Now())},
		Mount: func(h *servertest.House) {
			appapi.Mount(h.Server, appapi.Services{
				Devices:  h.Devices,
				Logins:   h.Logins,
				Backups:  h.Backups,
				Restores: h.Restores,
				Access:   h.Access,
				Epoch:    h.Store.Epoch,
			})
			loginapi.Mount(h.Server, h.Store, h.Access, h.Logins)
			kit := webtest.Kit(h)
			Mount(kit, Services{Logins: h.Logins, Issuer: h.Access.Issuer()})
			enrollment.Mount(kit, enrollment.Services{Devices: h.Devices, Passkeys: h.Passkeys, Now: h.Store.Now})
		},
	})
	var err error
	h.client, h.secret, err = h.Access.AddClient(t.Context(), audit.ByOperator(0), access.Client{
		Name:         "Hafenlicht Bank",
		Scopes:       []string{"openid"},
		RedirectURIs: []string{h.back},
	})
	check.Must(t, err)
	return h
}

// shop is a login system to which browsers come back. It returns its origin.
func shop(t testing.TB) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check.Must(t, err)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<title>Bank</title><h1>Welcome back</h1>")
	})}
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(func() { _ = s.Close() })
	return "http://" + listener.Addr().String()
}

// call makes a call of the login system.
func (h *house) call(path string, pairs ...string) map[string]any {
	h.t.Helper()
	form := url.Values{"client_id": {h.client.ID}, "client_secret": {h.secret}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	request, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.URL+path, strings.NewReader(form.Encode()))
	check.Must(h.t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := h.Client.Do(request)
	check.Must(h.t, err)
	defer func() { _ = response.Body.Close() }()
	var body map[string]any
	check.Must(h.t, json.NewDecoder(response.Body).Decode(&body))
	return body
}

// link asks for the page of a user, and returns its address.
func (h *house) link(userID string, more ...string) string {
	h.t.Helper()
	sum := sha256.Sum256([]byte(verifier))
	body := h.call("/mfa/requests", append([]string{
		"user_id", userID, "redirect_uri", h.back, "state", "a state&more",
		"code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]),
	}, more...)...)
	link, _ := body["url"].(string)
	if link == "" {
		h.t.Fatalf("%v", body)
	}
	return link
}

// phone makes a phone of a user, and returns it with her recovery code.
func (h *house) phone(userID string) (*phone.Phone, string) {
	h.t.Helper()
	return h.enroll(h.Ticket(user.User{ID: userID}), "Pixel 9")
}

func (h *house) enroll(ticket, name string) (*phone.Phone, string) {
	h.t.Helper()
	p, err := phone.New(phone.Options{
		BaseURL: h.URL,
		Name:    name,
		Now:     h.Clock.Wall,
		Client:  h.Client,
	})
	check.Must(h.t, err)
	enrolled, err := p.Enroll(h.t.Context(), ticket)
	check.Must(h.t, err)
	return p, enrolled.RecoveryCode
}

// asked is the one approval that a phone is asked.
func (h *house) asked(p *phone.Phone) phone.Approval {
	h.t.Helper()
	list, err := p.Approvals(context.Background(), 0, nil)
	check.Must(h.t, err)
	if len(list) != 1 {
		h.t.Fatalf("the phone is asked %d approvals", len(list))
	}
	return list[0]
}

// arrived checks what a browser brings back, and returns the answer to the code.
func (h *house) arrived(c *webtest.Tab) map[string]any {
	h.t.Helper()
	c.Sees("Welcome back")
	got, err := url.Parse(c.Text(`location.href`))
	check.Must(h.t, err)
	told := got.Query()
	if told.Get("from") != "mfa" || told.Get("state") != "a state&more" || told.Get("iss") != h.Access.Issuer() || told.Get("code") == "" || told.Has("error") {
		h.t.Fatalf("the browser brings %v", told)
	}
	return h.call("/oauth/token", "grant_type", "authorization_code", "code", told.Get("code"), "redirect_uri", h.back, "code_verifier", verifier)
}

// amr is how the person of an ID token has proven herself.
func (h *house) amr(tokens map[string]any) string {
	h.t.Helper()
	token, _ := tokens["id_token"].(string)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		h.t.Fatalf("%v", tokens)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	check.Must(h.t, err)
	var claims struct {
		AMR []string `json:"amr"`
	}
	check.Must(h.t, json.Unmarshal(payload, &claims))
	return strings.Join(claims.AMR, " ")
}

// number is the number that a page shows.
func number(c *webtest.Tab) string {
	c.Until(`!!document.querySelector(".number")`)
	return c.Text(`document.querySelector(".number").textContent.trim()`)
}

// refused checks that a browser comes back without a code.
func refused(t *testing.T, c *webtest.Tab) {
	t.Helper()
	c.Sees("Welcome back")
	got, err := url.Parse(c.Text(`location.href`))
	check.Must(t, err)
	if told := got.Query(); told.Get("error") != "access_denied" || told.Has("code") || told.Get("state") != "a state&more" {
		t.Errorf("the browser brings %v", told)
	}
}

func TestChallenge_GoesBackByItselfWhenThePhoneApproves(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := webtest.Open(t)
	p, _ := h.phone("maria")
	link := h.link("maria")
	// A mail scanner that keeps no cookies opens the link first.
	response, err := h.Client.Get(link)
	check.Must(t, err)
	_ = response.Body.Close()
	c.Go(link)
	c.Sees("Is it you? Answer on your phone")
	c.Says("Hafenlicht Bank")
	shown := number(c)
	c.Reload()
	c.Sees("Is it you? Answer on your phone")
	if again := number(c); again != shown || len(again) != 6 {
		t.Errorf("%q, and after a reload %q", shown, again)
	}
	second := c.Private()
	second.Go(link)
	second.Sees("This sign-in belongs to another browser")
	c.PressNamed("Send a new number")
	c.Until(fmt.Sprintf(`document.readyState === "complete" && !!document.querySelector(".number") && document.querySelector(".number").textContent.trim() !== %q`, shown))
	c.Steady("Is it you? Answer on your phone")
	check.Must(t, p.Approve(t.Context(), h.asked(p), number(c)))
	if got := h.amr(h.arrived(c)); got != "mfa swk" {
		t.Errorf("amr %s", got)
	}
	c.Back()
	c.Sees("That is done")
}

func TestChallenge_WithoutScriptToo(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := webtest.Open(t)
	c.WithoutScript()
	p, _ := h.phone("maria")
	c.Go(h.link("maria"))
	c.Sees("Is it you? Answer on your phone")
	check.Must(t, p.Approve(t.Context(), h.asked(p), number(c)))
	if got := h.amr(h.arrived(c)); got != "mfa swk" {
		t.Errorf("amr %s", got)
	}
}

func TestChallenge_SaysThatThePhoneDeniedAndGoesBack(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := webtest.Open(t)
	p, _ := h.phone("maria")
	c.Go(h.link("maria"))
	c.Sees("Is it you? Answer on your phone")
	check.Must(t, p.Deny(t.Context(), h.asked(p), ""))
	c.Sees("Your phone said no")
	c.Steady("Your phone said no")
	c.PressNamed("Send a new number")
	c.Sees("Is it you? Answer on your phone")
	h.Clock.Advance(2 * time.Minute)
	c.Reload()
	c.Sees("No answer from your phone")
	c.PressNamed("Back to Hafenlicht Bank")
	refused(t, c)
}

func TestChallenge_CancelGoesBack(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := webtest.Open(t)
	h.phone("maria")
	c.Go(h.link("maria"))
	c.PressNamed("Cancel")
	refused(t, c)
}

func TestChallenge_RecoveryCodeThenANewPhone(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := webtest.Open(t)
	old, code := h.phone("maria")
	_, err := old.Backup(t.Context(), []phone.Account{{Issuer: "Bank", Name: "maria", Secret: "JBSWY3DPEHPK3PXP"}}, phone.BackupOptions{})
	check.Must(t, err)
	c.Go(h.link("maria"))
	c.PressNamed("I have lost everything")
	c.Sees("When you have lost everything")
	c.Steady("When you have lost everything")
	c.PressNamed("Back to the other ways")
	c.PressNamed("Use a recovery code")
	c.Sees("Use your recovery code")
	c.Type("#code", "ABC")
	c.PressNamed("Continue")
	c.Says("There is a typing mistake somewhere in it.")
	c.Steady("Use your recovery code") // and says no more of what was typed
	if wrong := c.Eval(`!!document.querySelector("#wrong")`); wrong != false {
		t.Error("what was wrong is said again")
	}
	c.Type("#code", code)
	c.PressNamed("Continue")
	c.Sees("Save your new recovery code")
	next := c.Text(`document.querySelector("#code").textContent.replace(/\s/g, "")`)
	if len(next) != 24 || next == code {
		t.Fatalf("the next code is %q", next)
	}
	c.Steady("Save your new recovery code")
	c.Type("#end", "ZZZZ")
	c.PressNamed("I have saved it")
	c.Until(`!!document.querySelector("#wrong")`)
	c.Steady("Save your new recovery code")
	c.Type("#end", next[20:])
	c.PressNamed("I have saved it")
	c.Sees("Do you have a new phone?")
	c.Steady("Do you have a new phone?")
	for range 4 { // past the page with the code, and the one where the old one was typed
		c.Back()
		c.Sees("Do you have a new phone?")
		if strings.Contains(c.Text(`document.documentElement.textContent.replace(/\s/g, "")`), next) {
			t.Fatal("Back shows the code")
		}
	}
	c.PressNamed("Set up a new phone")
	c.Steady("Connect your phone")
	c.PressNamed("Start")
	c.Steady("Scan the code with the app")
	h.enroll(c.Text(`document.querySelector(".on-phone a").href`), "Galaxy S26")
	c.PressNamed("Go on with signing in")
	if got := h.amr(h.arrived(c)); got != "mfa rc" {
		t.Errorf("amr %s", got)
	}
	if _, err := old.Approvals(t.Context(), 0, nil); err == nil {
		t.Error("the old phone is asked still")
	}
	h.View(func(tx *storage.Tx) error {
		maria, err := user.Find(tx, "maria")
		if err != nil {
			return err
		}
		kept, err := backup.List(tx, maria.UID)
		if len(kept) != 1 || kept[0].Device != "Galaxy S26" || kept[0].Items != 1 {
			t.Errorf("her backups: %+v", kept)
		}
		return err
	})
}

func TestChallenge_NewUserIsLedThroughEnrolmentAndBack(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := webtest.Open(t)
	c.Go(h.link("otto"))
	c.PressNamed("Start")
	c.Sees("Scan the code with the app")
	_, code := h.enroll(c.Text(`document.querySelector(".on-phone a").href`), "Galaxy S26")
	c.PressNamed("Show my recovery code")
	c.Type("#end", code[20:])
	c.PressNamed("I have saved it")
	if got := h.amr(h.arrived(c)); got != "mfa swk" {
		t.Errorf("amr %s", got)
	}
}

func TestChallenge_OneTimeCodeAndARememberedBrowser(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := webtest.Open(t)
	p, _ := h.phone("maria")
	c.Speaks("de")
	c.Go(h.link("maria"))
	c.Sees("Sind Sie es? Antworten Sie auf dem Telefon")
	c.PressNamed("Einmalcode verwenden")
	c.Sees("Einmalcode verwenden")
	c.Type("#otp", "12")
	c.PressNamed("Weiter")
	c.Says("Da ist ein Tippfehler:")
	c.Steady("Einmalcode verwenden")
	shown, err := p.OneTimeCode()
	check.Must(t, err)
	c.Type("#otp", shown.Code)
	c.Eval(`document.querySelector("[name=remember]").checked = true`)
	c.PressNamed("Weiter")
	if got := h.amr(h.arrived(c)); got != "mfa otp" {
		t.Errorf("amr %s", got)
	}
	c.Go(h.link("maria"))
	if got := h.amr(h.arrived(c)); got != "mfa otp" {
		t.Errorf("a remembered browser: amr %s", got)
	}
	if list, err := p.Approvals(t.Context(), 0, nil); err != nil || len(list) != 0 {
		t.Errorf("the phone is asked %d approvals, %v", len(list), err)
	}
}
