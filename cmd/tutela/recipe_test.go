package main

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"tutela/server/access"
	"tutela/server/web/webtest"
	"tutela/storage/audit"
)

// freePort is a port of this machine that nobody listens on. A recipe is told it, as its reader tells it one.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	must(t, listener.Close())
	return port
}

// recipeClient registers a client for a recipe.
func (m *mounted) recipeClient(c access.Client) credentialPair {
	m.t.Helper()
	c.Scopes = []string{"openid"}
	added, secret, err := m.house.access.AddClient(m.t.Context(), audit.ByOperator(0), c)
	m.must(err)
	return credentialPair{added.ID, secret}
}

// serves starts a recipe that is a web server, waits until it says that it listens, and ends it with the test.
func (e example) serves(args ...string) {
	e.t.Helper()
	run := exec.CommandContext(e.t.Context(), e.program[0], append(e.program[1:len(e.program):len(e.program)], args...)...)
	run.Dir = e.folder
	run.Stderr = os.Stderr
	out, err := run.StdoutPipe()
	must(e.t, err)
	must(e.t, run.Start())
	e.t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		e.t.Fatal("it says nothing")
	}
}

// The recipe for ping mode is told of what the phone has answered, and asks once.
func TestExample_ALoginIsToldByAPing(t *testing.T) {
	program := node(t)
	folder := exampleModules(t, "ping.mjs")
	m := mountWith(t, func(m *mounted) { m.options.WebhookAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	ctx, stop := context.WithCancel(t.Context())
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		m.house.outbox.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-sent
	})
	p := m.phoneOf("zoe")
	port := freePort(t)
	c := m.recipeClient(access.Client{
		Name:         "mail",
		DeliveryMode: access.DeliveryPing,
		NotifyAt:     "http://127.0.0.1:" + port + "/ping",
	})
	login := example{t: t, program: []string{program, "ping.mjs", m.url + "/", c.id, c.secret, "zoe"}, folder: folder}
	if output, err := login.approved(m, p, port, true); err != nil || !strings.Contains(output, "Welcome, zoe") {
		t.Errorf("approved: %v\n%s", err, output)
	}
	if output, err := login.approved(m, p, port, false); err == nil || !strings.Contains(output, "access_denied") {
		t.Errorf("denied: %v\n%s", err, output)
	}
}

// The recipe for the hosted page takes a browser there and back.
func TestExample_ALoginGoesByTheHostedPage(t *testing.T) {
	program := node(t)
	folder := exampleModules(t, "page.mjs")
	m := mount(t)
	p := m.phoneOf("zoe")
	port := freePort(t)
	shop := "http://localhost:" + port
	c := m.recipeClient(access.Client{Name: "shop", RedirectURIs: []string{shop + "/back"}})
	example{t: t, program: []string{program, "page.mjs", m.url + "/", c.id, c.secret, port}, folder: folder}.serves()

	for _, says := range []string{"Welcome, zoe", "access_denied"} {
		browser := newBrowser(t)
		link := browser(shop + "/login?user=zoe").Header.Get("Location")
		page := webtest.NewClient(t, m.url, nil)
		page.HTTP.CheckRedirect = func(to *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(to.URL.String(), shop) {
				return http.ErrUseLastResponse
			}
			return nil
		}
		path, number, _ := numberAt(t, page, link)
		list, err := p.Approvals(t.Context(), 0, nil)
		must(t, err)
		if says == "access_denied" {
			must(t, p.Deny(t.Context(), list[0], ""))
		} else {
			must(t, p.Approve(t.Context(), list[0], number))
		}
		left := page.Get(path)
		if says == "access_denied" { // the page says so, and has a button that leads back
			left = page.Post(strings.Replace(path, "/mfa/challenge?", "/mfa/challenge/cancel?", 1), url.Values{})
		}
		back := left.Header.Get("Location")
		if !strings.HasPrefix(back, shop+"/back?") {
			t.Fatalf("the page leads to %q: %d %s", back, left.Status, left.Body)
		}
		if a := newBrowser(t)(back); a.Status != http.StatusForbidden || strings.Contains(a.Body, "zoe") {
			t.Errorf("another browser is let in by %s: %d %s", back, a.Status, a.Body)
		}
		if a := browser(back); !strings.Contains(a.Body, says) {
			t.Errorf("%s: %d %s", back, a.Status, a.Body)
		}
	}
}

func stops(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// newBrowser is a browser with cookies of its own, which stops where it is sent on.
func newBrowser(t *testing.T) (opens func(address string) webtest.Answer) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	browser := &http.Client{Jar: jar, CheckRedirect: stops}
	return func(address string) webtest.Answer {
		t.Helper()
		u, err := url.Parse(address)
		must(t, err)
		site := webtest.NewClient(t, u.Scheme+"://"+u.Host, nil)
		site.HTTP = browser
		return site.Get(u.RequestURI())
	}
}

// The recipe for passkeys has a person make one in a real browser, and sign in with it.
func TestExample_ALoginGoesByAPasskey(t *testing.T) {
	program := node(t)
	tab := webtest.Open(t)
	m := mount(t)
	port := freePort(t)
	shop := "http://localhost:" + port
	c := m.recipeClient(access.Client{Name: "shop", WebOrigins: []string{shop}})
	example{t: t, program: []string{program, examplePath(t, "passkey.mjs"), m.url, c.id, c.secret, port}, folder: t.TempDir()}.serves()
	tab.Passkeys()
	tab.Go(shop + "/?user=zoe")
	tab.Press("button")
	tab.Until(`document.querySelector("p").textContent.startsWith("Welcome, zoe, by mfa and pop. Save your recovery code: ")`)
	tab.Reload()
	tab.Press("button")
	tab.Until(`document.querySelector("p").textContent === "Welcome, zoe, by mfa and pop"`)
	tab.Go(shop + "/?user=maria") // who has no passkey
	tab.Press("button")
	tab.Until(`document.querySelector("p").textContent !== ""`)
	if said := tab.Text(`document.querySelector("p").textContent`); !strings.HasPrefix(said, "unsupported_challenge_type: ") {
		t.Errorf("it says %q", said)
	}
}
