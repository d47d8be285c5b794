package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
)

const tooLargeBody = `{"statusCode":413,"error":"Payload Too Large","message":"the body is too large","errorCode":"body_too_large"}`

func TestListener_OversizeBodyGetsItsAnswer(t *testing.T) {
	r := start(t, server.Config{}, nil)
	got := r.ask("POST", "/api/enroll", strings.Repeat("x", 8<<20))
	if got.status != 413 {
		t.Fatalf("status %d", got.status)
	}
	wantJSON(t, got.body, tooLargeBody)
}

func TestListener_OversizeBodyOfABareSocketGetsItsAnswer(t *testing.T) {
	const size = 8 << 20
	filler := strings.Repeat("x", size)
	for name, request := range map[string]string{
		"with a length": fmt.Sprintf("PUT /appliance-mfa/api/device-accounts/dev_1/backup HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, filler),
		"in one chunk":  fmt.Sprintf("POST /api/enroll HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", size, filler),
		"in many chunks": "POST /api/enroll HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
			strings.Repeat(fmt.Sprintf("2000\r\n%s\r\n", filler[:0x2000]), size/0x2000) + "0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, server.Config{}, nil)
			got := parse(t, r.send(request))
			if got.status != 413 || got.header.Get("Connection") != "close" {
				t.Errorf("status %d, connection %q", got.status, got.header.Get("Connection"))
			}
			wantJSON(t, got.body, tooLargeBody)
		})
	}
}

