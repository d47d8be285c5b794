package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"

	"tutela/server"
)

// running is a server that serves on loopback until its test ends.
type running struct {
	*server.Server
	t      *testing.T
	addr   string
	url    string
	client *http.Client
	log    *lines
	stop   context.CancelFunc // begins the shutdown
	ended  chan error         // what Serve returned
}

// lines is a log that a test can read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start serves with config and what mount mounts.
func start(t *testing.T, config server.Config, mount func(s *server.Server)) *running {
	t.Helper()
	r := &running{t: t, log: new(lines), ended: make(chan error, 1)}
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	config.Log = slog.New(slog.NewJSONHandler(r.log, nil))
	s, err := server.New(config)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	if mount != nil {
		mount(s)
	}
	addr, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.addr = addr.String()
	r.url = "http://" + addr.String()
	transport := &http.Transport{}
	r.client = &http.Client{Transport: transport}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- s.Serve(ctx)
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		<-done
	})
	return r
}

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request; header are alternating names and values.
func (r *running) ask(method, path, body string, header ...string) answer {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	return read(r.t, resp)
}

func read(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Close {
		resp.Header.Set("Connection", "close") // the reader took it out
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// dial opens a bare connection, which fails the test rather than hang it.
func (r *running) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// send writes raw bytes on a connection of its own and returns all that comes back.
func (r *running) send(raw string) string {
	r.t.Helper()
	c := r.dial()
	if _, err := io.WriteString(c, raw); err != nil {
		r.t.Fatal(err)
	}
	back, err := io.ReadAll(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(back)
}

// wantJSON compares a body with what is wanted, as JSON.
func wantJSON(t *testing.T, body, want string) {
	t.Helper()
	var got, expected any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("no JSON: %v in %q", err, body)
	}
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestServe_StopsWithItsContext(t *testing.T) {
	r := start(t, server.Config{}, nil)
	if got := r.ask("GET", "/healthz", ""); got.status != 200 {
		t.Fatalf("status %d", got.status)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if _, err := net.Dial("tcp", r.addr); err == nil {
		t.Error("it still listens")
	}
	r.ended <- nil
}

func TestServe_TellsWhyItCannotListen(t *testing.T) {
	r := start(t, server.Config{}, nil)
	s, err := server.New(server.Config{Listen: r.addr})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "listen on "+r.addr) {
		t.Errorf("err = %v", err)
	}
}

func TestServe_ShutdownLetsWaitersAnswer(t *testing.T) {
	entered := make(chan struct{})
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Get("/api/wait", func(c *fiber.Ctx) error {
			wait, leave, ok := s.Waits().Enter(c.UserContext(), "k", 1)
			defer leave()
			if !ok {
				return errors.New("no room")
			}
			close(entered)
			<-wait.Done()
			if !server.Cut(wait) {
				return context.Cause(wait)
			}
			return c.SendString("[]")
		})
	})
	answers := make(chan answer)
	go func() { answers <- r.ask("GET", "/api/wait", "") }()
	<-entered
	r.stop()
	got := <-answers
	if got.status != 200 || got.body != "[]" {
		t.Errorf("the waiting caller got %d %q", got.status, got.body)
	}
	if got.header.Get("Connection") != "close" {
		t.Error("the connection is offered for more")
	}
}

func TestServe_ShutdownLetsRunningCallsFinish(t *testing.T) {
	entered := make(chan struct{})
	release := make(chan struct{})
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Get("/api/slow", func(c *fiber.Ctx) error {
			close(entered)
			<-release
			return c.SendString("done")
		})
	})
	answers := make(chan answer)
	go func() { answers <- r.ask("GET", "/api/slow", "") }()
	<-entered
	r.stop()
	for conn, err := net.Dial("tcp", r.addr); err == nil; conn, err = net.Dial("tcp", r.addr) {
		_ = conn.Close() // until the shutdown has begun
	}
	close(release)
	if got := <-answers; got.body != "done" {
		t.Errorf("the running call got %d %q", got.status, got.body)
	}
}

func TestServe_ShutdownCutsWhatOutlivesItsGrace(t *testing.T) {
	entered := make(chan struct{})
	release := make(chan struct{})
	r := start(t, server.Config{Limits: server.Limits{Grace: time.Millisecond}}, func(s *server.Server) {
		s.App().Get("/api/stuck", func(*fiber.Ctx) error {
			close(entered)
			<-release
			return nil
		})
	})
	defer close(release)
	c := r.dial()
	if _, err := io.WriteString(c, "GET /api/stuck HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	r.ended <- nil
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("the stuck call was answered with %d bytes", n)
	}
}
