package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// signalReceiver is a client with streams at a server that runs.
type signalReceiver struct {
	t          *testing.T
	base       string
	id, secret string
	token      string
}

// signs makes a client for streams, and gets its token.
func (c *commandLine) signs(t *testing.T, base string) *signalReceiver {
	t.Helper()
	added := decode(t, c.run("client", "add", "bank", "--scope", "ssf.manage"))
	r := &signalReceiver{t: t, base: base}
	r.id, _ = added["client_id"].(string)
	r.secret, _ = added["client_secret"].(string)
	response, err := http.PostForm(base+"/oauth/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {r.id}, "client_secret": {r.secret}, "audience": {base + "/api/v2/"},
	})
	must(t, err)
	r.token = r.read(response)["access_token"].(string)
	return r
}

func (r *signalReceiver) read(response *http.Response) (object map[string]any) {
	r.t.Helper()
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	must(r.t, err)
	if response.StatusCode/100 != 2 {
		r.t.Fatalf("%d %s", response.StatusCode, body)
	}
	if len(body) > 0 {
		must(r.t, json.Unmarshal(body, &object))
	}
	return object
}

func (r *signalReceiver) post(path, body string) map[string]any {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.base+"/api/v2"+path, strings.NewReader(body))
	must(r.t, err)
	request.Header.Set("Authorization", "Bearer "+r.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	must(r.t, err)
	return r.read(response)
}

// opened verifies a SET by the published keys, and returns its claims.
func (r *signalReceiver) opened(set string) (claims map[string]any) {
	r.t.Helper()
	response, err := http.Get(r.base + "/.well-known/jwks.json")
	must(r.t, err)
	var keys jose.JSONWebKeySet
	must(r.t, json.NewDecoder(response.Body).Decode(&keys))
	_ = response.Body.Close()
	token, err := jwt.ParseSigned(set, []jose.SignatureAlgorithm{jose.RS256})
	must(r.t, err)
	var standard jwt.Claims
	must(r.t, token.Claims(keys, &standard, &claims))
	must(r.t, standard.Validate(jwt.Expected{Issuer: r.base + "/", AnyAudience: []string{r.id}}))
	return claims
}

// A server that dies after a commit, and before the SET is pushed or polled, tells it at its next start.
func TestSignals_AreToldAfterAKill(t *testing.T) {
	c := newCommandLine(t)
	var mu sync.Mutex
	status := http.StatusServiceUnavailable
	sets := make(chan string, 100)
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		mu.Lock()
		defer mu.Unlock()
		if req.Header.Get("Authorization") != "Bearer mine" || req.Header.Get("Content-Type") != "application/secevent+jwt" {
			t.Errorf("pushed with %v", req.Header)
		}
		w.WriteHeader(status)
		sets <- string(body)
	}))
	t.Cleanup(program.Close)
	s := &liveServer{
		binary:      c.binary,
		data:        c.data,
		http:        http.DefaultClient,
		environment: []string{allowed},
	}
	s.start(t)
	r := c.signs(t, s.public)
	polled := r.post("/ssf/streams", `{"events_requested":["urn:tutela:params:secevent:mfa-reset"]}`)
	r.post("/ssf/streams", `{"events_requested":["urn:tutela:params:secevent:mfa-reset"],"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"`+program.URL+`","authorization_header":"Bearer mine"}}`)
	c.run("ticket", "maria")
	c.run("user", "reset", "maria", "--reason", "lost", "--yes")
	first := r.opened(<-sets)
	s.kill(syscall.SIGKILL)
	mu.Lock()
	status = http.StatusAccepted
	mu.Unlock()
	s.start(t)
	t.Cleanup(func() { s.kill(syscall.SIGTERM) })
	r.base = s.public
	second := <-sets
	token, err := jwt.ParseSigned(second, []jose.SignatureAlgorithm{jose.RS256})
	must(t, err)
	var again map[string]any
	must(t, token.UnsafeClaimsWithoutVerification(&again))
	if first["jti"] != again["jti"] || first["sub_id"].(map[string]any)["sub"] != "maria" {
		t.Errorf("told %v, then %v", first, again)
	}
	waiting := r.post("/ssf/streams/"+polled["stream_id"].(string)+"/poll", `{"returnImmediately":true}`)["sets"].(map[string]any)
	if len(waiting) != 1 {
		t.Errorf("polled %v", waiting)
	}
}

// The receiver of docs/shared-signals.md, with npm's jose, takes what it polls.
func TestExample_TheReceiverOfSignalsTakesWhatItPolls(t *testing.T) {
	program := node(t)
	folder := t.TempDir()
	for _, name := range []string{"signals.mjs", "package.json", "package-lock.json"} {
		content, err := os.ReadFile(examplePath(t, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(folder, name), content, 0o600))
	}
	npm := example{t: t, program: []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"}, folder: folder}
	if output, err := npm.run(); err != nil && os.Getenv("CI") == "" {
		t.Skipf("npm brings no jose: %v\n%s", err, output)
	} else if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	c := newCommandLine(t)
	s := &liveServer{binary: c.binary, data: c.data, http: http.DefaultClient}
	s.start(t)
	t.Cleanup(func() { s.kill(syscall.SIGTERM) })
	r := c.signs(t, s.public)
	run := exec.CommandContext(t.Context(), program, "signals.mjs", s.public, r.id, r.secret)
	run.Dir = folder
	said, err := run.StdoutPipe()
	must(t, err)
	run.Stderr = os.Stderr
	must(t, run.Start())
	t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
	})
	lines := bufio.NewScanner(said)
	lines.Scan() // it has a stream
	c.run("ticket", "maria")
	c.run("user", "block", "maria")
	lines.Scan()
	if lines.Text() != "https://schemas.openid.net/secevent/risc/event-type/account-disabled maria -" {
		t.Errorf("it says %q", lines.Text())
	}
}
