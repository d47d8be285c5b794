package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tutela/storage/keyring"
	"tutela/storage/storagetest/check"
)

// These tests send hostile input to every route of the server. It must never bring about a 5xx, a stack trace, an answer
// in another form than the API's, a write by a call that was refused, or a goroutine that stays. Routes, members and
// parameters are read from the server, so a new one is tried by itself.

// route is one of the server's routes, with the operation that describes it, when there is one.
type route struct {
	method, path string // as the router has them
	op           operation
}

func (r route) String() string { return r.method + " " + r.path }

// isOpen reports whether a call needs to show nothing.
func (r route) isOpen() bool {
	return slices.Contains(open, r.path) || r.String() == "POST /api/restores"
}

// readsBody reports whether a call does something with its body.
func (r route) readsBody() bool {
	return r.op.RequestBody != nil || r.isPage() && r.method == http.MethodPost
}

// isPage reports whether people see the route in a browser, whose cookies and forms are its proof.
func (r route) isPage() bool {
	return r.String() == "GET /mfa/challenge" || r.path == "/mfa/enrollment" || r.path == "/mfa/me" || r.path == "/admin" ||
		strings.HasPrefix(r.path, "/mfa/enrollment/") || strings.HasPrefix(r.path, "/mfa/challenge/") || strings.HasPrefix(r.path, "/mfa/me/") ||
		strings.HasPrefix(r.path, "/admin/")
}

// refuses reports whether a route refuses a call that shows nothing. Of pages some answer by sending the browser on, or ask to sign in.
func (r route) refuses() bool {
	return !r.isOpen() && (!r.isPage() || strings.HasPrefix(r.path, "/mfa/enrollment"))
}

// operation is what /openapi.json says of a call.
type operation struct {
	Parameters []struct {
		Name string `json:"name"`
		In   string `json:"in"`
	} `json:"parameters"`
	RequestBody *struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"` // a word, or a list of them
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
}

// description is what the server says of itself.
type description struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

func (d description) resolve(s schema) schema {
	if name, found := strings.CutPrefix(s.Ref, "#/components/schemas/"); found {
		return d.Components.Schemas[name]
	}
	return s
}

// members returns the members of a call's JSON body; nil when it takes none.
func (d description) members(op operation) map[string]schema {
	if op.RequestBody == nil {
		return nil
	}
	body, found := op.RequestBody.Content[jsonType]
	if !found {
		return nil
	}
	return d.resolve(body.Schema).Properties
}

func (m *mounted) description() (d description) {
	m.t.Helper()
	m.must(json.Unmarshal(m.ok(m.call("GET", "/openapi.json", "")).body, &d))
	return d
}

var parameter = regexp.MustCompile(`:(\w+)`)

// routes returns all routes of the server.
func (m *mounted) routes() []route {
	m.t.Helper()
	if m.known == nil {
		m.known = m.findRoutes()
	}
	return m.known
}

func (m *mounted) findRoutes() (list []route) {
	m.t.Helper()
	d := m.description()
	for _, known := range m.server.App().GetRoutes(true) {
		if known.Method == http.MethodHead {
			continue // of its GET
		}
		r := route{method: known.Method, path: known.Path}
		described := d.Paths[parameter.ReplaceAllString(known.Path, "{$1}")]
		if raw, found := described[strings.ToLower(known.Method)]; found {
			m.must(json.Unmarshal(raw, &r.op))
		}
		list = append(list, r)
	}
	return list
}

// flowPaths are the calls of a page of the browser client once it has started.
var flowPaths = []string{
	"/api/transaction-state", "/api/send-push-notification", "/api/verify-otp", "/api/recover-account", "/api/send-sms", "/api/device-accounts/:id/sms-enroll",
}

