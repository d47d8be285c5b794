package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"
)

// emptyVariable makes this test program the empty server.
const emptyVariable = "TUTELA_BENCH_EMPTY"

// TestMain lets a benchmark run this program again, as a process that does nothing but speak HTTP.
func TestMain(m *testing.M) {
	if os.Getenv(emptyVariable) != "" {
		serveNothing()
		return
	}
	os.Exit(m.Run())
}

// serveNothing answers every request with an empty 200. It says on standard output where.
func serveNothing() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Println(listener.Addr())
		err = fasthttp.Serve(listener, func(*fasthttp.RequestCtx) {})
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// emptyServer is a process that only speaks HTTP: what it spends on a request, no server can leave out.
type emptyServer struct {
	cmd  *exec.Cmd
	base string
}

func startEmpty(tb testing.TB) *emptyServer {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), self)
	cmd.Env = append(os.Environ(), emptyVariable+"=1")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // a killed process is an error here
	})
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	return &emptyServer{cmd: cmd, base: "http://" + strings.TrimSpace(addr)}
}

// recordedRequest is a request as it was sent, to be sent again elsewhere.
type recordedRequest struct {
	method, target string
	header         http.Header
	body           []byte
}

// to makes the request anew, for the server at base.
func (r *recordedRequest) to(ctx context.Context, base string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, base+r.target, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header = r.header
	return req, nil
}

// send sends the request to the server at base, and reads its answer.
func (r *recordedRequest) send(ctx context.Context, client *http.Client, base string) error {
	req, err := r.to(ctx, base)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return err
}

// tap is a transport that keeps what a call sends, when the call's context holds a [recording].
type tap struct{ http.RoundTripper }

// recording keeps the requests of a call. Safe for concurrent use.
type recording struct {
	instead bool // the server is not asked: the answer is an empty list

	mu       sync.Mutex // guards requests
	requests []recordedRequest
}

type recordingKey struct{}

// with returns a context whose calls are kept.
func (r *recording) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, recordingKey{}, r)
}

// RoundTrip sends a request.
func (t tap) RoundTrip(req *http.Request) (*http.Response, error) {
	r, ok := req.Context().Value(recordingKey{}).(*recording)
	if !ok {
		return t.RoundTripper.RoundTrip(req)
	}
	if err := r.keep(req); err != nil {
		return nil, err
	}
	if r.instead {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("[]"))}, nil
	}
	return t.RoundTripper.RoundTrip(req)
}

func (r *recording) keep(req *http.Request) error {
	kept := recordedRequest{method: req.Method, target: req.URL.RequestURI(), header: req.Header.Clone()}
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return err
		}
		if kept.body, err = io.ReadAll(body); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, kept)
	return nil
}
