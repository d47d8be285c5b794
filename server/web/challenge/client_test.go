package challenge

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

// The same without a browser: what several calls at once do to a page, under the race detector too.

// opened is a client that has opened the page of a request, and what that shows.
func (h *house) opened(link string) (*webtest.Client, webtest.Answer) {
	h.t.Helper()
	transport := &http.Transport{}
	h.t.Cleanup(transport.CloseIdleConnections)
	c := webtest.NewClient(h.t, h.URL, transport)
	shown := c.Get(strings.TrimPrefix(link, h.URL))
	return c, shown
}

// step posts a form of the page of a request.
func (h *house) step(c *webtest.Client, link, step string, form url.Values) webtest.Answer {
	h.t.Helper()
	asked, err := url.Parse(link)
	check.Must(h.t, err)
	return c.Post("/mfa/challenge/"+step+"?"+asked.RawQuery, form)
}

var (
	spelt     = regexp.MustCompile(`<p class="number"><span role="img" aria-label="([0-9 ]+)">`)
	heldIn    = regexp.MustCompile(`data-live="([^"]*)"`)
	shownCode = regexp.MustCompile(`(?s)<p class="code" id="code">(.*?)</p>`)
	marks     = regexp.MustCompile(`<[^>]*>|\s`)
)

// numberOn is the number on a page; "" when it has none.
func numberOn(a webtest.Answer) string {
	found := spelt.FindStringSubmatch(a.Body)
	if found == nil {
		return ""
	}
	return strings.ReplaceAll(found[1], " ", "")
}

// heldBy is the address that a page waits by, from the root of the server.
func heldBy(t *testing.T, a webtest.Answer) string {
	t.Helper()
	found := heldIn.FindStringSubmatch(a.Body)
	if found == nil {
		t.Fatalf("the page waits for nothing: %s", a.Body)
	}
	here, err := url.Parse(a.URL)
	check.Must(t, err)
	to, err := here.Parse(strings.ReplaceAll(found[1], "&amp;", "&"))
	check.Must(t, err)
	return to.RequestURI()
}

// codeOn is the recovery code on a page; "" when it has none.
func codeOn(a webtest.Answer) string {
	found := shownCode.FindStringSubmatch(a.Body)
	if found == nil {
		return ""
	}
	return marks.ReplaceAllString(found[1], "")
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

func TestClient_AHeldPageGoesOnWhenThePhoneAnswers(t *testing.T) {
	h := newHouse(t)
	p, _ := h.phone("maria")
	link := h.link("maria")
	c, shown := h.opened(link)
	held := make(chan webtest.Answer, 1)
	address := heldBy(t, shown)
	go func() { held <- c.Get(address) }()
	h.UntilHeld(1)
	check.Must(t, p.Approve(t.Context(), h.asked(p), numberOn(shown)))
	if got := <-held; !strings.Contains(got.Body, "It is you") || !strings.HasPrefix(got.Header.Get("Refresh"), "0; url=") {
		t.Errorf("the held call is told %v %s", got.Header, got.Body)
	}
	back := c.Get(strings.TrimPrefix(link, h.URL))
	to, err := url.Parse(back.URL)
	check.Must(t, err)
	tokens := h.call("/oauth/token", "grant_type", "authorization_code", "code", to.Query().Get("code"), "redirect_uri", h.back, "code_verifier", verifier)
	if got := h.amr(tokens); got != "mfa swk" {
		t.Errorf("amr %s", got)
	}
}

// shownAt is what a page shows to a browser that opens it.
func (h *house) shownAt(link string) webtest.Answer {
	h.t.Helper()
	_, shown := h.opened(link)
	return shown
}

func TestClient_OfManyBrowsersOneHasTheRequest(t *testing.T) {
	h := newHouse(t)
	p, _ := h.phone("maria")
	link := h.link("maria")
	with := 0
	for _, got := range together(8, func(int) webtest.Answer { return h.shownAt(link) }) {
		switch {
		case numberOn(got) != "":
			with++
		case got.Status != http.StatusForbidden || !strings.Contains(got.Body, "This sign-in belongs to another browser"):
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
	if with != 1 {
		t.Errorf("%d browsers are shown a number", with)
	}
	h.asked(p) // once
}

func TestClient_APageThatIsOpenedAtOnceInOneBrowserAsksOnce(t *testing.T) {
	h := newHouse(t)
	p, _ := h.phone("maria")
	c, _ := h.opened("/mfa/challenge?request=none") // it has its cookie
	link := strings.TrimPrefix(h.link("maria"), h.URL)
	numbers := map[string]bool{}
	for _, got := range together(6, func(int) webtest.Answer { return c.Get(link) }) {
		numbers[numberOn(got)] = true
	}
	if len(numbers) != 1 || numbers[""] {
		t.Errorf("the tabs show %v", numbers)
	}
	h.asked(p)
}

func TestClient_ACodeThatIsSentTwiceAtOnceIsSpentOnce(t *testing.T) {
	h := newHouse(t)
	_, code := h.phone("maria")
	link := h.link("maria")
	c, _ := h.opened(link)
	next := map[string]bool{}
	for _, got := range together(4, func(int) webtest.Answer {
		return h.step(c, link, "code", url.Values{"code": {code}})
	}) {
		next[codeOn(got)] = true
	}
	if len(next) != 1 || next[""] || next[code] {
		t.Fatalf("the pages show the codes %v", next)
	}
	for shown := range next {
		together(4, func(int) webtest.Answer { return h.step(c, link, "saved", url.Values{"end": {shown[20:]}}) })
	}
	if got := c.Get(strings.TrimPrefix(link, h.URL)); !strings.Contains(got.Body, "Do you have a new phone?") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	for _, got := range together(4, func(int) webtest.Answer { return h.step(c, link, "on", nil) }) {
		if to, err := url.Parse(got.URL); err != nil || !to.Query().Has("code") {
			t.Errorf("the browser comes back with %s, %v", got.URL, err)
		}
	}
}

// Whichever is first counts: it comes back with a code, or with a refusal, and stays so.
func TestClient_CancelAndTheAnswerAtOnce(t *testing.T) {
	h := newHouse(t)
	p, _ := h.phone("maria")
	for range 4 {
		link := h.link("maria")
		c, shown := h.opened(link)
		asked := h.asked(p)
		var cancelled webtest.Answer
		var all sync.WaitGroup
		all.Go(func() { cancelled = h.step(c, link, "cancel", nil) })
		all.Go(func() { _ = p.Approve(t.Context(), asked, numberOn(shown)) })
		all.Wait()
		to, err := url.Parse(cancelled.URL)
		check.Must(t, err)
		if to.Query().Get("error") != "access_denied" || to.Query().Has("code") {
			t.Errorf("cancelled, the browser comes back with %v", to.Query())
		}
		if again := c.Get(strings.TrimPrefix(link, h.URL)); !strings.Contains(again.Body, "Cancelled") {
			t.Errorf("after that the page shows %d %s", again.Status, again.Body)
		}
	}
}