// right returns the header field that lets a call to a route in.
func (m *mounted) right(r route) []string {
	m.t.Helper()
	bearer := func(kind string) []string { return []string{"Authorization", "Bearer " + m.held[kind]} }
	switch {
	case r.isOpen(), r.isPage():
		return nil
	case r.path == "/api/enroll":
		return []string{"Authorization", `Ticket id="` + m.held["ticket"] + `"`}
	case r.path == "/api/start-flow":
		return bearer(string(keyring.MFAToken))
	case slices.Contains(flowPaths, r.path):
		return bearer(string(keyring.FlowToken))
	case r.path == "/api/resolve-transaction":
		return bearer(string(keyring.TransactionToken))
	case strings.HasPrefix(r.path, "/rich-consents/"):
		return []string{"Authorization", "MFA-DPoP " + m.held[string(keyring.TransactionToken)], "MFA-DPoP", m.consentProof()}
	case strings.HasPrefix(r.path, "/api/v2/"):
		return bearer("management_token")
	case strings.HasPrefix(r.path, "/api/device-accounts/"), strings.HasSuffix(r.path, "/veto"), strings.HasSuffix(r.path, "/allow"), strings.HasSuffix(r.path, "/dispute"):
		return bearer("device_jwt")
	case strings.HasPrefix(r.path, "/api/restores/"):
		return bearer("restore_token")
	case strings.HasPrefix(r.path, "/mfa/associate"), strings.HasPrefix(r.path, "/mfa/authenticators"):
		return bearer("enrolment_token")
	case slices.Contains([]string{"/bc-authorize", "/oauth/token", "/mfa/start", "/mfa/requests", "/mfa/challenge"}, r.path):
		return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(m.client.id+":"+m.client.secret))}
	}
	m.t.Fatalf("%s: with what is a call let in?", r)
	return nil
}

// siege is a mounted server under hostile calls.
type siege struct {
	*mounted
	goroutines int
	before     map[string]string
}

// besiege mounts a server and notes its state before hostile calls.
func besiege(t *testing.T) *siege {
	t.Helper()
	s := &siege{mounted: mount(t)}
	for _, r := range s.routes() { // the first call of all to a route may write and start what stays
		body, kind := s.bodyOf(r.method, r.path)
		s.call(r.method, s.fill(r.path), body, "Content-Type", kind)
	}
	s.caller.CloseIdleConnections()
	s.goroutines = runtime.NumGoroutine()
	s.before = s.contents()
	t.Cleanup(s.settle)
	return s
}

// settle checks that the server still answers, and that no goroutine and no failure in the log is left.
func (s *siege) settle() {
	s.t.Helper()
	if s.t.Failed() {
		return
	}
	if r := s.call("GET", "/healthz", ""); r.status != 200 {
		s.t.Errorf("/healthz: %d %s", r.status, r.body)
	}
	s.caller.CloseIdleConnections()
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > s.goroutines && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > s.goroutines {
		stacks := make([]byte, 1<<20)
		s.t.Errorf("%d goroutines, of %d before:\n%s", n, s.goroutines, stacks[:runtime.Stack(stacks, true)])
	}
	for _, line := range strings.Split(s.log.String(), "\n") {
		if strings.Contains(line, "a call panicked") || strings.Contains(line, "a call failed") {
			s.t.Errorf("the log: %.2000s", line)
		}
	}
}

// judge checks what must hold of every answer. With refuse the answer must be a 4xx.
func (s *siege) judge(what, path string, r reply, refuse bool) {
	s.t.Helper()
	after := s.contents()
	changed := changes(s.before, after)
	s.before = after
	switch {
	case r.status >= 500 || refuse && r.status/100 != 4:
		s.t.Errorf("%s: %d %.300s", what, r.status, r.body)
	case r.status >= 400:
		wantErrorBody(s.t, what, path, r)
		if len(changed) > 0 {
			s.t.Errorf("%s: %d, but it wrote %q", what, r.status, changed)
		}
	}
	if bytes.Contains(r.body, []byte("goroutine ")) || bytes.Contains(r.body, []byte(".go:")) {
		s.t.Errorf("%s: it shows the code: %.300s", what, r.body)
	}
}

// shortly returns the values that a short run tries on the i-th route: one in five, others on the next route, so that every
// route and every value is tried. A long run tries all of them on each.
func shortly[T any](i int, values []T) (tried []T) {
	if !testing.Short() {
		return values
	}
	for n, value := range values {
		if (n+i)%5 == 0 {
			tried = append(tried, value)
		}
	}
	return tried
}

func nested(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }

