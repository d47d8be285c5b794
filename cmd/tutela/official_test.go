package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tutela/server/openapitest"
)

// official is a call of one of Auth0's official clients, as docs/migrating-from-auth0.md lists it.
type official struct {
	name   string // of the client's function
	call   string // method and path below /api/v2, with {id} for each id
	result string // the status, and the errorCode of a refusal
}

// recorded is a transport that keeps the last call and what came of it. Safe for concurrent use.
type recorded struct {
	next http.RoundTripper

	mu   sync.Mutex
	last official
}

// RoundTrip makes the call.
func (r *recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	_, path, isManagement := strings.Cut(req.URL.EscapedPath(), "/api/v2")
	if isManagement {
		r.note(req.Method+" "+path, resp.StatusCode, body)
	}
	return resp, err
}

func (r *recorded) note(call string, status int, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = official{call: call, result: resultOf(status, body)}
}

// take returns the last call, and forgets it.
func (r *recorded) take() official {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.last
	r.last = official{}
	return last
}

// resultOf says what an answer is: its status, and the errorCode of a refusal.
func resultOf(status int, body []byte) string {
	var refused struct {
		Code string `json:"errorCode"`
	}
	if status >= http.StatusBadRequest && json.Unmarshal(body, &refused) == nil {
		return fmt.Sprint(status) + " `" + refused.Code + "`"
	}
	return fmt.Sprint(status)
}

// withoutIDs returns a call with {id} in the place of each of the ids, and a name for every other part that differs.
func withoutIDs(call string, ids ...string) string {
	method, path, _ := strings.Cut(call, " ")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		for _, id := range ids {
			if id != "" && part == pathEscaped(id) {
				parts[i] = "{id}"
			}
		}
	}
	return method + " " + strings.Join(parts, "/")
}

// pathEscaped is an id as clients write it in a path.
func pathEscaped(id string) string {
	return strings.NewReplacer("%", "%25", "|", "%7C", "/", "%2F", " ", "%20").Replace(id)
}

const migrationPage = "../../docs/migrating-from-auth0.md"

// compareWithPage compares what a client's calls came to with its table in the page. With -update it writes the table.
func compareWithPage(t *testing.T, client string, ran []official) {
	t.Helper()
	var table strings.Builder
	table.WriteString("\n| " + client + " | call | answer |\n|---|---|---|\n")
	for _, one := range ran {
		fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", one.name, one.call, one.result)
	}
	content, err := os.ReadFile(filepath.FromSlash(migrationPage))
	must(t, err)
	begin := "<!-- What " + client + " calls: make book -->"
	before, rest, found := strings.Cut(string(content), begin)
	_, after, ends := strings.Cut(rest, "<!-- The end. -->")
	if !found || !ends {
		t.Fatalf("%s has no table of %s", migrationPage, client)
	}
	whole := before + begin + "\n" + table.String() + "\n<!-- The end. -->" + after
	if whole == string(content) {
		return
	}
	if *updateBook {
		must(t, os.WriteFile(filepath.FromSlash(migrationPage), []byte(whole), 0o600))
		return
	}
	t.Errorf("%s is not what %s came to; make book writes it:\n%s", migrationPage, client, table.String())
}

// officialCaller is an HTTP client that trusts the house, compares what it calls with the description, and records it.
func (m *mounted) officialCaller(t *testing.T) (*http.Client, *recorded) {
	t.Helper()
	transport := m.tls.transport()
	t.Cleanup(transport.CloseIdleConnections)
	r := &recorded{next: transport}
	client := &http.Client{Transport: r}
	openapitest.Watch(t, client, func() ([]byte, error) { return json.Marshal(m.server.API().OpenAPI()) })
	return client, r
}
