package phone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	callTimeout      = 30 * time.Second // beside the wait that a call asks for
	maxResponseBytes = 4 << 20          // ten generations' list and a blob of 1 MiB fit
)

// sharedClient serves the phones that bring no client of their own. It keeps as many connections as a load test has
// phones, and closes an idle one before the server would: a POST on a connection that the server closes is lost.
var sharedClient = sync.OnceValue(func() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		MaxIdleConnsPerHost: 4096,
		IdleConnTimeout:     25 * time.Second,
		DisableCompression:  true,
		WriteBufferSize:     4 << 10,
		ReadBufferSize:      4 << 10,
	}}
})

// Error is a refusal of the server.
type Error struct {
	StatusCode int           // of HTTP
	Code       string        // errorCode: what a program decides by; empty when the body was not of this API
	Message    string        // for people
	RetryAfter time.Duration // how long to wait; zero when the server does not say
	Date       time.Time     // the server's clock
	Generation int64         // with backup_conflict: the latest generation there, 0 for none
	Manifest   string        // with backup_conflict: the manifest of that generation
}

// Error says what the server refused, and with which code.
func (e *Error) Error() string {
	text := e.Message
	if text == "" {
		text = http.StatusText(e.StatusCode)
	}
	if e.Code == "" {
		return fmt.Sprintf("server answered %d: %s", e.StatusCode, text)
	}
	return fmt.Sprintf("server refused (%d %s): %s", e.StatusCode, e.Code, text)
}

// CodeOf returns the errorCode of a refusal; empty when err is no refusal of the server.
func CodeOf(err error) string {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// Call is one request to the API.
type Call struct {
	Method        string
	Path          string // below the base, beginning with /api
	URL           string // in place of base and path
	Authorization string
	Header        map[string]string
	JSON          any           // body, encoded as JSON; nil: none
	Body          []byte        // body as it is, application/octet-stream; used when JSON is nil
	Wait          time.Duration // how long the server was asked to wait
}

// Response is the server's answer to a call that succeeded, with its whole body.
type Response struct {
	StatusCode int
	Header     http.Header
	Body       []byte
}

// decode reads the response's JSON into out.
func (r *Response) decode(out any) error {
	if err := json.Unmarshal(r.Body, out); err != nil {
		return fmt.Errorf("server's answer is not what was asked for: %w", err)
	}
	return nil
}

// Do makes one call and reads its response. A status of 300 or more is an *Error. When the connection fails it returns the
// error of net/http; then nobody knows whether the server acted.
func (p *Phone) Do(ctx context.Context, c Call) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout+c.Wait)
	defer cancel()
	req, err := p.request(ctx, c)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s %s: %w", c.Method, c.Path, err)
	}
	if resp.StatusCode >= 300 {
		return nil, refusal(resp, body)
	}
	return &Response{StatusCode: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

func (p *Phone) request(ctx context.Context, c Call) (*http.Request, error) {
	url := c.URL
	if url == "" {
		base := p.Base()
		if base == "" {
			return nil, ErrNoServer
		}
		url = base + c.Path
	}
	body := c.Body
	kind := "application/octet-stream"
	if c.JSON != nil {
		encoded, err := json.Marshal(c.JSON)
		if err != nil {
			return nil, fmt.Errorf("encode the body of %s %s: %w", c.Method, c.Path, err)
		}
		body = encoded
		kind = "application/json; charset=utf-8"
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, url, reader)
	if err != nil {
		return nil, fmt.Errorf("address of the server: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	if c.Authorization != "" {
		req.Header.Set("Authorization", c.Authorization)
	}
	for name, value := range c.Header {
		req.Header.Set(name, value)
	}
	return req, nil
}

func refusal(resp *http.Response, body []byte) *Error {
	var wire struct {
		Message    string `json:"message"`
		ErrorCode  string `json:"errorCode"`
		Generation int64  `json:"generation"`
		Manifest   string `json:"manifest"`
	}
	_ = json.Unmarshal(body, &wire) // a proxy's error page has none of these, and its status says enough
	e := &Error{
		StatusCode: resp.StatusCode,
		Code:       wire.ErrorCode,
		Message:    wire.Message,
		Generation: wire.Generation,
		Manifest:   wire.Manifest,
	}
	if s, err := strconv.Atoi(strings.TrimSpace(resp.Header.Get("Retry-After"))); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		e.Date = date
	}
	return e
}