func TestListener_UnreadableRequestsAreAnsweredInTheBodyOfTheirAPI(t *testing.T) {
	r := start(t, server.Config{}, nil)
	long := strings.Repeat("h", 20<<10)
	huge := strings.Repeat("x", 100<<10)
	for name, c := range map[string]struct {
		raw    string
		status int
		body   string
	}{
		"header too large, app": {
			"GET /api/x HTTP/1.1\r\nHost: x\r\nX-Long: " + long + "\r\n\r\n", 431,
			`{"statusCode":431,"error":"Request Header Fields Too Large","message":"the header is too large","errorCode":"header_too_large"}`,
		},
		"header too large, login": {
			"POST /oauth/token HTTP/1.1\r\nHost: x\r\nX-Long: " + long + "\r\n\r\n", 431,
			`{"error":"invalid_request","error_description":"the header is too large"}`,
		},
		"line too large": {
			"GET /mfa/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n", 431,
			`{"error":"invalid_request","error_description":"the header is too large"}`,
		},
		"body too large, login": {
			"POST /bc-authorize HTTP/1.1\r\nHost: x\r\nContent-Length: 102400\r\n\r\n" + huge, 413,
			`{"error":"invalid_request","error_description":"the body is too large"}`,
		},
		"chunk too large, login": {
			"POST /mfa/start HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n19000\r\n" + huge + "\r\n0\r\n\r\n", 413,
			`{"error":"invalid_request","error_description":"the body is too large"}`,
		},
		"chunk that is none": {
			"POST /oauth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400,
			`{"error":"invalid_request","error_description":"the request cannot be read"}`,
		},
		"no HTTP": {
			"\x16\x03\x01\x02\x00 hello\r\n\r\n", 400,
			`{"statusCode":400,"error":"Bad Request","message":"the request cannot be read","errorCode":"invalid_body"}`,
		},
		"bad length": {
			"POST /api/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400,
			`{"statusCode":400,"error":"Bad Request","message":"the request cannot be read","errorCode":"invalid_body"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			got := parse(t, r.send(c.raw))
			if got.status != c.status {
				t.Errorf("status %d, want %d", got.status, c.status)
			}
			wantJSON(t, got.body, c.body)
			if got.header.Get("X-Request-Id") == "" || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("header %v", got.header)
			}
		})
	}
}

func TestListener_OversizeAfterContinueIsToldInTheBodyOfItsAPI(t *testing.T) {
	r := start(t, server.Config{}, nil)
	c := r.dial()
	reader := bufio.NewReader(c)
	if _, err := io.WriteString(c, "POST /oauth/token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := reader.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := fmt.Fprintf(c, "%x\r\n%s\r\n0\r\n\r\n", 100<<10, strings.Repeat("x", 100<<10)); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, strings.TrimPrefix(string(rest), "\r\n"))
	wantJSON(t, got.body, `{"error":"invalid_request","error_description":"the body is too large"}`)
}

func TestListener_ACallerWhoAnnouncesTooMuchIsNotToldToGoOn(t *testing.T) {
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Post("/oauth/token", func(c *fiber.Ctx) error { return c.JSON(len(c.Body())) })
	})
	const head = "POST /oauth/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: "
	got := parse(t, r.send(head+"65537\r\n\r\n"))
	if got.status != 413 {
		t.Errorf("status %d", got.status)
	}
	wantJSON(t, got.body, `{"error":"invalid_request","error_description":"the body is too large"}`)
	if raw := r.send(head + "5\r\n\r\nhello"); !strings.HasPrefix(raw, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200") {
		t.Errorf("a body within the limit: %q", raw)
	}
}

func TestListener_ABackupMayBeAMebibyte(t *testing.T) {
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Put("/api/device-accounts/:id/backup", func(c *fiber.Ctx) error {
			return c.JSON(len(c.Body()))
		})
	})
	for _, path := range []string{"/api/device-accounts/dev_1/backup", "/appliance-mfa/api/device-accounts/dev_1/backup"} {
		if got := r.ask("PUT", path, strings.Repeat("x", 1<<20)); got.body != "1048576" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// A caller that sends a byte now and then does not hold its connection for longer than the limit.
func TestListener_CutsSlowSenders(t *testing.T) {
	limits := server.Limits{HeaderTime: 50 * time.Millisecond, BodyTime: 50 * time.Millisecond, IdleTime: 50 * time.Millisecond}
	for name, c := range map[string]struct{ begin, drop string }{
		"of a header":            {"POST /oauth/token HTTP/1.1\r\n", "X-A: b\r\n"},
		"of a body":              {"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n", "x"},
		"of a body in chunks":    {"POST /oauth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
		"of a chunk's extension": {"POST /oauth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, server.Config{Limits: limits}, nil)
			conn := r.dial()
			if _, err := io.WriteString(conn, c.begin); err != nil {
				t.Fatal(err)
			}
			cut := make(chan []byte)
			go func() {
				back, _ := io.ReadAll(conn) // an error is a cut as well
				cut <- back
			}()
			drip := time.NewTicker(time.Millisecond)
			defer drip.Stop()
			for {
				select {
				case back := <-cut:
					if len(back) > 0 && !bytes.Contains(back, []byte(" 408 ")) {
						t.Errorf("%s", back)
					}
					return
				case <-drip.C:
					_, _ = io.WriteString(conn, c.drop) // fails once it is cut
				}
			}
		})
	}
}

func TestListener_ClosesASilentConnection(t *testing.T) {
	r := start(t, server.Config{Limits: server.Limits{IdleTime: 50 * time.Millisecond}}, nil)
	if back := r.send(""); back != "" {
		t.Errorf("got %q", back)
	}
	if back := r.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.Contains(back, "200 OK") {
		t.Errorf("got %q", back)
	}
}

func TestListener_TurnsAwayTooManyConnections(t *testing.T) {
	r := start(t, server.Config{Limits: server.Limits{Connections: 1}}, nil)
	first := r.dial()
	if _, err := io.WriteString(first, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil {
		t.Fatal(err)
	}
	got := parse(t, r.send(""))
	if got.status != 503 || got.header.Get("Retry-After") != "1" {
		t.Errorf("status %d, header %v", got.status, got.header)
	}
	wantJSON(t, got.body, `{"statusCode":503,"error":"Service Unavailable","message":"too many connections; try again later","errorCode":"unavailable"}`)
	if !strings.Contains(r.log.String(), "too many connections") {
		t.Error("not logged")
	}
}

// shortListener fails as a machine that is out of file descriptors does, before it accepts.
type shortListener struct {
	net.Listener
	failures int
}

func (l *shortListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestListener_OutlivesAShortageOfFileDescriptors(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, server.Config{Listener: &shortListener{Listener: inner, failures: 3}}, nil)
	if got := r.ask("GET", "/healthz", ""); got.status != 200 {
		t.Errorf("status %d", got.status)
	}
	if !strings.Contains(r.log.String(), "too many open files") {
		t.Error("not logged")
	}
}

func TestListener_PipelinedRequestsAreAllAnswered(t *testing.T) {
	r := start(t, server.Config{}, nil)
	one := "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	last := "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	back := r.send(one + one + last)
	if n := strings.Count(back, "200 OK"); n != 3 {
		t.Errorf("%d answers in %q", n, back)
	}
}

// parse reads the one response that raw is.
func parse(t *testing.T, raw string) answer {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw)), nil)
	if err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	return read(t, resp)
}
