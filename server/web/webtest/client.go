package webtest

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"tutela/server/servertest"
	"tutela/server/web/page"
	"tutela/storage/setting/brand"
	"tutela/storage/storagetest/check"
)

// Client is a program that goes through pages as a browser does: it keeps cookies, and sends forms with their token.
type Client struct {
	HTTP   *http.Client
	Base   string   // public URL by which it comes
	Header []string // of every call: name, value, name, value
	t      testing.TB
}

// NewClient makes a client that comes by a public URL.
func NewClient(t testing.TB, base string, transport http.RoundTripper) *Client {
	t.Helper()
	return &Client{HTTP: &http.Client{Jar: NewJar(t), Transport: transport}, Base: base, t: t}
}

// Answer is what a client got.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	URL    string // of the page, after redirects
}

// Get loads a page.
func (c *Client) Get(path string) Answer {
	c.t.Helper()
	return c.Do(http.MethodGet, path, "")
}

// Post sends a form as a page of ours would: with the token of this browser. A browser that has opened no page yet gets its cookie first.
func (c *Client) Post(path string, form url.Values) Answer {
	c.t.Helper()
	if c.HTTP.Jar != nil && c.browser() == "" {
		c.Do(http.MethodPost, path, "none=1") // it is refused, and brings the cookie
	}
	sent := url.Values{"form": {c.Token()}}
	for name, values := range form {
		sent[name] = values
	}
	return c.Do(http.MethodPost, path, sent.Encode())
}

// Token is the token of this browser's forms.
func (c *Client) Token() string {
	c.t.Helper()
	if c.HTTP.Jar == nil {
		return ""
	}
	return page.TokenOf(c.browser())
}

// browser is the value of the cookie that the token follows from.
func (c *Client) browser() string {
	c.t.Helper()
	u, err := url.Parse(c.Base + "/")
	check.Must(c.t, err)
	for _, cookie := range c.HTTP.Jar.Cookies(u) {
		if strings.HasSuffix(cookie.Name, "tutela_browser") {
			return cookie.Value
		}
	}
	return ""
}

// Do makes a call. form is a body of a form, or empty.
func (c *Client) Do(method, path, form string) Answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.Base+path, strings.NewReader(form))
	check.Must(c.t, err)
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(c.Header); i += 2 {
		req.Header.Set(c.Header[i], c.Header[i+1])
	}
	resp, err := c.HTTP.Do(req)
	check.Must(c.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	check.Must(c.t, err)
	return Answer{resp.StatusCode, resp.Header, string(body), resp.Request.URL.String()}
}

// jar keeps cookies as browsers do: a secure one only from a secure place, one with a prefix in its name only when it is what that promises.
type jar struct {
	*cookiejar.Jar
	t testing.TB
}

// NewJar makes an empty jar, which fails the test for a cookie that a browser would not keep.
func NewJar(t testing.TB) http.CookieJar {
	t.Helper()
	inner, err := cookiejar.New(nil)
	check.Must(t, err)
	return &jar{inner, t}
}

// SetCookies keeps those cookies that a browser would keep.
func (j *jar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		secure := c.Secure && isSecure(u)
		wrong := strings.HasPrefix(c.Name, "__Secure-") && !secure ||
			strings.HasPrefix(c.Name, "__Host-") && (!secure || c.Path != "/" || c.Domain != "")
		if wrong || c.Secure && !secure {
			j.t.Errorf("a browser at %s would not keep %v", u, c)
			continue
		}
		j.Jar.SetCookies(asSecure(u), []*http.Cookie{c})
	}
}

// Cookies are those that a browser would send.
func (j *jar) Cookies(u *url.URL) []*http.Cookie { return j.Jar.Cookies(asSecure(u)) }

// isSecure reports whether browsers treat an address as secure.
func isSecure(u *url.URL) bool { return u.Scheme == "https" || u.Hostname() == "localhost" }

// asSecure is the address as Go's jar must see it to send secure cookies to localhost too.
func asSecure(u *url.URL) *url.URL {
	if !isSecure(u) {
		return u
	}
	secure := *u
	secure.Scheme = "https"
	return &secure
}

// Kit makes the kit of an installation's pages, as the program does.
func Kit(h *servertest.House) *page.Kit {
	return page.New(h.Server, page.Options{
		Name:      h.Devices.Issuer(),
		PublicURL: h.Devices.PublicURL(),
		Now:       h.Store.Now,
		Brand:     brand.New(h.Store).Get,
	})
}