// unreadable are bodies that no call accepts as JSON.
var unreadable = map[string]string{
	"nothing": "", "half an object": "{", "a half of a member": `{"user_id":"mar`, "no JSON": "no JSON", "trailing": "{} {}", "a comma": `{"a":1,}`,
	"an array": "[]", "an array of objects": "[{}]", "text": `"x"`, "a number": "7", "true": "true", "null": "null", "NaN": "NaN", "a NUL": "\x00",
	"invalid UTF-8": "{\"user_id\":\"mar\xffia\",\"a\":1}", "UTF-16": "\xff\xfe{\x00}\x00", "a byte order mark": "\ufeff", "two": "\ufeff\ufeff{}",
	"a control character": "{\"user_id\":\"a\x01\"}", "an enormous number": `{"a":1e999999999,"user_id":1e999}`, "a bad escape": `{"a":"\x"}`,
	"65 deep": nested(65), "10000 deep": nested(10_000), "arrays 60000 deep": strings.Repeat("[", 60_000), "100000 deep": strings.Repeat("[", 100_000),
	"objects 100000 deep": nested(100_000), "space over the limit": strings.Repeat(" ", 1<<20+64<<10+1),
	"XML": `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>`,
}

// bodyless are the routes whose callers may send a body or none.
var bodyless = map[string]bool{
	"/api/device-accounts/:id/backup/handle": true,
	"/api/start-flow":                        true,
	"/api/v2/clients/:id/rotate-secret":      true,
	"/api/v2/webhooks/:id/rotate":            true,
	"/api/v2/ssf/streams":                    true,
	"/api/v2/ssf/streams/:id/poll":           true,
}

// arrays are the routes whose body is an array: an empty one is right.
var arrays = map[string]bool{"/api/v2/users/:id/authentication-methods": true, "/api/v2/guardian/policies": true}

func TestHostile_BodiesThatCannotBeReadAreRefused(t *testing.T) {
	check.WithoutRace(t)
	if testing.Short() {
		t.Skip("calls every route with every bad body: run it without -short")
	}
	s := besiege(t)
	kinds := []string{jsonType, "application/json; charset=utf-8", ""}
	names := slices.Sorted(maps.Keys(unreadable))
	for i, r := range s.readers() {
		for n, name := range names { // each with another content type on the next route
			s.offer(r, name, unreadable[name], kinds[(i+n)%len(kinds)])
		}
		// Nobody looks at these beyond the limit, which lies before the routes: each API is tried with one.
		const much = 10 << 20
		switch i % 8 {
		case 0:
			s.offer(r, "10 MB of space", strings.Repeat(" ", much), jsonType)
		case 1:
			s.offer(r, "10 MB of text", `{"a":"`+strings.Repeat("x", much)+`"}`, jsonType)
		}
		// Of a length that is not told.
		a, err := s.try(r.method, s.fill(r.path), io.LimitReader(zeros{}, 2<<20), append(s.right(r), "Content-Type", jsonType)...)
		if err != nil || a.status != 413 {
			t.Errorf("%s, 2 MB in chunks: %d, %v", r, a.status, err)
		}
	}
}

// readers returns the routes that read a body.
func (s *siege) readers() (list []route) {
	s.t.Helper()
	for _, r := range s.routes() {
		if r.readsBody() {
			list = append(list, r)
		}
	}
	return list
}

