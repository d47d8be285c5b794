// Package openapitest compares the calls that tests make with the OpenAPI description that the server serves. The description
// must cover every call that the server accepts, and every answer. The package watches an HTTP client, so a test of a new
// call needs no line for it.
package openapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// mount is the second path below which everything is served. pages are for people, and no part of the description.
const mount = "/appliance-mfa"

var pages = []string{"/", "/docs", "/mfa/help", "/mfa/style.css", "/mfa/page.js", "/mfa/mark.svg", "/mfa/trust.js", "/mfa/htmx.js", "/mfa/webauthn.js", "/mfa/passkey.js", "/mfa/logo", "/mfa/brand.css"}

// isPage reports whether a path is one of those that people see, with all below it. The page of a challenge shares its path with a call.
func isPage(method, path string) bool {
	for _, root := range []string{"/mfa/enrollment", "/mfa/me", "/admin", "/mfa/challenge"} {
		below := strings.HasPrefix(path, root+"/")
		if below || path == root && (root != "/mfa/challenge" || method == http.MethodGet) {
			return true
		}
	}
	return false
}

// watch is a transport that compares what goes through it.
type watch struct {
	next     http.RoundTripper
	document func() ([]byte, error)

	mu     sync.Mutex
	router routers.Router // of the document; made at the first call
	err    error          // why there is no router
	faults map[string]bool
	seen   map[refusal]bool // hostile tests bring about the same refusal many thousand times
}

// refusal is an answer that took nothing, by what the description says of it.
type refusal struct {
	method string
	path   string
	kind   string
	body   string
	status int
}

// Watch compares every call that client makes with the description that document returns, and fails the test for each
// difference. It asks for the description once, at the first call.
func Watch(t testing.TB, client *http.Client, document func() ([]byte, error)) {
	next := client.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	w := &watch{
		next:     next,
		document: document,
		faults:   map[string]bool{},
		seen:     map[refusal]bool{},
	}
	client.Transport = w
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for fault := range w.faults {
			t.Errorf("openapi.json is not what is served: %s", fault)
		}
	})
}

// CloseIdleConnections passes [http.Client.CloseIdleConnections] on to the client's own transport.
func (w *watch) CloseIdleConnections() {
	if closer, ok := w.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// RoundTrip makes the call, and compares it once it has the whole answer.
func (w *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := w.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(got), failing{err}))
	if err == nil {
		w.compare(req, sent, resp, got)
	}
	return resp, nil
}

// failing ends a body with the error that reading it gave.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// compare notes each part of a call that the description lacks.
func (w *watch) compare(req *http.Request, sent []byte, resp *http.Response, got []byte) {
	path := "/" + strings.Trim(strings.TrimPrefix("/"+strings.TrimLeft(req.URL.EscapedPath(), "/"), mount), "/")
	if slices.Contains(pages, path) || isPage(req.Method, path) || strings.HasPrefix(path, "/docs/") || req.Method == http.MethodHead || req.Method == http.MethodOptions {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.router == nil && w.err == nil {
		w.router, w.err = routerOf(w.document)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		this := refusal{
			method: req.Method,
			path:   path,
			kind:   resp.Header.Get("Content-Type"),
			body:   string(got),
			status: resp.StatusCode,
		}
		if w.seen[this] {
			return
		}
		w.seen[this] = true
	}
	err := w.err
	if err == nil {
		err = fits(w.router, path, req, sent, resp, got)
	}
	if err != nil {
		w.faults[fmt.Sprintf("%s %s %d: %v", req.Method, path, resp.StatusCode, err)] = true
	}
}

var known = struct {
	sync.Mutex
	routers map[string]routers.Router
}{routers: map[string]routers.Router{}}

// routerOf reads a description. Servers that differ in their addresses alone share one.
func routerOf(document func() ([]byte, error)) (routers.Router, error) {
	text, err := document()
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	delete(members, "servers")
	if text, err = json.Marshal(members); err != nil {
		return nil, err
	}
	known.Lock()
	defer known.Unlock()
	if router := known.routers[string(text)]; router != nil {
		return router, nil
	}
	described, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if err := described.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("it is no OpenAPI document: %w", err)
	}
	router, err := gorillamux.NewRouter(described)
	if err == nil {
		known.routers[string(text)] = router
	}
	return router, err
}

