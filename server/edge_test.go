package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"

	"tutela/server"
)

func TestEdge_ServesTheSameHandlersUnderTheSecondMount(t *testing.T) {
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Get("/api/things/:id", func(c *fiber.Ctx) error {
			return c.JSON([]string{c.Params("id"), c.Query("q"), c.OriginalURL()})
		})
	})
	const want = `["a%2Fb","1 2","/api/things/a%2Fb?q=1+2"]`
	for _, path := range []string{"/api/things/a%2Fb?q=1+2", "/appliance-mfa/api/things/a%2Fb?q=1+2"} {
		if got := r.ask("GET", path, ""); got.body != want {
			t.Errorf("%s: %s", path, got.body)
		}
	}
}

func TestEdge_SlashesThatBaseURLsAddDoNotMatter(t *testing.T) {
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Get("/api/things/:id", func(c *fiber.Ctx) error { return c.JSON([]string{c.Params("id"), c.Query("q")}) })
		s.App().Put("/api/device-accounts/:id/backup", func(c *fiber.Ctx) error { return c.JSON(len(c.Body())) })
		s.App().Get("/mfa/broken", func(*fiber.Ctx) error { return errors.New("broken") })
	})
	for _, path := range []string{
		"/api/things/a%2Fb?q=/1/", "/api/things/a%2Fb/?q=/1/", "//api/things/a%2Fb?q=/1/", "///api/things/a%2Fb/?q=/1/",
		"//appliance-mfa/api/things/a%2Fb/?q=/1/", "/appliance-mfa//api/things/a%2Fb?q=/1/", "//appliance-mfa//api/things/a%2Fb?q=/1/",
	} {
		got := parse(t, r.send("GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
		if got.body != `["a%2Fb","/1/"]` {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	for _, path := range []string{"/mfa/broken/", "//mfa/broken", "/appliance-mfa//mfa/broken/?x"} {
		got := parse(t, r.send("GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
		if !strings.HasPrefix(got.body, `{"error":"server_error"`) {
			t.Errorf("%s: in the body of another API: %s", path, got.body)
		}
	}
	filler := strings.Repeat("x", 1<<20)
	for _, path := range []string{"//api/device-accounts/dev_1/backup/", "//appliance-mfa//api/device-accounts/dev_1/backup"} {
		got := parse(t, r.send("PUT "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1048576\r\n\r\n"+filler))
		if got.body != "1048576" {
			t.Errorf("%s: the bound of another body: %d %s", path, got.status, got.body)
		}
	}
}

func TestEdge_HTTPSIsForEverWherePeopleComeByIt(t *testing.T) {
	for public, want := range map[string]string{
		"https://mfa.example":      "max-age=31536000",
		"https://mfa.example:8443": "max-age=31536000",
		"http://mfa.example":       "",
		"https://localhost:8443":   "",
		"https://127.0.0.1:8443":   "",
		"https://[::1]:8443":       "",
	} {
		r := start(t, server.Config{PublicURLs: []string{public, "https://second.example"}}, nil)
		for _, path := range []string{"/healthz", "/api/nothing"} {
			if got := r.ask("GET", path, "").header.Get("Strict-Transport-Security"); got != want {
				t.Errorf("%s: %q", public, got)
			}
		}
	}
}

func TestEdge_NamesEachCallItself(t *testing.T) {
	r := start(t, server.Config{}, nil)
	first := r.ask("GET", "/healthz", "", "X-Request-Id", "planted").header.Get("X-Request-Id")
	second := r.ask("GET", "/healthz", "").header.Get("X-Request-Id")
	if first == second || first == "planted" || len(first) < 16 {
		t.Errorf("ids %q and %q", first, second)
	}
}

func TestEdge_AnswersAreNotKeptAndNotGuessedAt(t *testing.T) {
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Get("/kept", func(c *fiber.Ctx) error {
			c.Set("Cache-Control", "max-age=60")
			return nil
		})
	})
	header := r.ask("GET", "/nothing", "").header
	if header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Date") == "" {
		t.Errorf("header %v", header)
	}
	if got := r.ask("GET", "/kept", "").header.Values("Cache-Control"); !cmp.Equal(got, []string{"max-age=60"}) {
		t.Errorf("Cache-Control: %v", got)
	}
}

func TestEdge_TheLogHasNoQueryNoHeaderAndNoBody(t *testing.T) {
	r := start(t, server.Config{}, nil)
	got := r.ask("POST", "/api/enroll?ticket=planted1", "planted2", "Authorization", `Ticket id="planted3"`, "X-Other", "planted4")
	log := r.log.String()
	if strings.Contains(log, "planted") {
		t.Errorf("the log has a secret: %s", log)
	}
	for _, part := range []string{got.header.Get("X-Request-Id"), `"path":"/api/enroll"`, `"status":404`, `"caller":"127.0.0.1"`} {
		if !strings.Contains(log, part) {
			t.Errorf("the log lacks %s: %s", part, log)
		}
	}
	r.ask("GET", "/healthz", "")
	if strings.Contains(r.log.String(), "/healthz") {
		t.Error("a look at the health is logged")
	}
}

func TestEdge_PagesOfRegisteredClientsMayCallAcrossOrigins(t *testing.T) {
	const ours = "https://login.example"
	r := start(t, server.Config{Origin: func(o string) bool { return o == ours }}, func(s *server.Server) {
		ok := func(c *fiber.Ctx) error { return c.SendString("ok") }
		for _, path := range []string{"/api/start-flow", "/rich-consents/x", "/mfa/challenge", "/oauth/token", "/api/v2/users"} {
			s.App().Post(path, ok)
		}
	})
	for _, c := range []struct {
		path, origin string
		allowed      bool
	}{
		{"/api/start-flow", ours, true},
		{"/appliance-mfa/api/start-flow", ours, true},
		{"/rich-consents/x", ours, true},
		{"/mfa/challenge", ours, true},
		{"/api/start-flow", "https://other.example", false},
		{"/api/start-flow", "null", false},
		{"/api/v2/users", ours, false},
		{"/oauth/token", ours, false},
	} {
		want := ""
		if c.allowed {
			want = c.origin
		}
		preflight := r.ask("OPTIONS", c.path, "", "Origin", c.origin, "Access-Control-Request-Method", "POST")
		if got := preflight.header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("preflight of %s from %s: allowed %q", c.path, c.origin, got)
		}
		if c.allowed {
			wanted := http.Header{
				"Access-Control-Allow-Headers": {
					"authorization, content-type, auth0-client, x-global-tracking-id, mfa-dpop, if-match, if-none-match, backup-manifest, restore-proof",
				},
				"Access-Control-Allow-Methods": {"GET, POST, PUT, PATCH, DELETE"},
				"Vary":                         {"Origin"},
			}
			for name, values := range wanted {
				if diff := cmp.Diff(values, preflight.header.Values(name)); diff != "" || preflight.status != 204 {
					t.Errorf("preflight of %s: %d, %s %s", c.path, preflight.status, name, diff)
				}
			}
		}
		call := r.ask("POST", c.path, "", "Origin", c.origin)
		if got := call.header.Get("Access-Control-Allow-Origin"); got != want || call.body != "ok" {
			t.Errorf("call of %s from %s: allowed %q, %s", c.path, c.origin, got, call.body)
		}
		if call.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Error("credentials are allowed")
		}
	}
}
