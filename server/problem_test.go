package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"tutela/server"
	"tutela/storage"
)

func TestProblem_UnknownPathsAndMethodsAreAnsweredInTheBodyOfTheirAPI(t *testing.T) {
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Post("/oauth/token", func(c *fiber.Ctx) error { return nil })
		s.App().Post("/api/enroll", func(c *fiber.Ctx) error { return nil })
	})
	const noPath = `{"statusCode":404,"error":"Not Found","message":"no such path","errorCode":"not_found"}`
	const noMethod = `{"statusCode":405,"error":"Method Not Allowed","message":"this path does not take this method","errorCode":"method_not_allowed"}`
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/", 404, noPath},
		{"GET", "/nothing", 404, noPath},
		{"GET", "/Healthz", 404, noPath},
		{"POST", "/api/nothing", 404, noPath},
		{"POST", "/appliance-mfa/api/nothing", 404, noPath},
		{"POST", "/appliance-mfa", 404, noPath},
		{"POST", "/appliance-mfa/appliance-mfa/api/enroll", 404, noPath},
		{"GET", "/mfauthors", 404, noPath},
		{"GET", "/api/v2/nothing", 404, `{"statusCode":404,"error":"Not Found","message":"Not Found","errorCode":"not_found"}`},
		{"GET", "/mfa/nothing", 404, `{"error":"invalid_request","error_description":"no such path"}`},
		{"GET", "/appliance-mfa/mfa/nothing", 404, `{"error":"invalid_request","error_description":"no such path"}`},
		{"GET", "/oauth/nothing?a=b", 404, `{"error":"invalid_request","error_description":"no such path"}`},
		{"GET", "/oauth/token", 405, `{"error":"invalid_request","error_description":"this path does not take this method"}`},
		{"DELETE", "/api/enroll", 405, noMethod},
		{"TRACE", "/api/enroll", 405, noMethod},
		{"BREW", "/api/enroll", 405, noMethod},
		{"OPTIONS", "/api/enroll", 405, noMethod},
	} {
		got := r.ask(c.method, c.path, "")
		if got.status != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, got.status, c.status)
		}
		wantJSON(t, got.body, c.body)
		if kind := got.header.Get("Content-Type"); kind != "application/json" {
			t.Errorf("%s %s: content type %q", c.method, c.path, kind)
		}
	}
	if allow := r.ask("DELETE", "/api/enroll", "").header.Get("Allow"); allow != "POST" {
		t.Errorf("Allow: %q", allow)
	}
}