// withoutOperation are the statuses of calls that reach no operation.
var withoutOperation = []int{
	http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
	http.StatusUnsupportedMediaType, http.StatusTooManyRequests, http.StatusRequestHeaderFieldsTooLarge, http.StatusServiceUnavailable,
}

// refusedBelow is a path below which the server refuses all that is no operation, but looks at the token first.
const refusedBelow = "/api/v2/guardian/factors/"

// reachesNone reports whether a call may have been answered without an operation.
func reachesNone(path string, status int) bool {
	if strings.HasPrefix(path, refusedBelow) && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
		return true
	}
	return slices.Contains(withoutOperation, status)
}

func fits(router routers.Router, path string, req *http.Request, sent []byte, resp *http.Response, got []byte) error {
	plain, err := http.NewRequestWithContext(context.Background(), req.Method, path, bytes.NewReader(withoutNull(sent))) //nolint:gosec // compared with the document, and never sent
	if err != nil {
		return nil //nolint:nilerr // a path that no request has is refused by the server
	}
	plain.URL.RawQuery = withoutEmpty(req.URL.Query())
	plain.Header = req.Header.Clone()
	route, parameters, err := routeOf(router, plain)
	if err != nil {
		if reachesNone(path, resp.StatusCode) {
			return nil
		}
		return errors.New("there is no such operation")
	}
	if plain.Header.Get("Content-Type") == "" && len(sent) > 0 { // then the server looks at the body
		plain.Header.Set("Content-Type", "application/json")
		if sent[0] != '{' {
			plain.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	}
	options := &openapi3filter.Options{
		AuthenticationFunc:    authorized,
		IncludeResponseStatus: true,
		MultiError:            true,
	}
	options.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string {
		return strings.Join(err.JSONPointer(), "/") + ": " + err.Reason
	})
	in := &openapi3filter.RequestValidationInput{
		Request:    plain,
		PathParams: parameters,
		Route:      route,
		Options:    options,
	}
	var taken error
	if resp.StatusCode < http.StatusMultipleChoices {
		taken = openapi3filter.ValidateRequest(plain.Context(), in)
	}
	return errors.Join(taken, openapi3filter.ValidateResponse(plain.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in,
		Status:                 resp.StatusCode,
		Header:                 resp.Header,
		Body:                   io.NopCloser(bytes.NewReader(got)),
		Options:                options,
	}))
}

// routeOf finds the operation of a request. An id in the path may equal the name of another operation: there is a POST to
// /users/mfa-reset, and there may be a user mfa-reset.
func routeOf(router routers.Router, req *http.Request) (*routers.Route, map[string]string, error) {
	route, parameters, err := router.FindRoute(req)
	if !errors.Is(err, routers.ErrMethodNotAllowed) {
		return route, parameters, err
	}
	last := strings.LastIndexByte(req.URL.Path, '/')
	other := req.Clone(req.Context())
	other.URL.Path = req.URL.Path[:last] + "/-"
	other.URL.RawPath = ""
	return router.FindRoute(other)
}

// authorized returns an error when the operation wants credentials and the call shows none.
func authorized(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	if in.RequestValidationInput.Request.Header.Get("Authorization") == "" {
		return errors.New("it was taken without " + in.SecuritySchemeName)
	}
	return nil
}

// withoutEmpty returns a query without its empty parameters, since the server treats them as absent.
func withoutEmpty(query url.Values) string {
	for name, values := range query {
		if query[name] = slices.DeleteFunc(values, func(value string) bool { return value == "" }); len(query[name]) == 0 {
			delete(query, name)
		}
	}
	return query.Encode()
}

// withoutNull returns a JSON object without its null members, since the server treats them as absent. It returns any other
// body as it is.
func withoutNull(body []byte) []byte {
	var members map[string]json.RawMessage
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	if json.Unmarshal(body, &members) != nil {
		return body
	}
	for name, value := range members {
		if string(value) == "null" {
			delete(members, name)
		}
	}
	whole, err := json.Marshal(members)
	if err != nil {
		return body
	}
	return whole
}
