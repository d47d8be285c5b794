package server_test

import (
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
		for _, path := range []string{"/api/start-flow", "/mfa/challenge", "/oauth/token", "/api/v2/users"} {
			s.App().Post(path, ok)
		}
	})
	for _, c := range []struct {
		path, origin string
		allowed      bool
	}{
		{"/api/start-flow", ours, true},
		{"/appliance-mfa/api/start-flow", ours, true},
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
				"Access-Control-Allow-Headers": {"authorization, content-type, auth0-client, x-global-tracking-id"},
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
