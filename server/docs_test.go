package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"tutela/server"
)

// The page loads nothing from other hosts and has no script in it, so that its policy lets no other run; and what it names
// is served.
func TestDocs_LoadFromThisServerAlone(t *testing.T) {
	r := start(t, server.Config{}, mountThings)
	page := r.ask(http.MethodGet, "/docs", "")
	policy := page.header.Get("Content-Security-Policy")
	for _, wanted := range []string{"default-src 'none'", "script-src 'self';", "connect-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, wanted) {
			t.Errorf("the policy has no %s: %s", wanted, policy)
		}
	}
	if strings.Contains(policy, "unsafe-eval") || regexp.MustCompile(`<script[^>]*>[^<]|\son\w+=|javascript:|//`).MatchString(page.body) {
		t.Errorf("the page has a script in it, or names another host:\n%s", page.body)
	}
	named := regexp.MustCompile(`(?:src|href|spec-url)="([^"]+)"`).FindAllStringSubmatch(page.body, -1)
	if len(named) < 4 {
		t.Fatalf("the page names %v", named)
	}
	for _, name := range named {
		if got := r.ask(http.MethodGet, "/"+name[1], ""); got.status != http.StatusOK || got.body == "" {
			t.Errorf("%s: %d", name[1], got.status)
		}
	}
	if viewer := r.ask(http.MethodGet, "/docs/rapidoc.js", ""); !strings.Contains(viewer.body, "rapi-doc") {
		t.Errorf("the viewer is %d bytes of something else", len(viewer.body))
	}
	for _, path := range []string{"/schemas/Thing.json", "/openapi.yaml"} {
		if got := r.ask(http.MethodGet, path, ""); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}
