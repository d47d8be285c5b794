package page_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"tutela/server/servertest"
	"tutela/server/web/page"
	"tutela/server/web/webtest"
)

// telling is a page that says the words that its form has had it say.
func telling(t *testing.T) *servertest.House {
	t.Helper()
	return servertest.Open(t, servertest.Options{
		Mount: func(h *servertest.House) {
			kit := webtest.Kit(h)
			set := kit.Set(pages(t))
			for _, path := range []string{"one", "two"} {
				set.Get(kit.App(), "/mfa/help/"+path, func(c *page.Call) (page.Reply, error) {
					said := strings.Join(c.Told(path), "|")
					return page.Reply{Template: "form.html", Header: map[string]string{"X-Said": said}, Data: c.Frame()}, nil
				})
			}
			set.Post(kit.App(), "/mfa/help/one", func(c *page.Call) (page.Reply, error) {
				c.Tell("one", "wrong", c.Posted("typed"))
				return c.GoTo("mfa/help/"+c.Posted("to"), nil), nil
			})
		},
	})
}

func TestTold_IsSaidOnceAndByThePageThatItIsFor(t *testing.T) {
	h := telling(t)
	c := webtest.NewClient(t, h.URL, nil)
	said := func(a webtest.Answer) string { return a.Header.Get("X-Said") }
	typed := "zwölf & <b>~|;"
	if got := said(c.Post("/mfa/help/one", url.Values{"to": {"one"}, "typed": {typed}})); got != "wrong|"+typed {
		t.Errorf("the page says %q", got)
	}
	if got := said(c.Get("/mfa/help/one")); got != "" {
		t.Errorf("loaded again, the page says %q", got)
	}
	if got := said(c.Post("/mfa/help/one", url.Values{"to": {"two"}, "typed": {typed}})); got != "" {
		t.Errorf("another page says %q", got)
	}
	if got := said(c.Get("/mfa/help/one")); got != "wrong|"+typed {
		t.Errorf("after another page, the page says %q", got)
	}
	if got := said(c.Post("/mfa/help/one", url.Values{"to": {"one"}, "typed": {strings.Repeat("x", 2000)}})); got != "" {
		t.Errorf("the page says what no cookie holds: %.40q", got)
	}
	for _, hostile := range []string{"", "x", "e30", "bnVsbA", "W10", strings.Repeat("A", 3000), "eyJ3b3JkcyI6MX0"} {
		c.HTTP.Jar = nil
		c.Header = []string{"Cookie", "tutela_told=" + hostile}
		if got := c.Get("/mfa/help/one"); got.Status != http.StatusOK || said(got) != "" {
			t.Errorf("the cookie %.20q: %d, %q", hostile, got.Status, said(got))
		}
	}
}

// Browsers keep no page in memory whose cookies have changed.
func TestPost_EachFormThatWasTakenChangesACookie(t *testing.T) {
	h := telling(t)
	c := webtest.NewClient(t, h.URL, nil)
	seen := map[string]bool{}
	u, _ := url.Parse(h.URL)
	for range 3 {
		c.Post("/mfa/help/one", url.Values{"to": {"one"}})
		for _, cookie := range c.HTTP.Jar.Cookies(u) {
			if cookie.Name == "tutela_step" {
				seen[cookie.Value] = true
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("three forms have left %d values", len(seen))
	}
}
