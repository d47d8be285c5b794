package page_test

import (
	"embed"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tutela/server/servertest"
	"tutela/server/web/page"
	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

//go:embed testdata/pages/*.html
var files embed.FS

func pages(t *testing.T) fs.FS {
	t.Helper()
	below, err := fs.Sub(files, "testdata")
	check.Must(t, err)
	return below
}

// mounted is a kit with a page that posts a form.
func mounted(t *testing.T, public ...string) (*servertest.House, *page.Kit, *int) {
	t.Helper()
	var kit *page.Kit
	posted := 0
	h := servertest.Open(t, servertest.Options{
		Public: public,
		Mount: func(h *servertest.House) {
			kit = webtest.Kit(h)
			set := kit.Set(pages(t))
			set.Get(kit.App(), "/mfa/help", func(c *page.Call) (page.Reply, error) {
				return page.Reply{Template: "form.html", Data: c.Frame()}, nil
			})
			set.Post(kit.App(), "/mfa/help", func(c *page.Call) (page.Reply, error) {
				posted++
				return c.GoTo("mfa/help", nil), nil
			})
		},
	})
	return h, kit, &posted
}

func TestPost_TakesTheFormOfOurOwnPageAlone(t *testing.T) {
	h, _, posted := mounted(t)
	browser := func(header ...string) *webtest.Client {
		c := webtest.NewClient(t, h.URL, nil)
		c.Header = header
		c.Get("/mfa/help")
		return c
	}
	for _, ours := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "none"}, {"Origin", h.URL}, {"Origin", "null"}, {}} {
		before := *posted
		if got := browser(ours...).Post("/mfa/help", url.Values{}); got.Status != http.StatusOK || *posted != before+1 {
			t.Errorf("%q: %d, done %d times", ours, got.Status, *posted-before)
		}
	}
	before := *posted
	for _, forged := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		if got := browser(forged...).Post("/mfa/help", url.Values{}); got.Status != http.StatusForbidden {
			t.Errorf("%q: %d", forged, got.Status)
		}
	}
	other := browser()
	for _, token := range []string{"", "x", other.Token()} {
		c := browser()
		if got := c.Post("/mfa/help", url.Values{"form": {token}}); got.Status != http.StatusForbidden || !strings.Contains(got.Body, "This page is too old") {
			t.Errorf("the token %q: %d", token, got.Status)
		}
	}
	without := browser()
	without.HTTP.Jar = nil
	if got := without.Post("/mfa/help", url.Values{}); got.Status != http.StatusBadRequest || !strings.Contains(got.Body, "This page needs cookies") {
		t.Errorf("without cookies: %d", got.Status)
	}
	if *posted != before {
		t.Errorf("%d forms were taken that are not ours", *posted-before)
	}
}

func TestPage_KeepsToItselfAndSpeaksAsTheBrowserAsks(t *testing.T) {
	h, kit, _ := mounted(t, "http://localhost:1")
	c := webtest.NewClient(t, h.URL, nil)
	for asked, lang := range map[string]string{"": "en", "de-AT,de;q=0.9": "de", "fr": "en", "fr,de;q=0.5": "de", "en-GB": "en", "%%%": "en"} {
		c.HTTP.Jar = nil
		c.Header = []string{"Accept-Language", asked}
		got := c.Get("/mfa/help")
		if !strings.Contains(got.Body, `<html lang="`+lang+`">`) || got.Header.Get("Content-Language") != lang {
			t.Errorf("%q: %.200s", asked, got.Body)
		}
		for name, want := range map[string]string{
			"Cache-Control":   "no-store",
			"Referrer-Policy": "no-referrer",
			"X-Frame-Options": "DENY",
		} {
			if got.Header.Get(name) != want {
				t.Errorf("%s is %q", name, got.Header.Get(name))
			}
		}
		policy := got.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("the policy is %q", policy)
		}
		cookie := strings.ToLower(got.Header.Get("Set-Cookie"))
		for _, part := range []string{strings.ToLower(kit.BrowserCookie()) + "=", "; path=/;", "httponly", "secure", "samesite=lax"} {
			if !strings.HasPrefix(kit.BrowserCookie(), "__Host-") || !strings.Contains(cookie+";", part) {
				t.Errorf("at localhost the cookie is %q, which lacks %q", cookie, part)
			}
		}
	}
}

