package web

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/phone"
	"tutela/recovery/user"
	"tutela/server"
	"tutela/server/appapi"
	"tutela/server/servertest"
	"tutela/storage"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the pages, with the API that phones call, over a real store.
type house struct {
	*servertest.House
	t       testing.TB
	clock   *storage.FakeClock
	store   *storage.Store
	devices *device.Service
	srv     *server.Server
	url     string
}

func newHouse(t testing.TB, change ...func(*servertest.Options)) *house {
	t.Helper()
	o := servertest.Options{
		Ground: ground.Options{Chaos: true, Clock: storage.NewFakeClock(time.Now())},
		Mount: func(h *servertest.House) {
			appapi.Mount(h.Server, appapi.Services{Devices: h.Devices, Epoch: h.Store.Epoch})
			Mount(h.Server, Services{Devices: h.Devices, Now: h.Store.Now})
		},
	}
	for _, c := range change {
		c(&o)
	}
	h := &house{House: servertest.Open(t, o), t: t}
	h.clock = h.Clock
	h.store = h.Store
	h.devices = h.Devices
	h.srv = h.Server
	h.url = h.URL
	return h
}

// limits changes what a server bounds.
func limits(change func(*server.Limits)) func(*servertest.Options) {
	return func(o *servertest.Options) {
		o.Config = func(c *server.Config) { change(&c.Limits) }
	}
}

// phones changes how phones see the house.
func phones(change func(*device.Options)) func(*servertest.Options) {
	return func(o *servertest.Options) { o.Device = change }
}

func (h *house) must(err error) {
	h.t.Helper()
	check.Must(h.t, err)
}

func (h *house) ticket(u user.User) string { return h.Ticket(u) }

// enroll enrols a phone by the text of a QR code, and returns the recovery code that it got.
func (h *house) enroll(uri string) string {
	h.t.Helper()
	return h.enrollAs("Galaxy S26", uri)
}

func (h *house) enrollAs(name, uri string) string {
	h.t.Helper()
	_, code := h.enrollWith(phone.Options{Name: name}, uri)
	return code
}

// enrollWith enrols an app, and returns it with the recovery code that it got.
func (h *house) enrollWith(o phone.Options, uri string) (*phone.Phone, string) {
	h.t.Helper()
	o.BaseURL = h.url
	o.Now = h.clock.Wall
	o.Client = h.Client
	p, err := phone.New(o)
	h.must(err)
	enrolled, err := p.Enroll(h.t.Context(), uri)
	h.must(err)
	return p, enrolled.RecoveryCode
}

// sdk is an app as the public SDKs make it: it drops the recovery code of an answer.
var sdk = phone.Options{Name: "Galaxy S26", Capabilities: []string{}}

// browser is a browser with its cookies.
type browser struct {
	*house
	client *http.Client
	base   string   // public URL by which it comes
	header []string // of every call
}

func (h *house) browser(header ...string) *browser {
	h.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the proxies of tests have their own certificates
	h.t.Cleanup(transport.CloseIdleConnections)
	b := &browser{
		house:  h,
		client: &http.Client{Jar: newStrictJar(h.t), Transport: transport},
		base:   h.url,
		header: header,
	}
	b.keep(probeCookie, "1") // as of a browser that has opened a link before
	return b
}

// keep puts a cookie into the browser.
func (b *browser) keep(name, value string) {
	b.t.Helper()
	u, err := url.Parse(b.url)
	b.must(err)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

// strictJar is a jar that keeps cookies with a prefix in their name as browsers do: only when they are what it promises.
type strictJar struct {
	*cookiejar.Jar
	t testing.TB
}

func newStrictJar(t testing.TB) *strictJar {
	t.Helper()
	jar, err := cookiejar.New(nil)
	check.Must(t, err)
	return &strictJar{jar, t}
}

// SetCookies keeps those cookies that a browser would keep.
func (j *strictJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		secure := c.Secure && u.Scheme == "https"
		wrong := strings.HasPrefix(c.Name, "__Secure-") && !secure ||
			strings.HasPrefix(c.Name, "__Host-") && (!secure || c.Path != "/" || c.Domain != "")
		if wrong || c.Secure && !secure {
			j.t.Errorf("a browser at %s would not keep %v", u, c)
			continue
		}
		j.Jar.SetCookies(u, []*http.Cookie{c})
	}
}

