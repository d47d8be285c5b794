package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"tutela/device/otp"
	"tutela/server/web/webtest"
)

// BenchmarkPages measures the pages of people and of the dashboard among so many users, as [BenchmarkManagement] measures calls.
// What leads to a page (a ticket, a login, a session) is made before, and not counted.
//
//	TUTELA_USERS=10000,1000000 go test ./cmd/tutela -run '^$' -bench Pages -benchtime 1000x -timeout 60m
func BenchmarkPages(b *testing.B) {
	onEachCrowd(b, func(b *testing.B, c *crowd) {
		b.Run("enrolment", func(b *testing.B) { c.measure(b, func(i int) *http.Request { return c.enrolmentPage(b, i) }) })
		b.Run("challenge", func(b *testing.B) { c.measure(b, func(i int) *http.Request { return c.challengePage(b, i) }) })
		b.Run("own page", func(b *testing.B) { c.measureOwnPages(b) })
		for _, p := range adminPages {
			b.Run(p.name, func(b *testing.B) {
				c.measure(b, func(i int) *http.Request { return c.adminPage(b, p.path(c, b, i)) })
			})
		}
	})
}

// adminPage is a page of the dashboard that is measured.
type adminPage struct {
	name string
	path func(c *crowd, b *testing.B, i int) string // below /admin/, about the user with number i
}

// always is the path of a page that is about nobody.
func always(path string) func(*crowd, *testing.B, int) string {
	return func(*crowd, *testing.B, int) string { return path }
}

// ofUser is the path of a page of a user.
func ofUser(tab string) func(*crowd, *testing.B, int) string {
	return func(c *crowd, b *testing.B, i int) string { return "users/" + c.uid(b, i) + tab }
}

var adminPages = []adminPage{
	{"overview", always("overview")},
	{"users", always("users")},
	{"users by a word", func(_ *crowd, _ *testing.B, i int) string {
		return "users?q=" + url.QueryEscape(strings.ToLower(crowdName(i)))
	}},
	{"users by an address", func(_ *crowd, _ *testing.B, i int) string { return "users?q=" + url.QueryEscape(crowdEmail(i)) }},
	{"users at risk", always("users?risk=no_recovery_code")},
	{"a user", ofUser("")},
	{"a user's MFA", ofUser("/mfa")},
	{"a user's backups", ofUser("/backups")},
	{"a user's history", ofUser("/history")},
	{"a user's reset", ofUser("/reset")},
	{"events", always("events")},
	{"clients", always("clients")},
	{"settings", always("settings")},
	{"push", always("push")},
	{"team", always("team")},
}

var uidIn = regexp.MustCompile(`/users/([0-9a-f]{32})`)

// uid returns the uid of a user, which only the dashboard shows.
func (c *crowd) uid(b *testing.B, i int) string {
	b.Helper()
	resp, err := c.http.Do(c.adminPage(b, "users?q="+url.QueryEscape(crowdEmail(i))))
	must(b, err)
	shown, err := io.ReadAll(resp.Body)
	must(b, errors.Join(err, resp.Body.Close()))
	uid := uidIn.FindSubmatch(shown)
	if uid == nil {
		b.Fatalf("no link to %s: %d %s", crowdID(i), resp.StatusCode, shown)
	}
	return string(uid[1])
}

// adminPage returns the admin's request for a page of the dashboard.
func (c *crowd) adminPage(b *testing.B, path string) *http.Request {
	b.Helper()
	r := c.get(b, c.public+"/admin/"+path)
	r.AddCookie(&http.Cookie{Name: "__Host-tutela_admin", Value: c.session})
	return r
}

// enrolmentPage makes a ticket of a user, and returns the request of a browser that comes with it.
func (c *crowd) enrolmentPage(b *testing.B, i int) *http.Request {
	b.Helper()
	var ticket struct {
		URL string `json:"ticket_url"`
	}
	body := map[string]any{"user_id": crowdID(i), "allow_multiple_enrollments": true}
	must(b, c.manage(b.Context(), http.MethodPost, "/guardian/enrollments/ticket", body, &ticket))
	return c.get(b, ticket.URL)
}

// hostedPage asks for a hosted page of a user, and returns its address.
func (c *crowd) hostedPage(b *testing.B, i int, more ...string) string {
	b.Helper()
	var asked struct {
		URL string `json:"url"`
	}
	must(b, c.form(b.Context(), c.pages, "/mfa/requests", &asked, pageOf(crowdID(i), more...)...))
	return asked.URL
}

// challengePage begins a login of a user, opens its page in a browser, and returns that browser's request for it.
func (c *crowd) challengePage(b *testing.B, i int) *http.Request {
	b.Helper()
	r := c.get(b, c.hostedPage(b, i))
	browser := webtest.NewClient(b, c.public, c.http.Transport)
	browser.Get(r.URL.RequestURI())
	for _, cookie := range browser.HTTP.Jar.Cookies(r.URL) {
		r.AddCookie(cookie)
	}
	return r
}

// measureOwnPages opens own pages of a few users, and measures how long they take to load.
func (c *crowd) measureOwnPages(b *testing.B) {
	b.Helper()
	opened := make([]*webtest.Client, min(b.N, 20))
	first := rand.IntN(c.users)
	for k := range opened {
		opened[k] = c.openOwnPage(b, (first+k)%c.users)
	}
	c.measure(b, func(i int) *http.Request {
		r := c.get(b, c.public+"/mfa/me")
		for _, cookie := range opened[i%len(opened)].HTTP.Jar.Cookies(r.URL) {
			r.AddCookie(cookie)
		}
		return r
	})
}

// openOwnPage leads a user to her own page by a one-time code, and returns her browser.
func (c *crowd) openOwnPage(b *testing.B, i int) *webtest.Client {
	b.Helper()
	address, err := url.Parse(c.hostedPage(b, i, "purpose", "manage"))
	must(b, err)
	browser := webtest.NewClient(b, c.public, c.http.Transport)
	browser.Get(address.RequestURI())
	code := crowdSecret(i).At(otp.StepAt(time.Now()))
	if a := browser.Post("/mfa/challenge/otp?"+address.RawQuery, url.Values{"otp": {string(code)}}); !strings.HasSuffix(a.URL, "/mfa/me") {
		b.Fatalf("she was led to %s: %d %s", a.URL, a.Status, a.Body)
	}
	return browser
}