// offer sends a body that cannot be read, and judges the answer.
func (s *siege) offer(r route, name, body, kind string) {
	s.t.Helper()
	if body == "[]" && arrays[r.path] {
		return
	}
	a, err := s.try(r.method, s.fill(r.path), strings.NewReader(body), append(s.right(r), "Content-Type", kind)...)
	if err != nil {
		s.t.Errorf("%s, %s: %v", r, name, err)
		return
	}
	read := body == "" && bodyless[r.path]
	s.judge(fmt.Sprintf("%s, %s as %q", r, name, kind), r.path, a, !read)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestHostile_ContentTypesThatAreNotReadAreRefused(t *testing.T) {
	check.WithoutRace(t)
	s := besiege(t)
	for _, r := range s.readers() {
		for _, kind := range []string{
			"text/plain", "application/xml", "multipart/form-data; boundary=x", "multipart/form-data", "application/jsonx", "/", ";", "json",
			"application/json\tx", strings.Repeat("x", 8000),
		} {
			a := s.call(r.method, s.fill(r.path), "--x\r\n\r\n--x--", append(s.right(r), "Content-Type", kind)...)
			s.judge(fmt.Sprintf("%s, as %.40q", r, kind), r.path, a, true)
		}
		for _, encoding := range []string{"gzip", "deflate", "br", "x", "identity, gzip"} {
			body, kind := s.bodyOf(r.method, r.path)
			a := s.call(r.method, s.fill(r.path), body, append(s.right(r), "Content-Type", kind, "Content-Encoding", encoding)...)
			s.judge(fmt.Sprintf("%s, encoded as %s", r, encoding), r.path, a, true)
		}
	}
}

// fits reports whether a JSON value is of one of a schema's types.
func (d description) fits(s schema, value string) bool {
	types := map[byte]string{'"': "string", '[': "array", '{': "object", 't': "boolean", 'f': "boolean", 'n': "null"}
	is, found := types[value[0]]
	if !found {
		is = "number"
	}
	of := fmt.Sprint(d.resolve(s).Type)
	return strings.Contains(of, is) || is == "number" && strings.Contains(of, "integer")
}

// freely are members that take other types than the description says, too: three of the login API, and what a receiver of signals
// sends back as it was told it, by whatever type of RFC 7519.
var freely = []string{"requested_expiry", "wait", "authorization_details", "aud"}

func TestHostile_MembersOfTheWrongTypeAreRefused(t *testing.T) {
	check.WithoutRace(t)
	s := besiege(t)
	d := s.description()
	wrong := []string{`7`, `-1.5`, `1e400`, `true`, `"text"`, `[]`, `["x"]`, `[[[]]]`, `{}`, `{"a":{"a":[]}}`}
	for i, r := range s.routes() {
		for name, member := range d.members(r.op) {
			if slices.Contains(freely, name) {
				continue
			}
			for _, value := range shortly(i, wrong) {
				if d.fits(member, value) && value != `1e400` {
					continue
				}
				a := s.call(r.method, s.fill(r.path), s.bodyWith(r, value, name), append(s.right(r), "Content-Type", jsonType)...)
				s.judge(fmt.Sprintf("%s, %s of %s", r, name, value), r.path, a, r.refuses())
			}
			s.wrongWithin(d, r, name, member, shortly(i, wrong))
		}
	}
}

// wrongWithin tries the members of a member that is an object, and the items of one that is an array.
func (s *siege) wrongWithin(d description, r route, name string, member schema, wrong []string) {
	s.t.Helper()
	member = d.resolve(member)
	inner := member.Properties
	if member.Items != nil {
		inner = map[string]schema{"": *member.Items}
	}
	for below, of := range inner {
		for _, value := range wrong {
			if d.fits(of, value) {
				continue
			}
			body := s.bodyWith(r, value, name, below)
			if below == "" {
				body = s.bodyWith(r, "["+value+"]", name)
			}
			a := s.call(r.method, s.fill(r.path), body, append(s.right(r), "Content-Type", jsonType)...)
			s.judge(fmt.Sprintf("%s, %s.%s of %s", r, name, below, value), r.path, a, true)
		}
	}
}

// bodyWith returns a right body of a call in which the member at path has another value.
func (m *mounted) bodyWith(r route, value string, path ...string) string {
	m.t.Helper()
	right, _ := m.bodyOf(r.method, r.path)
	var body map[string]any
	m.must(json.Unmarshal([]byte(right), &body))
	object := body
	for _, name := range path[:len(path)-1] {
		below, isObject := object[name].(map[string]any)
		if !isObject {
			below = map[string]any{}
		}
		object[name] = below
		object = below
	}
	object[path[len(path)-1]] = json.RawMessage("\"here\"")
	encoded, err := json.Marshal(body)
	m.must(err)
	return strings.Replace(string(encoded), `"here"`, value, 1)
}

// Text of the right type that is not what anybody would send: it may be taken, but breaks nothing. Each call in a house
// of its own, since it may be taken.
func TestHostile_TextThatNobodyWouldSendBreaksNothing(t *testing.T) {
	check.WithoutRace(t)
	if testing.Short() {
		t.Skip("calls every route with every odd text: run it without -short")
	}
	odd := map[string]string{
		"nothing": `""`, "null": `null`, "a NUL": `"\u0000"`, "half a pair": `"mar\ud800"`, "60 KB": `"` + strings.Repeat("x", 60_000) + `"`,
		"4096 bytes": `"` + strings.Repeat("x", 4096) + `"`, "wide": `"` + strings.Repeat("😀", 255) + `"`, "invalid UTF-8": "\"mar\xffia\"",
		"a path": `"../../../../etc/passwd"`, "a query": `"' OR 1=1; --"`, "a format": `"%s%n%x"`, "marked up": `"<script>\u2028"`, "turned": `"\u202e"`,
		"all of it": `"\u0000\u0001|\u202e/%2F"`, "an address": `"http://[::1]:0/"`, "many": `[` + strings.Repeat(`"x",`, 9000) + `"x"]`,
	}
	for _, r := range mount(t).routes() {
		if r.op.RequestBody == nil {
			continue
		}
		t.Run(r.String(), func(t *testing.T) {
			s := besiege(t)
			for name := range s.description().members(r.op) {
				for what, value := range odd {
					a := s.call(r.method, s.fill(r.path), s.bodyWith(r, value, name), append(s.right(r), "Content-Type", jsonType)...)
					s.judge(fmt.Sprintf("%s is %s", name, what), r.path, a, what == "invalid UTF-8" || what == "half a pair")
				}
			}
		})
	}
}

func TestHostile_CallsThatShowNothingOrGarbageAreRefused(t *testing.T) {
	check.WithoutRace(t)
	s := besiege(t)
	values := []string{
		"", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Bearer ..", "Bearer " + strings.Repeat("A", 8000), "Bearer \xff\xfe", "bearer null", "Bearer Bearer x",
		"Basic", "Basic !", "Basic Og==", "Basic AAAA", "Basic " + strings.Repeat("QUFB", 2000), "Digest username=x", "Ticket", "Ticket id=", `Ticket id=""`, `Ticket id="x`,
		`Ticket id="` + strings.Repeat("x", 5000) + `"`, "MFA-DPoP x", ",", "=", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYXJpYSJ9.",
		"Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+s.phone.Enrollment().ID+`"}`)) + ".",
	}
	for i, r := range s.routes() {
		if r.isOpen() {
			continue
		}
		body, kind := s.bodyOf(r.method, r.path)
		for _, value := range shortly(i, values) {
			header := []string{"Content-Type", kind}
			if value != "" {
				header = append(header, "Authorization", value)
			}
			for _, below := range []string{"", "/appliance-mfa"} {
				a := s.call(r.method, below+s.fill(r.path), body, header...)
				s.judge(fmt.Sprintf("%s%s, %.40q", below, r, value), r.path, a, r.refuses())
			}
		}
	}
}

func TestHostile_OddPathsBreakNothing(t *testing.T) {
	check.WithoutRace(t)
	s := besiege(t)
	odd := []string{
		"%00", "%2F", "%2e%2e%2f%2e%2e", "..%2f", "%ff%fe", "%c0%af", "%25", "%252F", "a%20b", "+", "|", "%0d%0aX:%20y", "%F0%9F%98%80", "%E2%80%AE",
		strings.Repeat("a", 4000), strings.Repeat("%2F", 2000), "dev_", "rst_", "-1", "99999999999999999999999", "1e9", "%3F", "%23", ";", "=", "''", "%7B%7D",
	}
	for i, r := range s.routes() {
		body, kind := s.bodyOf(r.method, r.path)
		for _, value := range shortly(i, odd) {
			for _, name := range parameter.FindAllString(r.path, -1) {
				path := s.fill(strings.Replace(r.path, name, "\x01", 1))
				path = strings.Replace(path, "\x01", value, 1)
				a := s.call(r.method, path, body, append(s.right(r), "Content-Type", kind)...)
				if a.status < 400 {
					s.before = s.contents() // what a call did for a name that may be somebody's
				}
				s.judge(fmt.Sprintf("%s, %s %.40q", r, name, value), r.path, a, false)
			}
			a := s.call(r.method, s.fill(r.path)+"/"+value, body, append(s.right(r), "Content-Type", kind)...)
			s.judge(fmt.Sprintf("%s/%.40q", r, value), r.path, a, false)
		}
	}
}

func TestHostile_OddQueriesBreakNothing(t *testing.T) {
	check.WithoutRace(t)
	s := besiege(t)
	odd := []string{
		"", "x", "-1", "1.5", "1e9", "0x10", "99999999999999999999999", "%00", "%FF%FE", "%2B", "true", "[]", "{}", "a,b,,c", ",", ":", "a:b:c", `"`, `type:"`, "date:[",
		"date:[x TO y]", `\`, "*", "NULL", strings.Repeat("x", 8000), strings.Repeat("a,", 3000), strings.Repeat("(", 3000), strings.Repeat("AND ", 1500), "1;2", "%E2%80%AE",
	}
	for i, r := range s.routes() {
		for _, p := range r.op.Parameters {
			if p.In != "query" || r.method != http.MethodGet {
				continue
			}
			for _, value := range shortly(i, odd) {
				path := s.fill(r.path) + "?" + url.QueryEscape(p.Name) + "="
				for _, target := range []string{path + value, path + value + "&" + p.Name + "=" + value} {
					if _, err := url.Parse(target); err != nil {
						continue
					}
					target = strings.NewReplacer(" ", "%20", `"`, "%22", `\`, "%5C").Replace(target)
					s.judge(fmt.Sprintf("%s, %s=%.40q", r, p.Name, value), r.path, s.call(r.method, target, "", s.right(r)...), false)
				}
			}
		}
		for _, query := range []string{"?", "?&&&", "?=", "?%00=%00", "?" + strings.Repeat("a=b&", 2000), "?" + strings.Repeat("x", 9000)} {
			if r.method == http.MethodGet {
				s.judge(fmt.Sprintf("%s%.40s", r, query), r.path, s.call(r.method, s.fill(r.path)+query, "", s.right(r)...), false)
			}
		}
	}
}