// page is what a browser got.
type page struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(method, path, form string) page {
	b.t.Helper()
	req, err := http.NewRequest(method, b.base+path, strings.NewReader(form))
	b.must(err)
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(b.header); i += 2 {
		req.Header.Set(b.header[i], b.header[i+1])
	}
	resp, err := b.client.Do(req)
	b.must(err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	b.must(err)
	return page{resp.StatusCode, resp.Header, string(body)}
}

func (b *browser) open(ticket string) page {
	b.t.Helper()
	return b.do("GET", "/mfa/enrollment?ticket="+url.QueryEscape(ticket), "")
}

func (b *browser) start(ticket string) page {
	b.t.Helper()
	return b.do("POST", "/mfa/enrollment/start", "ticket="+url.QueryEscape(ticket))
}

// scan is the page with the QR code; more may ask for it to be held.
func (b *browser) scan(ticket, more string) page {
	b.t.Helper()
	return b.do("GET", "/mfa/enrollment/scan?ticket="+url.QueryEscape(ticket)+more, "")
}

func (b *browser) code(ticket string) page {
	b.t.Helper()
	return b.do("GET", "/mfa/enrollment/code?ticket="+url.QueryEscape(ticket), "")
}

// confirm types the end of a code.
func (b *browser) confirm(ticket, end string) page {
	b.t.Helper()
	return b.do("POST", "/mfa/enrollment/code", url.Values{"ticket": {ticket}, "end": {end}}.Encode())
}

var (
	uriIn  = regexp.MustCompile(`href="(otpauth://[^"]*)"`)
	codeIn = regexp.MustCompile(`(?s)<p class="code" id="code">(.*?)</p>`)
	tags   = regexp.MustCompile(`<[^>]*>|\s`)
)

// uri is the text of the QR code on a page.
func (p page) uri() string {
	found := uriIn.FindStringSubmatch(p.body)
	if found == nil {
		return ""
	}
	return strings.ReplaceAll(found[1], "&amp;", "&")
}

// recoveryCode is the recovery code on a page.
func (p page) recoveryCode() string {
	found := codeIn.FindStringSubmatch(p.body)
	if found == nil {
		return ""
	}
	return tags.ReplaceAllString(found[1], "")
}

// shows fails the test unless p has the status and says text, under the policy that every page has.
func (b *browser) shows(p page, status int, text string) {
	b.t.Helper()
	if p.status != status || !strings.Contains(p.body, text) {
		b.t.Fatalf("got %d %s\nwant %d and %q", p.status, p.body, status, text)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"X-Frame-Options": "DENY", "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff",
	} {
		if got := p.header.Get(name); got != want {
			b.t.Errorf("%s is %q", name, got)
		}
	}
	scripts := strings.Count(p.body, "<script") - strings.Count(p.body, `page.js?v=`+versions["page.js"]+`" defer></script>`)
	if scripts != 0 || strings.Contains(p.body, "style=") || strings.Contains(p.body, "<iframe") {
		b.t.Errorf("the policy does not allow what is in %s", p.body)
	}
}

func TestEnrollment_LeadsFromTheLinkToTheCode(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "u1", Email: "b.claasen@werft.example"})
	b.shows(b.open(ticket), 200, "<b>b.claasen@werft.example</b>")
	scan := b.start(ticket)
	b.shows(scan, 200, "<svg viewBox=")
	b.shows(b.scan(ticket, ""), 200, "Waiting for your phone")
	code := h.enroll(scan.uri())
	b.shows(b.scan(ticket, "&wait=1"), 200, `<p class="lead">Galaxy S26</p>`)
	b.shows(b.open(ticket), 200, "Show my recovery code")
	shown := b.code(ticket)
	b.shows(shown, 200, "Save your recovery code")
	if got := shown.recoveryCode(); got != code || len(code) != 24 {
		t.Errorf("the page shows %q, the phone got %q", got, code)
	}
	b.shows(b.confirm(ticket, code[20:]), 200, "It cannot be shown again here.")
	b.shows(b.open(ticket), 200, "It cannot be shown again here.")
}

