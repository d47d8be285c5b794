package dashboard

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/web/webtest"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/tally"
)

var (
	liveAddress = regexp.MustCompile(`data-live="\.\./([^"]*)"`)
	eventRow    = regexp.MustCompile(`<li id="e(\d+)"`)
)

// next is the address that a page asks to be held at.
func next(t *testing.T, a webtest.Answer) string {
	t.Helper()
	found := liveAddress.FindStringSubmatch(a.Body)
	if found == nil {
		t.Fatalf("%d: the page waits for nothing: %s", a.Status, a.Body)
	}
	return "/" + html.UnescapeString(found[1])
}

func TestEvents_TheTailMissesNothingAndShowsEachOnce(t *testing.T) {
	h := newHouse(t)
	c := h.signedIn("ada", user.Viewer)
	h.enrolled("maria")
	const blocks = 40
	page := c.Get("/admin/events?kind=admins&q=maria")
	before := len(eventRow.FindAllString(page.Body, -1))
	failed := make(chan error, 1)
	go func() {
		for i := range blocks {
			if err := h.Admins.SetBlocked(t.Context(), "maria", i%2 == 0, audit.ByOperator(0)); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	seen := map[string]bool{}
	for {
		rows := eventRow.FindAllStringSubmatch(page.Body, -1)
		ids := make([]string, 0, len(rows))
		for _, row := range rows {
			ids = append(ids, row[1])
			seen[row[1]] = true
		}
		if len(slices.Compact(slices.Sorted(slices.Values(ids)))) != len(ids) || !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }) {
			t.Fatalf("not each once, newest first: %v", ids)
		}
		if len(seen) >= before+blocks {
			break
		}
		page = c.Get(next(t, page))
	}
	check.Must(t, <-failed)
	if len(seen) != before+blocks {
		t.Errorf("%d rows of %d", len(seen), before+blocks)
	}
}

func TestEvents_TheTailIsHeldUntilSomethingFits(t *testing.T) {
	h := newHouse(t)
	c := h.signedIn("ada", user.Owner)
	h.enrolled("maria")
	at := next(t, c.Get("/admin/events?kind=recovery"))
	held := make(chan webtest.Answer, 1)
	go func() { held <- c.Get(at) }()
	h.UntilHeld(1)
	h.SetBlocked("maria", true) // which does not fit
	h.Reset("maria")
	a := <-held
	if rows := eventRow.FindAllString(a.Body, -1); len(rows) != 1 {
		t.Errorf("%d rows: %s", len(rows), a.Body)
	}
	// Who is signed out meanwhile is told nothing more.
	at = next(t, a)
	go func() { held <- c.Get(at) }()
	h.UntilHeld(1)
	member, err := h.SignIn.MemberOf(t.Context(), "ada")
	check.Must(t, err)
	check.Must(t, h.SignIn.EndSession(t.Context(), "ada", member.Sessions[0].ID, audit.ByOperator(0)))
	if a := <-held; a.Status != http.StatusUnauthorized || strings.Contains(a.Body, "maria") {
		t.Errorf("%d: %s", a.Status, a.Body)
	}
}

// A page that looks by itself keeps nobody signed in; where no script runs the browser loads it again.
func TestOverview_LooksAgainByItselfAndKeepsNobodySignedIn(t *testing.T) {
	h := newHouse(t)
	c := h.signedIn("ada", user.Viewer)
	for _, path := range []string{"/admin/overview", "/admin/events"} {
		a := c.Get(path)
		if refresh := a.Header.Get("Refresh"); !strings.HasSuffix(refresh, "; url=.."+path+"?live=1") || strings.Contains(a.Body, "http-equiv") {
			t.Errorf("%s: Refresh %q", path, refresh)
		}
	}
	for _, want := range []int{http.StatusOK, http.StatusUnauthorized} {
		h.Clock.Advance(20 * time.Minute)
		if a := c.Get("/admin/overview?live=1"); a.Status != want {
			t.Errorf("a page that nobody touches: %d, want %d", a.Status, want)
		}
	}
}