func TestHostile_MethodsThatAPathHasNotAreRefused(t *testing.T) {
	check.WithoutRace(t)
	s := besiege(t)
	has := map[string][]string{}
	for _, r := range s.routes() {
		has[r.path] = append(has[r.path], r.method)
	}
	for path, methods := range has {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "PROPFIND", "get", strings.Repeat("X", 3000)} {
			if slices.Contains(methods, method) || s.matched(method, path) {
				continue
			}
			header := append(s.right(route{method: methods[0], path: path}), "Content-Type", jsonType)
			r := s.call(method, s.fill(path), "{}", header...)
			s.judge(fmt.Sprintf("%.40s %s", method, path), path, r, true)
			noFactor := strings.HasPrefix(path, "/api/v2/guardian/factors/") && r.member("errorCode") == "method_not_available"
			if r.status != 405 && !noFactor {
				t.Errorf("%.40s %s: %d", method, path, r.status)
			}
		}
	}
}

// matched reports whether another route takes method for path: /users/mfa-reset also matches /users/:id.
func (m *mounted) matched(method, path string) bool {
	for _, r := range m.routes() {
		pattern := "^" + parameter.ReplaceAllString(r.path, "[^/]+") + "$"
		if r.method == method && regexp.MustCompile(pattern).MatchString(path) {
			return true
		}
	}
	return false
}