func TestEnrollment_OpeningChangesNothing(t *testing.T) {
	h := newHouse(t)
	ticket := h.ticket(user.User{ID: "maria"})
	before := h.Dump()
	for range 3 {
		b := h.browser()
		p := b.open(ticket)
		b.shows(p, 200, "Start")
		if cookie := p.header.Get("Set-Cookie"); !strings.HasPrefix(cookie, probeCookie+"=1;") {
			t.Errorf("opening sets %q, which is more than the probe", cookie)
		}
	}
	if !slices.Equal(before, h.Dump()) {
		t.Error("opening has changed the store")
	}
}

func TestEnrollment_ShowsTheCodeUntilItIsConfirmedAndToNoOtherBrowser(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	other := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	other.shows(other.start(ticket), 200, "Scan the code")
	code := h.enroll(b.start(ticket).uri())
	none := h.browser()
	for range 3 {
		if got := b.code(ticket).recoveryCode(); got != code {
			t.Errorf("got %q, want %q", got, code)
		}
		for _, stranger := range []*browser{other, none} {
			stranger.shows(stranger.code(ticket), 404, "works no longer")
			stranger.shows(stranger.open(ticket), 404, "works no longer")
			stranger.shows(stranger.confirm(ticket, code[20:]), 404, "works no longer")
		}
		b.shows(b.open(ticket), 200, "Show my recovery code")
	}
	for _, wrong := range []string{"", " ", "ZZZZ", code[:4], code[21:], code + "0", strings.Repeat("0", 5000)} {
		p := b.confirm(ticket, wrong)
		b.shows(p, 400, "Those are not its last four characters.")
		if p.recoveryCode() != code || wrong != "" && wrong != " " && strings.Contains(p.body, wrong+`"`) {
			t.Errorf("after %q: %s", wrong, p.body)
		}
	}
	typed := strings.ToLower(code[20:22] + " " + code[22:])
	for range 2 { // the answer to the first may be lost
		done := b.confirm(ticket, typed)
		b.shows(done, 200, "It cannot be shown again here.")
	}
	again := b.code(ticket)
	b.shows(again, 200, "It cannot be shown again here.")
	if strings.Contains(tags.ReplaceAllString(again.body, ""), code) {
		t.Error("the code is shown after it was confirmed")
	}
}

func TestEnrollment_TheCodeWaitsTenMinutes(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	h.enroll(b.start(ticket).uri())
	h.clock.Advance(10*time.Minute + time.Second)
	b.shows(b.code(ticket), 200, "You have no recovery code yet.")
}

func TestEnrollment_ThePageIsHeldUntilThePhoneHasEnrolled(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	uri := b.start(ticket).uri()
	got := make(chan page, 1)
	go func() { got <- b.scan(ticket, "&wait=1") }()
	h.UntilHeld(1)
	h.enroll(uri)
	p := <-got
	b.shows(p, 200, "Show my recovery code")
	for _, left := range []string{"http-equiv", "data-again", "<path fill=\"#000\"", "otpauth:"} {
		if strings.Contains(p.body, left) {
			t.Errorf("of the page with the QR code %q is left", left)
		}
	}
}