// fold writes down what was counted today, as the server does once a minute.
func (h *house) fold() {
	h.t.Helper()
	check.Must(h.t, tally.NewFolder(h.Store, admin.KeptByDay()...).Fold(h.t.Context()))
}

func TestBrowser_TheOverviewChangesWhileItIsOpen(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	check.Must(t, h.Admins.CountEveryone(t.Context()))
	c := h.boss("ada", user.Owner)
	tabs := []*webtest.Tab{c}
	for len(tabs) < 8 {
		tab := c.Another()
		tab.Go(h.Base + "/admin/overview")
		tab.Sees("Overview")
		tabs = append(tabs, tab)
	}
	h.UntilHeld(4)
	c.Eval(`(() => { const it = document.querySelector("#approvals details"); it.open = true; it.querySelector("summary").focus() })()`)
	h.lively()
	login.LoginsEnded.Add(h.Store.Meter(), 41, string(login.Approved), string(login.ByKey))
	h.fold()
	for _, tab := range tabs {
		tab.Says("2 of 3 users")
		tab.Until(`document.querySelector("#approvals dd").textContent.trim() === "41"`)
	}
	// What was opened stays open, and the keyboard where it was.
	c.Until(`document.querySelector("#approvals details").open && document.activeElement === document.querySelector("#approvals summary")`)
	h.wrong = map[string]string{"disk": "there is no room"}
	c.Says("The server reports trouble: disk")
	if n := h.Server.Waits().Len(); n > 4 {
		t.Errorf("%d calls are held", n)
	}
}

// entrance leads a browser to one house or another.
type entrance struct {
	base string
	to   atomic.Pointer[url.URL]
}

func newEntrance(t *testing.T, to *house) *entrance {
	t.Helper()
	e := &entrance{}
	e.lead(t, to)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(e.to.Load())
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(proxy.Close)
	e.base = strings.Replace(proxy.URL, "127.0.0.1", "localhost", 1)
	return e
}

func (e *entrance) lead(t *testing.T, to *house) {
	t.Helper()
	u, err := url.Parse(to.URL)
	check.Must(t, err)
	e.to.Store(u)
}

func TestBrowser_TheTailGoesOnWhenTheServerIsRestarted(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	h.enrolled("maria")
	h.enrolled("otto")
	c := h.boss("ada", user.Owner)
	door := newEntrance(t, h)
	c.Go(door.base + "/admin/events?kind=admins&q=maria")
	c.Sees("Events")
	h.UntilHeld(1)
	rows := func(n int) {
		t.Helper()
		c.Until(fmt.Sprintf(`[...document.querySelectorAll("#events li")].filter((it) => it.textContent.includes("block")).length === %d`, n))
	}
	h.SetBlocked("maria", true)
	rows(1)
	c.Eval(`document.querySelector("#events a").focus()`)
	c.Eval(`void (window.untouched = document.activeElement.closest("li"))`)

	after := h.neighbour()
	h.Stop()
	after.SetBlocked("maria", false) // while nobody answers
	after.SetBlocked("otto", true)   // which does not fit
	door.lead(t, after)
	after.SetBlocked("maria", true)
	rows(3)
	if c.Eval(`document.activeElement.closest("li") === window.untouched && window.untouched.isConnected`) != true {
		t.Error("the keyboard has left the line on which it was")
	}
	if c.Eval(`document.querySelector("#events").textContent.includes("otto")`) != false {
		t.Error("the filter is not kept")
	}
	// A page shows so many and no more.
	for i := range eventsShown + 10 {
		after.SetBlocked("maria", i%2 == 0)
	}
	c.Until(fmt.Sprintf(`document.querySelectorAll("#events li").length === %d && !document.querySelector("#older").hidden`, eventsShown))
	if c.Eval(`new Set([...document.querySelectorAll("#events li")].map((it) => it.id)).size`) != float64(eventsShown) {
		t.Error("an event is there twice")
	}
}