func TestHostile_HeadersThatAreTooMuchAreRefused(t *testing.T) {
	check.WithoutRace(t)
	s := besiege(t)
	for i, r := range s.routes() {
		body, kind := s.bodyOf(r.method, r.path)
		many := []string{"Content-Type", kind}
		for i := range 2000 {
			many = append(many, fmt.Sprintf("X-%d", i), "x")
		}
		tooMuch := map[string][]string{
			"one of 17 KB": {"Content-Type", kind, "X-Large", strings.Repeat("x", 17<<10)}, "one of 1 MB": {"X-Large", strings.Repeat("x", 1<<20)},
			"2000 fields": many, "a token of 17 KB": {"Authorization", "Bearer " + strings.Repeat("x", 17<<10)},
		}
		for _, name := range shortly(i, slices.Sorted(maps.Keys(tooMuch))) {
			a := s.call(r.method, s.fill(r.path), body, tooMuch[name]...)
			s.judge(fmt.Sprintf("%s, %s", r, name), r.path, a, true)
			if a.status != 431 {
				t.Errorf("%s, %s: %d", r, name, a.status)
			}
		}
	}
}

// wire sends bytes over a bare connection, closes its sending side, and returns the answers; none when the server
// closed without a word.
func (s *siege) wire(raw string) []reply {
	s.t.Helper()
	c, err := new(net.Dialer).DialContext(s.t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	s.must(err)
	defer func() { _ = c.Close() }()
	s.must(c.SetDeadline(time.Now().Add(time.Minute)))
	if _, err := io.WriteString(c, raw); err == nil { // the server may have had enough before the end
		_ = c.(*net.TCPConn).CloseWrite()
	}
	var answers []reply
	reader := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(reader, httptest.NewRequest(http.MethodGet, "/", nil))
		if err != nil {
			return answers
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return answers
		}
		answers = append(answers, reply{resp.StatusCode, resp.Header, body})
	}
}