func TestEnrollment_ThePageDrawsTheSameCodeAgain(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	first := b.start(ticket)
	again := b.scan(ticket, "")
	if first.uri() == "" || first.uri() != again.uri() {
		t.Errorf("drawn is %q, then %q", first.uri(), again.uri())
	}
	other := h.browser()
	other.start(ticket)
	if seen := other.scan(ticket, "").uri(); seen == "" || seen == first.uri() {
		t.Errorf("another browser is shown %q", seen)
	}
	b.shows(b.scan(ticket, ""), 200, `<noscript><meta http-equiv="refresh" content="1; url=../enrollment/scan?ticket=`+ticket+`&amp;wait=1"></noscript>`)
	h.enroll(again.uri())
}

func TestEnrollment_TheTypedKeyHasBlanksAndEnrolsWithThem(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	b.start(ticket)
	typed := b.scan(ticket, "&typed=1")
	b.shows(typed, 200, `&amp;wait=1&amp;typed=1"></noscript>`)
	found := regexp.MustCompile(`(?s)<p class="secret">(.*?)</p>`).FindStringSubmatch(typed.body)
	if found == nil {
		t.Fatal(typed.body)
	}
	key := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(found[1], "")
	if !regexp.MustCompile(`^(\w{4} ){8}$`).MatchString(key) {
		t.Errorf("the key is shown as %q", key)
	}
	h.enroll(key)
	b.shows(b.open(ticket), 200, "Show my recovery code")
}

func TestEnrollment_ThePageIsLetGoAtShutdown(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	b.start(ticket)
	got := make(chan page, 1)
	go func() { got <- b.scan(ticket, "&wait=1") }()
	h.UntilHeld(1)
	h.Stop()
	b.shows(<-got, 200, `data-again="5"`)
}

func TestEnrollment_ThePagePastTheCapAsksLater(t *testing.T) {
	h := newHouse(t, limits(func(l *server.Limits) { l.Waits = 1 }))
	ticket := h.ticket(user.User{ID: "maria"})
	b := h.browser()
	other := h.browser()
	uri := b.start(ticket).uri()
	other.start(ticket)
	got := make(chan page, 1)
	go func() { got <- b.scan(ticket, "&wait=1") }()
	h.UntilHeld(1)
	other.shows(other.scan(ticket, "&wait=1"), 200, `content="5; url=`)
	h.enroll(uri)
	<-got
}

func TestEnrollment_ThePageSaysWhenTheCodeIsTooOld(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	first := b.start(ticket).uri()
	h.clock.Advance(10 * time.Minute)
	old := b.scan(ticket, "&wait=1")
	b.shows(old, 200, "The code is ten minutes old")
	if old.uri() != "" {
		t.Error("a code that works no longer is drawn")
	}
	b.shows(b.open(ticket), 200, "Show a new code")
	second := b.start(ticket).uri()
	if first == second {
		t.Error("the new code is the old one")
	}
	h.enroll(second)
	b.shows(b.scan(ticket, ""), 200, "Show my recovery code")
}

func TestEnrollment_NamesOfAnyLengthFit(t *testing.T) {
	for _, letter := range []string{"x", "ü", "漢", "😀", " ", ":"} {
		h := newHouse(t, phones(func(o *device.Options) { o.Issuer = strings.Repeat(letter, 100) + "y" }))
		b := h.browser()
		ticket := h.ticket(user.User{ID: "maria", Name: strings.TrimSpace(strings.Repeat(letter, 299/len(letter)) + "z")})
		b.shows(b.open(ticket), 200, "Start")
		scan := b.start(ticket)
		b.shows(scan, 200, "<svg viewBox=")
		size := regexp.MustCompile(`<svg viewBox="0 0 (\d+) \d+" role="img"`).FindStringSubmatch(scan.body)
		if modules, err := strconv.Atoi(size[1]); err != nil || modules > widest {
			t.Errorf("of %q the code is %v modules wide: under 3 px each on a phone of 320", letter, size)
		}
		label, err := url.PathUnescape(strings.TrimPrefix(strings.Split(scan.uri(), "?")[0], "otpauth://totp/"))
		h.must(err)
		if issuer, _, found := strings.Cut(label, ":"); !found || strings.Contains(issuer, ":") || issuer == "" {
			t.Errorf("the label is %q", label)
		}
		h.enroll(scan.uri())
	}
}