func TestProblem_BadTargetsAndEncodedBodiesAreRefused(t *testing.T) {
	r := start(t, server.Config{}, func(s *server.Server) {
		huma.Get(s.API(), "/api/things/{id}", func(context.Context, *struct {
			ID string `path:"id"`
		}) (*struct{}, error) {
			return nil, nil
		})
	})
	for target, code := range map[string]string{
		"/api/things/%zz":   "invalid_uri",
		"/api/things/%":     "invalid_uri",
		"/api/things/1?a=%": "invalid_query_string",
	} {
		got := parse(t, r.send("GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
		if got.status != 400 || !strings.Contains(got.body, `"errorCode":"`+code+`"`) {
			t.Errorf("%s: %d %s", target, got.status, got.body)
		}
	}
	got := parse(t, r.send("GET /mfa/%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	wantJSON(t, got.body, `{"error":"invalid_request","error_description":"the path does not parse"}`)
	for _, encoding := range []string{"gzip", "br", "deflate", "identity, gzip"} {
		if got := r.ask("POST", "/api/things/1", "x", "Content-Encoding", encoding); got.status != 415 {
			t.Errorf("%s: status %d", encoding, got.status)
		}
	}
}

func TestProblem_APanicShowsOnlyTheRequestsID(t *testing.T) {
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Get("/api/plain", func(*fiber.Ctx) error { panic("planted") })
		huma.Get(s.API(), "/api/typed", func(context.Context, *struct{}) (*struct{}, error) { panic("planted") })
		s.App().Get("/mfa/plain", func(*fiber.Ctx) error { panic("planted") })
	})
	for _, path := range []string{"/api/plain", "/api/typed"} {
		got := r.ask("GET", path, "")
		id := got.header.Get("X-Request-Id")
		wantJSON(t, got.body, fmt.Sprintf(
			`{"statusCode":500,"error":"Internal Server Error","message":"internal error; request %s","errorCode":"internal_error"}`, id))
		if log := r.log.String(); !strings.Contains(log, id) || !strings.Contains(log, "problem_test.go") {
			t.Error("the log has no stack of the request")
		}
	}
	got := r.ask("GET", "/mfa/plain", "")
	wantJSON(t, got.body, fmt.Sprintf(`{"error":"server_error","error_description":"internal error; request %s"}`, got.header.Get("X-Request-Id")))
}

// The errors of handlers, mounted plain and typed: both ways a caller is told the same.
func TestProblem_ErrorsOfHandlersBecomeWireErrors(t *testing.T) {
	var current error
	known := storage.NewError(storage.Denied, "the \"code\" is wrong")
	r := start(t, server.Config{}, func(s *server.Server) {
		for _, at := range []string{"/api", "/mfa", "/api/v2"} {
			s.App().Get(at+"/plain", func(*fiber.Ctx) error { return current })
			huma.Get(s.API(), at+"/typed", func(context.Context, *struct{}) (*struct{}, error) { return nil, current })
		}
		s.Translate(server.LoginAPI, func(err error) *server.Problem {
			if errors.Is(err, known) {
				return &server.Problem{
					Status:  403,
					Code:    "invalid_grant",
					Message: server.Message(err),
					Header:  map[string]string{"WWW-Authenticate": "Basic"},
				}
			}
			return nil
		})
	})
	for name, c := range map[string]struct {
		err    error
		path   string
		status int
		body   string // %s is the request's id
		header [2]string
	}{
		"by code": {
			known, "/api", 403,
			`{"statusCode":403,"error":"Forbidden","message":"the \"code\" is wrong","errorCode":"insufficient_scope"}`, [2]string{},
		},
		"by the table": {
			fmt.Errorf("grant: %w", known), "/mfa", 403,
			`{"error":"invalid_grant","error_description":"the 'code' is wrong"}`, [2]string{"WWW-Authenticate", "Basic"},
		},
		"limited, rounded up": {
			storage.Kept(storage.NewError(storage.Limited, "too many").After(1200 * time.Millisecond)), "/mfa", 429,
			`{"error":"too_many_attempts","error_description":"too many"}`, [2]string{"Retry-After", "2"},
		},
		"limited, for an unknown time": {
			storage.NewError(storage.Limited, "too many"), "/api/v2", 429,
			`{"statusCode":429,"error":"Too Many Requests","message":"too many","errorCode":"too_many_attempts"}`, [2]string{"Retry-After", "1"},
		},
		"a problem with more members": {
			fmt.Errorf("put: %w", &server.Problem{
				Status:  412,
				Code:    "backup_conflict",
				Message: "m",
				Members: map[string]any{"generation": 3},
			}), "/api", 412,
			`{"statusCode":412,"error":"Precondition Failed","message":"m","errorCode":"backup_conflict","generation":3}`, [2]string{},
		},
		"internal": {
			errors.New("planted secret"), "/api", 500,
			`{"statusCode":500,"error":"Internal Server Error","message":"internal error; request %s","errorCode":"internal_error"}`, [2]string{},
		},
		"internal, in the login API": {
			errors.New("planted secret"), "/mfa", 500,
			`{"error":"server_error","error_description":"internal error; request %s"}`, [2]string{},
		},
		"the store is away": {
			storage.ErrUnavailable, "/mfa", 503,
			`{"error":"temporarily_unavailable","error_description":"the store is not available; try again later"}`, [2]string{"Retry-After", "1"},
		},
		"the outcome is unknown": {
			fmt.Errorf("redeem: %w: %w", storage.ErrOutcomeUnknown, errors.New("planted secret")), "/api", 503,
			`{"statusCode":503,"error":"Service Unavailable","message":"it is not known whether this was done; ask again with the same request",` +
				`"errorCode":"unknown_outcome"}`, [2]string{"Retry-After", "1"},
		},
		"the outcome is unknown, in the login API": {
			storage.ErrOutcomeUnknown, "/mfa", 503,
			`{"error":"unknown_outcome","error_description":"it is not known whether this was done; ask again with the same request"}`,
			[2]string{"Retry-After", "1"},
		},
		"given up": {
			fmt.Errorf("wait: %w", context.Canceled), "/api/v2", 503,
			`{"statusCode":503,"error":"Service Unavailable","message":"the call took too long; try again","errorCode":"unavailable"}`, [2]string{},
		},
	} {
		for _, kind := range []string{"/plain", "/typed"} {
			t.Run(name+kind, func(t *testing.T) {
				r.t = t
				current = c.err
				got := r.ask("GET", c.path+kind, "")
				if got.status != c.status {
					t.Errorf("status %d, want %d", got.status, c.status)
				}
				wantJSON(t, got.body, strings.Replace(c.body, "%s", got.header.Get("X-Request-Id"), 1))
				if c.header[0] != "" && got.header.Get(c.header[0]) != c.header[1] {
					t.Errorf("%s: %q", c.header[0], got.header.Get(c.header[0]))
				}
				if c.status == 500 && !strings.Contains(r.log.String(), got.header.Get("X-Request-Id")+`","err":"planted secret"`) {
					t.Error("the error is not in the log")
				}
			})
		}
	}
}
