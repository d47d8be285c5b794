package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"

	"tutela/server"
	"tutela/storage/meter"
)

// figures are the series of a figure that are not zero, by their words: the value of a counter or a gauge, and of a histogram
// how many values.
func figures(t *testing.T, set *meter.Set, name string) map[string]float64 {
	t.Helper()
	list := map[string]float64{}
	for _, s := range set.Samples(t.Context()) {
		if n := s.Value + float64(s.Count); s.Figure.Name == name && n > 0 {
			if s.Figure.Kind == meter.KindHistogram {
				n = float64(s.Count)
			}
			list[strings.Join(s.Words, " ")] = n
		}
	}
	return list
}

func TestFigures_CallsAreCountedByRouteAndStatus(t *testing.T) {
	set := meter.NewSet()
	r := start(t, server.Config{Meter: set}, func(s *server.Server) {
		s.App().Get("/api/things/:id", func(c *fiber.Ctx) error { return c.SendStatus(http.StatusNoContent) })
		s.App().Put("/api/things/:id", func(*fiber.Ctx) error { panic("planted") })
		s.App().Post("/api/things", func(c *fiber.Ctx) error { return c.SendStatus(http.StatusTeapot) })
		s.Door("PUT", "/api/things/{id}", func(a server.Asked) (any, error) {
			if a.Header("Let-Me") == "in" {
				return nil, nil
			}
			return nil, &server.Problem{Status: http.StatusUnauthorized, Code: "no", Message: "no"}
		})
	})
	r.ask("GET", "/api/things/1", "")
	r.ask("GET", "/appliance-mfa//api/things/2/?q", "")
	r.ask("POST", "/api/things", "{}")
	r.ask("PUT", "/api/things/3", "{}", "Let-Me", "in")
	r.ask("PUT", "/api/things/3", "{}")
	r.ask("GET", "/api/other/4", "")
	r.ask("DELETE", "/api/things/5", "")
	r.ask("BREW", "/api/things/6", "")
	r.send("GARBAGE\r\n\r\n")
	want := map[string]float64{
		"GET /api/things/{id} 204": 2,
		"POST /api/things other":   1,
		"PUT /api/things/{id} 500": 1,
		"PUT /api/things/{id} 401": 1,
		"GET none 404":             1,
		"DELETE none 405":          1,
		"other none 405":           1,
		"GET none 400":             1,
	}
	if diff := cmp.Diff(want, figures(t, set, "tutela_http_requests_total")); diff != "" {
		t.Error(diff)
	}
	took := figures(t, set, "tutela_http_request_duration_seconds")
	if took["GET /api/things/{id}"] != 2 || took["PUT /api/things/{id}"] != 2 || took["GET none"] != 2 {
		t.Errorf("timed %v", took)
	}
}

// A call that waits says nothing of how fast the server is.
func TestFigures_HeldCallsAreTimedApart(t *testing.T) {
	h := startHoldingWith(t, server.Config{Meter: meter.NewSet()})
	answers := make(chan answer)
	go func() { answers <- h.ask("GET", "/api/plain", "") }()
	<-h.held
	if now := figures(t, h.meter, "tutela_http_waiting_calls")[""]; now != 1 {
		t.Errorf("%v calls wait", now)
	}
	h.over.Store(true)
	h.wake()
	<-answers
	held := figures(t, h.meter, "tutela_http_held_duration_seconds")[""]
	timed := figures(t, h.meter, "tutela_http_request_duration_seconds")
	if held != 1 || len(timed) > 0 || figures(t, h.meter, "tutela_http_requests_total")["GET /api/plain 200"] != 1 {
		t.Errorf("%v held, %v timed", held, timed)
	}
}