// malformed are requests to METHOD PATH that are no HTTP, or HTTP that nobody should send.
var malformed = map[string]string{
	"a length that is none":      "METHOD PATH HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
	"a length below 0":           "METHOD PATH HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
	"an enormous length":         "METHOD PATH HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
	"a length that is not kept":  "METHOD PATH HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a\":",
	"a chunk size that is none":  "METHOD PATH HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
	"an enormous chunk":          "METHOD PATH HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
	"a chunk below 0":            "METHOD PATH HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
	"a chunk that is cut":        "METHOD PATH HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
	"no last chunk":              "METHOD PATH HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
	"too much after continue":    "METHOD PATH HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
	"a head that is cut":         "METHOD PATH HTTP/1.1\r\nHost: x\r\nContent-Le",
	"a field without a name":     "METHOD PATH HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n",
	"a field without a colon":    "METHOD PATH HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
	"a NUL in a field":           "METHOD PATH HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
	"a path that does not parse": "METHOD PATH%zz HTTP/1.1\r\nHost: x\r\n\r\n",
	"a path with a NUL":          "METHOD PATH\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
	"bytes that are no text":     "METHOD PATH\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
	"no version":                 "METHOD PATH\r\n\r\n",
	"another protocol":           "METHOD PATH SMTP/1.0\r\nHost: x\r\n\r\n",
	"HTTP/2":                     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"TLS":                        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	"an endless line":            "METHOD PATH" + strings.Repeat("x", 40_000),
	"another host's address":     "METHOD http://elsewhere.example.com:99999/ HTTP/1.1\r\nHost: x\r\n\r\n",
	"a tunnel":                   "CONNECT PATH HTTP/1.1\r\nHost: x\r\n\r\n",
}

func TestHostile_RequestsThatAreMalformedAreRefused(t *testing.T) {
	check.WithoutRace(t)
	s := besiege(t)
	names := slices.Sorted(maps.Keys(malformed))
	for i, r := range s.routes() {
		for _, name := range shortly(i, names) {
			what := fmt.Sprintf("%s, %s", r, name)
			answers := s.wire(strings.NewReplacer("METHOD", r.method, "PATH", s.fill(r.path)).Replace(malformed[name]))
			for _, a := range answers {
				// The path itself may be gone by the time that the answer is made: then it is in the app API's words.
				if a.status >= 500 || a.status/100 == 2 && !r.isOpen() {
					t.Errorf("%s: %d %.300s", what, a.status, a.body)
				}
				if a.status >= 400 && len(a.body) > 0 && !r.isPage() && !json.Valid(a.body) {
					t.Errorf("%s: %d %.300s", what, a.status, a.body)
				}
			}
		}
	}
	if changed := changes(s.before, s.contents()); len(changed) > 0 {
		t.Errorf("written: %q", changed)
	}
}

func TestHostile_OldAndHastyCallersAreAnswered(t *testing.T) {
	check.WithoutRace(t)
	s := besiege(t)
	for _, r := range s.routes() {
		path := s.fill(r.path)
		body, kind := s.bodyOf(r.method, r.path)
		if r.String() == "POST /api/restores" {
			body = "{" // it would be taken
		}
		one := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", r.method, path, kind, len(body), body)
		many := s.wire(strings.Repeat(one, 5))
		if len(many) != 5 {
			t.Errorf("%s: %d answers to 5 requests at once", r, len(many))
		}
		old := s.wire(strings.Replace(strings.Replace(one, "HTTP/1.1", "HTTP/1.0", 1), "Host: x\r\n", "", 1))
		if len(old) != 1 {
			t.Errorf("%s: %d answers to HTTP/1.0", r, len(old))
		}
		waiting := s.wire(strings.Replace(one, "Host: x\r\n", "Host: x\r\nExpect: 100-continue\r\n", 1))
		for _, a := range slices.Concat(many, old, waiting) {
			if a.status != 100 {
				s.judge(r.String(), r.path, a, r.refuses())
			}
		}
		// What comes behind a request whose length is told in two ways is not answered.
		hidden := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", r.method, path)
		if answers := s.wire(hidden); len(answers) != 1 || answers[0].status != 400 {
			t.Errorf("%s: two lengths: %v", r, answers)
		}
	}
	if changed := changes(s.before, s.contents()); len(changed) > 0 {
		t.Errorf("written: %q", changed)
	}
}