func TestCookieName_PromisesWhatThePlaceCanKeep(t *testing.T) {
	for public, prefix := range map[string]string{
		"http://192.0.2.1:8080":      "tutela",
		"http://localhost:8080":      "__Host-",
		"http://localhost/below":     "__Secure-",
		"https://mfa.example.org":    "__Host-",
		"https://example.org/tutela": "__Secure-",
	} {
		_, kit, _ := mounted(t, public)
		if !strings.HasPrefix(kit.BrowserCookie(), prefix) {
			t.Errorf("%s: %s", public, kit.BrowserCookie())
		}
	}
}

// Bounds of what a first page loads, compressed, in bytes.
const (
	mostInAll         = 60 << 10
	mostStyle         = 20 << 10
	mostWithoutScript = 25 << 10
)

func TestAssets_AreSmallCompressedAndMayBeKept(t *testing.T) {
	h, _, _ := mounted(t)
	load := func(path, encoding string) (size int, header http.Header) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL+path, nil)
		check.Must(t, err)
		req.Header.Set("Accept-Encoding", encoding)
		resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
		check.Must(t, err)
		content, err := io.ReadAll(resp.Body)
		check.Must(t, err)
		check.Must(t, resp.Body.Close())
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
		return len(content), resp.Header
	}
	html, _ := load("/mfa/help", "identity")
	for _, encoding := range []string{"br", "gzip"} {
		sizes := map[string]int{}
		for _, name := range []string{"style.css", "page.js", "trust.js", "htmx.js", "webauthn.js", "passkey.js", "mark.svg"} {
			size, header := load("/mfa/"+name, encoding)
			sizes[name] = size
			if header.Get("Content-Encoding") != encoding || !strings.Contains(header.Get("Cache-Control"), "immutable") || !strings.Contains(header.Get("Vary"), "Accept-Encoding") {
				t.Errorf("%s: %v", name, header)
			}
		}
		all := html
		for _, size := range sizes {
			all += size
		}
		if encoding == "br" && (sizes["style.css"] > mostStyle || all > mostInAll || html+sizes["style.css"]+sizes["mark.svg"] > mostWithoutScript) {
			t.Errorf("by %s the first page has %d bytes of HTML, and %v", encoding, html, sizes)
		}
	}
}

func TestBrand_IsOnEveryPage(t *testing.T) {
	h, _, _ := mounted(t)
	c := webtest.NewClient(t, h.URL, nil)
	if plain := c.Get("/mfa/help"); !strings.Contains(plain.Body, "Hafenlicht") || strings.Contains(plain.Body, "tel:") || strings.Contains(plain.Body, "brand.css") {
		t.Errorf("nothing is set, and the page is %s", plain.Body)
	}
	if c.Get("/mfa/logo").Status != http.StatusNotFound {
		t.Error("there is a logo that nobody set")
	}
	h.Set("brand.name", "Bank <b>")
	h.Set("brand.helpdesk_phone", "+49 (40) 5550-120")
	h.Set("brand.colour", "#7a1f5c")
	h.Set("brand.logo", "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=")
	shown := c.Get("/mfa/help")
	for _, part := range []string{"Bank &lt;b&gt;", `href="tel:&#43;49405550120"`, "brand.css?v=7a1f5c", "logo?v="} {
		if !strings.Contains(shown.Body, part) {
			t.Errorf("the page lacks %s: %s", part, shown.Body)
		}
	}
	logo := c.Get("/mfa/logo")
	if logo.Header.Get("Content-Type") != "image/svg+xml" || !strings.Contains(logo.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%v", logo.Header)
	}
	if style := c.Get("/mfa/brand.css"); !strings.Contains(style.Body, "--brand:#7a1f5c") {
		t.Errorf("the style is %s", style.Body)
	}
}

func TestTexts_HaveDatesOfTheLanguage(t *testing.T) {
	at := time.Date(2026, time.March, 5, 14, 34, 0, 0, time.UTC)
	for lang, want := range map[string]string{"en": "Thursday, 5 March 2026, 14:34 UTC", "de": "Donnerstag, 5. März 2026, 14:34 UTC"} {
		texts := page.TextsFor(lang)
		if got := string(texts.When(at)); !strings.Contains(got, want) || !strings.Contains(got, `datetime="2026-03-05T14:34:00Z"`) {
			t.Errorf("%s: %s", lang, got)
		}
	}
}
