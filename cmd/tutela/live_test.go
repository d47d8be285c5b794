package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"tutela/device/phone"
	"tutela/server/openapitest"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

// liveServer is a process of the real binary with a data folder of its own. Tests and benchmarks call it over
// loopback HTTP, restart and kill it.
type liveServer struct {
	public      string
	binary      string
	listen      string // empty: a free port of 127.0.0.1
	data        string
	logLevel    string   // empty: warn
	log         *os.File // nil: the standard error
	environment []string // beside that of cleanEnvironment
	store       []string // the variable that names the database; nil: a data file
	http        *http.Client
	phones      *http.Client // nil: that of package phone
	cmd         *exec.Cmd

	bank, admin credentials
	token       string // the admin's program's, for management calls
}

// builtBinary is the real binary, built once for all tests of the package.
var builtBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tutela-live-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "tutela")
	build := exec.Command("go", "build", "-o", binary, "-tags", buildTags(), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
})

// skipWhenShort skips a test that builds the program and runs it as a process.
func skipWhenShort(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("runs the program as a process: run it without -short")
	}
}

// startLive starts a server with the clients that tests want: a login system, and an admin's program.
func startLive(tb testing.TB) *liveServer {
	tb.Helper()
	s := newLive(tb)
	s.open(tb)
	return s
}

// newLive makes a server that is not started yet. A short run skips the test: it runs the program.
func newLive(tb testing.TB) *liveServer {
	tb.Helper()
	skipWhenShort(tb)
	binary, err := builtBinary()
	if err != nil {
		tb.Fatal(err)
	}
	return &liveServer{
		binary: binary,
		store:  storeVariable(tb),
		data:   filepath.Join(check.ShortFolder(tb), "data"),
		http:   &http.Client{Transport: &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 512, DisableCompression: true}},
	}
}

// storeVariable is the environment of a server that keeps its data in a database, where the tests run beside one.
func storeVariable(tb testing.TB) []string {
	tb.Helper()
	if os.Getenv(pgtest.Variable) == "" {
		return nil
	}
	return []string{"TUTELA_STORE=" + pgtest.Database(tb)}
}

// open starts the server, and makes its clients.
func (s *liveServer) open(tb testing.TB) {
	tb.Helper()
	s.start(tb)
	tb.Cleanup(func() { s.kill(syscall.SIGTERM) })
	if t, isTest := tb.(*testing.T); isTest {
		s.watch(t)
	}
	s.bank = s.addClient(tb, "bank", "openid")
	s.admin = s.addClient(tb, "admin", "read:users create:guardian_enrollment_tickets reset:mfa")
	s.login(tb)
}

// watch compares the calls of the test with what the server says of itself.
func (s *liveServer) watch(t *testing.T) {
	t.Helper()
	resp, err := s.http.Get(s.public + "/openapi.json")
	must(t, err)
	document, err := io.ReadAll(resp.Body)
	must(t, errors.Join(err, resp.Body.Close()))
	openapitest.Watch(t, s.http, func() ([]byte, error) { return document, nil })
	if s.phones == nil {
		s.phones = s.http
	}
}

// start starts the process, on the port that it had before.
func (s *liveServer) start(tb testing.TB) {
	tb.Helper()
	listen := cmp.Or(s.listen, "127.0.0.1:0")
	if s.public != "" {
		u, err := url.Parse(s.public)
		if err != nil {
			tb.Fatal(err)
		}
		listen = "127.0.0.1:" + u.Port()
	}
	s.cmd = exec.Command(s.binary, "serve", "--listen", listen, "--data", s.data, "--log-level", cmp.Or(s.logLevel, "warn"))
	s.cmd.Env = append(append(cleanEnvironment(), s.environment...), s.store...)
	s.cmd.Stderr = cmp.Or(s.log, os.Stderr)
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if _, rest, found := strings.Cut(lines.Text(), "serves on "); found {
			s.public = strings.Fields(rest)[0]
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			return
		}
	}
	tb.Fatalf("the server did not say where it serves: %v", s.cmd.Wait())
}

// kill ends the process by a signal and waits until it is gone.
func (s *liveServer) kill(signal syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(signal)
	_ = s.cmd.Wait() // a killed process is an error here
	s.cmd = nil
}

// login fetches the token of the admin's program.
func (s *liveServer) login(tb testing.TB) {
	tb.Helper()
	var granted struct {
		Token string `json:"access_token"`
	}
	err := s.form(tb.Context(), s.admin, "/oauth/token", &granted, "grant_type", "client_credentials", "audience", s.public+"/api/v2/")
	if err != nil {
		tb.Fatal(err)
	}
	s.token = granted.Token
}

func (s *liveServer) addClient(tb testing.TB, name, scope string, more ...string) credentials {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), s.binary, append([]string{"client", "add", name, "--scope", scope, "--data", s.data}, more...)...)
	cmd.Env = cleanEnvironment()
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("client add: %v", err)
	}
	var c credentials
	if err := json.Unmarshal(out, &c); err != nil {
		tb.Fatal(err)
	}
	return c
}

// setPolicy sets a policy as an operator does.
func (s *liveServer) setPolicy(tb testing.TB, name, value string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), s.binary, "policy", "set", name, value, "--data", s.data)
	cmd.Env = cleanEnvironment()
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("policy set %s %s: %v: %s", name, value, err, out)
	}
}

// refusedError is an answer that is not 2xx.
type refusedError struct {
	status int
	code   string // error or errorCode
	body   string
}

func (e *refusedError) Error() string { return fmt.Sprintf("%d %s", e.status, e.body) }

// refusal returns the code of a refusal; "" for any other error and for none.
func refusal(err error) string {
	var refused *refusedError
	if errors.As(err, &refused) {
		return refused.code
	}
	return phone.CodeOf(err)
}

// form posts a form as a client and decodes the answer.
func (s *liveServer) form(ctx context.Context, as credentials, path string, into any, pairs ...string) error {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.public+path, strings.NewReader(values.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(as.ID, as.Secret)
	return s.do(req, into)
}

// manage makes a management call and decodes the answer.
func (s *liveServer) manage(ctx context.Context, method, path string, body, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, s.public+"/api/v2"+path, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	return s.do(req, into)
}

func (s *liveServer) do(req *http.Request, into any) error {
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return &refusedError{status: resp.StatusCode, code: response{body: body}.problem(), body: string(body)}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}

// enroll makes a user with an enrolled phone, and returns the user's recovery code.
func (s *liveServer) enroll(ctx context.Context, user string) (*phone.Phone, string, error) {
	var ticket struct {
		ID string `json:"ticket_id"`
	}
	if err := s.manage(ctx, http.MethodPost, "/guardian/enrollments/ticket", map[string]string{"user_id": user}, &ticket); err != nil {
		return nil, "", fmt.Errorf("ticket: %w", err)
	}
	p, err := phone.New(phone.Options{
		BaseURL:    s.public,
		Name:       "phone of " + user,
		Identifier: user,
		Client:     s.phones,
	})
	if err != nil {
		return nil, "", err
	}
	enrolled, err := p.Enroll(ctx, ticket.ID)
	return p, enrolled.RecoveryCode, err
}

// ask begins a login.
func (s *liveServer) ask(ctx context.Context, user string) (begun, error) {
	var b begun
	err := s.form(ctx, s.bank, "/bc-authorize", &b, "scope", "openid", "login_hint", user)
	return b, err
}