func TestEnrollment_OfAUserWhoHasACodeEndsWithoutOne(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enrollWith(phone.Options{}, h.ticket(user.User{ID: "maria"}))
	_, err := p.Status(t.Context()) // its app has the answer, and shows the code
	h.must(err)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	b.shows(b.open(ticket), 200, "The one that you have saved stays the same.")
	h.enroll(b.start(ticket).uri())
	b.shows(b.scan(ticket, ""), 200, "Your phone is connected")
	b.shows(b.open(ticket), 200, "is the one that you have saved")
}

func TestEnrollment_GoneIsOnePageForAllThatIsNoTicket(t *testing.T) {
	h := newHouse(t)
	spent := h.ticket(user.User{ID: "maria"})
	h.enroll(spent)
	expired := h.ticket(user.User{ID: "bert"})
	h.clock.Advance(5*24*time.Hour + time.Second)
	b := h.browser()
	for _, ticket := range []string{"", "unknown", spent, expired, strings.Repeat("x", 4000), "\x00\xff<script>"} {
		b.shows(b.open(ticket), 404, "This link works no longer")
		b.shows(b.start(ticket), 404, "This link works no longer")
		b.shows(b.code(ticket), 404, "This link works no longer")
		b.shows(b.scan(ticket, ""), 404, "This link works no longer")
		b.shows(b.confirm(ticket, "0000"), 404, "This link works no longer")
	}
	b.shows(b.do("GET", "/mfa/enrollment/start", ""), 404, "This link works no longer")
	b.shows(b.do("GET", "/mfa/enrollment/code", ""), 404, "This link works no longer")
	b.shows(b.do("POST", "/mfa/enrollment/start?ticket="+h.ticket(user.User{ID: "clara"}), "x=y"), 404, "This link works no longer")
}

func TestEnrollment_EscapesWhatOthersHaveNamed(t *testing.T) {
	h := newHouse(t, phones(func(o *device.Options) { o.Issuer = `<script>alert(1)</script>` }))
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria", Name: `"><img src=x onerror=alert(1)>`})
	for _, p := range []page{b.open(ticket), b.start(ticket)} {
		b.shows(p, 200, "&lt;script&gt;")
		if strings.Contains(p.body, "<img") {
			t.Errorf("got %s", p.body)
		}
	}
}

func TestEnrollment_ChargesTheAddressThatGuesses(t *testing.T) {
	h := newHouse(t, limits(func(l *server.Limits) { l.CallsPerAddress = 3 }))
	b := h.browser("X-Forwarded-For", "203.0.113.9")
	for range 3 {
		b.shows(b.open("guess"), 404, "works no longer")
	}
	p := b.open("guess")
	b.shows(p, 429, "Wait a moment")
	if p.header.Get("Retry-After") == "" {
		t.Error("Retry-After is missing")
	}
	b.shows(b.scan("guess", ""), 429, "Wait a moment")
	b.shows(b.open(h.ticket(user.User{ID: "maria"})), 200, "Start")
}

func TestEnrollment_AStoreThatIsAwayIsAPageToo(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	h.must(h.store.Close())
	p := b.open(ticket)
	b.shows(p, 503, "Wait a moment")
}

func TestAssets_MayBeKept(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	for path, kind := range map[string]string{"/mfa/style.css?v=" + versions["style.css"]: "text/css; charset=utf-8", "/mfa/page.js?v=" + versions["page.js"]: "text/javascript; charset=utf-8", "/mfa/mark.svg": "image/svg+xml"} {
		p := b.do("GET", path, "")
		if p.status != 200 || p.header.Get("Content-Type") != kind || !strings.Contains(p.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", path, p.status, p.header)
		}
	}
}
