package own

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device"
	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

// The same without a browser: what several calls at once do to a session, under the race detector too.

// visiting is a client whose browser has opened her page.
func (h *house) visiting(p *webtest.Handset) *webtest.Client {
	h.t.Helper()
	transport := &http.Transport{}
	h.t.Cleanup(transport.CloseIdleConnections)
	c := webtest.NewClient(h.t, h.URL, transport)
	if got := c.Get(strings.TrimPrefix(h.opened(p), h.URL)); !strings.Contains(got.Body, title) {
		h.t.Fatalf("%d %s", got.Status, got.Body)
	}
	return c
}

// together calls do n times at once, and returns what came of each.
func together(n int, do func(i int) webtest.Answer) []webtest.Answer {
	answers := make([]webtest.Answer, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { answers[i] = do(i) })
	}
	all.Wait()
	return answers
}

// found is what a pattern finds first on a page.
func found(t *testing.T, a webtest.Answer, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(a.Body)
	if match == nil {
		t.Fatalf("%d, and no %s in %s", a.Status, pattern, a.Body)
	}
	return strings.ReplaceAll(match[1], "&amp;", "&")
}

// heldBy is the address that a page waits by, from the root of the server.
func heldBy(t *testing.T, a webtest.Answer) string {
	t.Helper()
	here, err := url.Parse(a.URL)
	check.Must(t, err)
	to, err := here.Parse(found(t, a, `data-live="([^"]*)"`))
	check.Must(t, err)
	return to.RequestURI()
}

func TestClient_AHeldPageGoesOnWhenAPhoneWasAdded(t *testing.T) {
	h := newHouse(t)
	p := h.phone("Pixel 9", "")
	c := h.visiting(p)
	shown := c.Post("/mfa/me/add", url.Values{"what": {"phone"}})
	held := make(chan webtest.Answer, 1)
	address := heldBy(t, shown)
	go func() { held <- c.Get(address) }()
	h.UntilHeld(1)
	h.Clock.Advance(time.Second)
	h.phone("Galaxy A56", device.ReadTicket(found(t, shown, `href="(otpauth://[^"]*)"`)))
	got := <-held
	if to := got.Header.Get("Refresh"); !strings.HasPrefix(to, "0; url=") || !strings.Contains(to, "me/added") {
		t.Errorf("the held call is told %v %s", got.Header, got.Body)
	}
	if !strings.Contains(c.Get("/mfa/me").Body, "Galaxy A56") {
		t.Error("her page does not have the phone")
	}
}

func TestClient_AHeldPageGoesOnWhenThePhoneProves(t *testing.T) {
	h := newHouse(t)
	p := h.phone("Pixel 9", "")
	c := h.visiting(p)
	shown := c.Post("/mfa/me/prove/number", url.Values{"then": {"code"}, "about": {""}})
	held := make(chan webtest.Answer, 1)
	address := heldBy(t, shown)
	go func() { held <- c.Get(address) }()
	h.UntilHeld(1)
	p.Approve(strings.ReplaceAll(found(t, shown, `<p class="number"><span role="img" aria-label="([0-9 ]+)">`), " ", ""))
	if got := <-held; !strings.Contains(got.URL, "/mfa/me/code") {
		t.Errorf("the held call leads to %s: %s", got.URL, got.Body)
	}
}

// One proof adds one device, draws one code, and ends once, however often it is pressed.
func TestClient_PressesAtOnceAreOneStep(t *testing.T) {
	h := newHouse(t)
	p := h.phone("Pixel 9", "")
	c := h.visiting(p)
	codes := map[string]bool{}
	for _, got := range together(4, func(int) webtest.Answer { return c.Post("/mfa/me/code/new", nil) }) {
		codes[found(t, got, `(?s)<p class="code" id="code">(.*?)</p>`)] = true
	}
	if len(codes) != 1 {
		t.Errorf("the pages show the codes %v", codes)
	}
	links := map[string]bool{}
	for _, got := range together(4, func(int) webtest.Answer { return c.Post("/mfa/me/add", url.Values{"what": {"phone"}}) }) {
		links[found(t, got, `href="(otpauth://[^"]*)"`)] = true
	}
	if len(links) != 1 {
		t.Errorf("the pages show %d QR codes", len(links))
	}
	together(4, func(int) webtest.Answer { return c.Post("/mfa/me/remove", url.Values{"id": {p.Enrolled.ID}}) })
	if got := c.Get("/mfa/me"); got.Status != http.StatusForbidden || !strings.Contains(got.Body, "This page is closed") {
		t.Errorf("after she has removed what she had proven: %d %s", got.Status, got.Body)
	}
}

// Of the calls that wait for one session four are held, and the others are told to ask later; when it ends, all are told so.
func TestClient_SigningOutEndsWhatWaits(t *testing.T) {
	h := newHouse(t)
	p := h.phone("Pixel 9", "")
	c := h.visiting(p)
	address := heldBy(t, c.Post("/mfa/me/add", url.Values{"what": {"phone"}}))
	answers := make(chan webtest.Answer, 6)
	for range cap(answers) {
		go func() { answers <- c.Get(address) }()
	}
	for range 2 {
		if got := <-answers; !strings.Contains(got.Body, `data-again="5"`) {
			t.Errorf("past four: %d %s", got.Status, got.Body)
		}
	}
	h.UntilHeld(4)
	c.Post("/mfa/me/leave", nil)
	for range 4 {
		if got := <-answers; got.Status != http.StatusForbidden || !strings.Contains(got.Body, "This page is closed") {
			t.Errorf("after she has left: %d %s", got.Status, got.Body)
		}
	}
}
