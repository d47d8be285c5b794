package enrollment

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"tutela/recovery/user"
)

// linkIn finds what a page loads and links to, and where its forms go.
var linkIn = regexp.MustCompile(`(href|src|action)="([^"#][^"]*)"`)

// Base URLs that end in a slash make two, and the SDKs append a mount of their own. The links of a page are relative, so
// they lead back through whatever stood before it.
func TestPages_RelativeLinksHoldUnderAnyMountAndDoubledSlashes(t *testing.T) {
	h := newHouse(t)
	for _, base := range []string{"", "/", "//", "/appliance-mfa", "//appliance-mfa", "/appliance-mfa/", "//appliance-mfa///"} {
		for _, end := range []string{"", "/"} {
			b := h.browser()
			ticket := h.ticket(user.User{ID: "maria"})
			at := base + "/mfa/enrollment" + end + "?ticket=" + ticket
			links := b.follow(at, b.do("GET", at, ""), ticket)
			// Start sends the browser on to the page with the QR code.
			scan := base + "/mfa/enrollment/scan"
			links += b.follow(scan, b.do("POST", base+"/mfa/enrollment/start"+end, "ticket="+ticket), ticket)
			scan += end + "?ticket=" + ticket
			links += b.follow(scan, b.do("GET", scan, ""), ticket)
			if links < 8 {
				t.Errorf("%s: %d links", at, links)
			}
		}
	}
}

// follow asks for all that a page leads to on this server, as a browser resolves it, and returns how much that is.
func (b *browser) follow(at string, p answer, ticket string) (links int) {
	b.t.Helper()
	if p.status != http.StatusOK {
		b.t.Errorf("%s: %d %s", at, p.status, p.body)
	}
	here, err := url.Parse(b.Base + at)
	b.must(err)
	for _, found := range linkIn.FindAllStringSubmatch(p.body, -1) {
		to, err := here.Parse(html.UnescapeString(found[2]))
		b.must(err)
		if to.Scheme != "http" {
			continue // of the app, or data
		}
		links++
		path := strings.TrimPrefix(to.String(), b.Base)
		got := answer{status: http.StatusOK}
		if found[1] != "action" {
			got = b.do("GET", path, "")
		} else if !strings.HasSuffix(path, "/code") { // showing the code wants a phone that has enrolled
			got = b.do("POST", path, "ticket="+ticket)
		}
		if got.status != http.StatusOK {
			b.t.Errorf("%s leads to %s: %d", at, to, got.status)
		}
	}
	return links
}
