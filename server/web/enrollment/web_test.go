package enrollment

import (
	"crypto/tls"
	"net/http"
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
	"tutela/server/web/webtest"
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
			Mount(webtest.Kit(h), Services{Devices: h.Devices, Passkeys: h.Passkeys, Now: h.Store.Now})
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
	*webtest.Client
}

func (h *house) browser(header ...string) *browser {
	h.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the proxies of tests have their own certificates
	h.t.Cleanup(transport.CloseIdleConnections)
	b := &browser{h, webtest.NewClient(h.t, h.url, transport)}
	b.Header = header
	return b
}

// keep puts a cookie into the browser.
func (b *browser) keep(name, value string) {
	b.t.Helper()
	u, err := url.Parse(b.url)
	b.must(err)
	b.HTTP.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

// answer is what a browser got.
type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a call; a form gets the browser's token.
func (b *browser) do(method, path, form string) answer {
	b.t.Helper()
	var got webtest.Answer
	if method == http.MethodPost {
		values, err := url.ParseQuery(form)
		b.must(err)
		got = b.Post(path, values)
	} else {
		got = b.Do(method, path, "")
	}
	return answer{got.Status, got.Header, got.Body}
}

func (b *browser) open(ticket string) answer {
	b.t.Helper()
	return b.do("GET", "/mfa/enrollment?ticket="+url.QueryEscape(ticket), "")
}

func (b *browser) start(ticket string) answer {
	b.t.Helper()
	return b.do("POST", "/mfa/enrollment/start", "ticket="+url.QueryEscape(ticket))
}

// scan is the page with the QR code; more may ask for it to be held.
func (b *browser) scan(ticket, more string) answer {
	b.t.Helper()
	return b.do("GET", "/mfa/enrollment/scan?ticket="+url.QueryEscape(ticket)+more, "")
}

func (b *browser) code(ticket string) answer {
	b.t.Helper()
	return b.do("GET", "/mfa/enrollment/code?ticket="+url.QueryEscape(ticket), "")
}

// confirm types the end of a code.
func (b *browser) confirm(ticket, end string) answer {
	b.t.Helper()
	return b.do("POST", "/mfa/enrollment/code", url.Values{"ticket": {ticket}, "end": {end}}.Encode())
}

var (
	uriIn  = regexp.MustCompile(`href="(otpauth://[^"]*)"`)
	codeIn = regexp.MustCompile(`(?s)<p class="code" id="code">(.*?)</p>`)
	tags   = regexp.MustCompile(`<[^>]*>|\s`)
)

// uri is the text of the QR code on a page.
func (p answer) uri() string {
	found := uriIn.FindStringSubmatch(p.body)
	if found == nil {
		return ""
	}
	return strings.ReplaceAll(found[1], "&amp;", "&")
}

// recoveryCode is the recovery code on a page.
func (p answer) recoveryCode() string {
	found := codeIn.FindStringSubmatch(p.body)
	if found == nil {
		return ""
	}
	return tags.ReplaceAllString(found[1], "")
}

// shows fails the test unless p has the status and says text.
func (b *browser) shows(p answer, status int, text string) {
	b.t.Helper()
	if p.status != status || !strings.Contains(p.body, text) {
		b.t.Fatalf("got %d %s\nwant %d and %q", p.status, p.body, status, text)
	}
	if strings.Contains(p.body, "style=") || strings.Contains(p.body, "<iframe") || strings.Contains(p.body, "<script>") {
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
	for _, scanner := range [][]string{nil, {"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "prefetch"}} {
		b := h.browser(scanner...)
		if head := b.do(http.MethodHead, "/mfa/enrollment?ticket="+ticket, ""); head.status != http.StatusOK || head.body != "" {
			t.Errorf("HEAD: %d %q", head.status, head.body)
		}
		b = h.browser(scanner...)
		p := b.open(ticket)
		b.shows(p, 200, "Start")
		if cookies := p.header.Values("Set-Cookie"); len(cookies) != 1 || !strings.HasPrefix(cookies[0], "tutela_browser=") {
			t.Errorf("opening sets %q, which is more than what forms need", cookies)
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
	got := make(chan answer, 1)
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
	if again := b.scan(ticket, "").header.Get("Refresh"); again != "1; url=../../mfa/enrollment/scan?ticket="+ticket+"&wait=1" {
		t.Errorf("without script the page loads itself again by %q", again)
	}
	h.enroll(again.uri())
}

func TestEnrollment_TheTypedKeyHasBlanksAndEnrolsWithThem(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	b.start(ticket)
	typed := b.scan(ticket, "&typed=1")
	if again := typed.header.Get("Refresh"); !strings.HasSuffix(again, "&typed=1&wait=1") {
		t.Errorf("the page loads itself again by %q", again)
	}
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
	got := make(chan answer, 1)
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
	got := make(chan answer, 1)
	go func() { got <- b.scan(ticket, "&wait=1") }()
	h.UntilHeld(1)
	if again := other.scan(ticket, "&wait=1").header.Get("Refresh"); !strings.HasPrefix(again, "5; url=") {
		t.Errorf("the page loads itself again by %q", again)
	}
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
		if modules, err := strconv.Atoi(size[1]); err != nil || modules > 90 {
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
	for _, p := range []answer{b.open(ticket), b.start(ticket)} {
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
	b.shows(p, 429, "A link that works opens even now.")
	if p.header.Get("Retry-After") == "" {
		t.Error("Retry-After is missing")
	}
	b.shows(b.scan("guess", ""), 429, "Too many tries")
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
