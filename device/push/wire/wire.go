// Package wire is what the push services that speak HTTP have in common. Nothing that a service answers is believed to be short,
// well formed or from the service: at most MaxAnswerBytes are read, and no redirect is followed.
package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tutela/storage/outbox"
)

// MaxAnswerBytes bounds what is read of the body and of the header of an answer. The services answer a few hundred bytes.
const MaxAnswerBytes = 64 << 10

// ErrTooLarge reports an answer with a longer body.
var ErrTooLarge = fmt.Errorf("the answer has more than %d bytes", MaxAnswerBytes)

// Times of a connection.
const (
	dialTime     = 10 * time.Second
	idleTime     = 90 * time.Second
	pingInterval = 15 * time.Second // of silence on an HTTP/2 connection, after which it is asked whether it is alive
	pingTime     = 10 * time.Second
)

// idleConnections is how many connections to one host stay open when they are idle: more than the outbox sends at once, so
// that no message pays for a TLS handshake.
const idleConnections = 128

// NewTransport returns a transport that uses the proxy of the environment (HTTPS_PROXY, NO_PROXY) and keeps connections open.
func NewTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTime, KeepAlive: pingInterval}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           idleConnections,
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        idleTime,
		TLSHandshakeTimeout:    dialTime,
		DisableCompression:     true, // answers are short, and a compressed one may not be
		MaxResponseHeaderBytes: MaxAnswerBytes,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: pingInterval,
			PingTimeout:     pingTime,
		},
	}
}

// Answer is what a server has answered. Its body is whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Fetch sends a request and reads the answer. It follows no redirect.
//
// Errors: ErrTooLarge; those of the connection.
func Fetch(by http.RoundTripper, req *http.Request) (Answer, error) {
	resp, err := by.RoundTrip(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes+1))
	if err != nil {
		return Answer{}, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > MaxAnswerBytes {
		return Answer{}, ErrTooLarge
	}
	return Answer{resp.StatusCode, resp.Header, body}, nil
}

// OK reports whether the status is 2xx.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status <= 299 }

// Response returns the answer for a library that has asked for it.
func (a Answer) Response(req *http.Request) *http.Response {
	return &http.Response{
		Status:        strconv.Itoa(a.Status) + " " + http.StatusText(a.Status),
		StatusCode:    a.Status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        a.Header,
		Body:          io.NopCloser(bytes.NewReader(a.Body)),
		ContentLength: int64(len(a.Body)),
		Request:       req,
	}
}

// Exchange is what became of a request that a library has made. Libraries hand on neither the status nor the header, or hide them
// in errors that quote the URL.
type Exchange struct {
	Asked  bool // a request was sent, or was to be sent
	Answer Answer
	Err    error // of the connection, or of the credentials
}

type exchangeKey struct{}

// Watch returns a context for a call of a library, and where to read, after the call, what [Note] has noted of its last request.
func Watch(ctx context.Context) (context.Context, *Exchange) {
	e := &Exchange{}
	return context.WithValue(ctx, exchangeKey{}, e), e
}

// Note notes what became of a request. A transport calls it once for each request of the library.
func Note(req *http.Request, answer Answer, err error) {
	if e, ok := req.Context().Value(exchangeKey{}).(*Exchange); ok {
		*e = Exchange{true, answer, err}
	}
}

// RetryAfter returns how long the service asks to be left alone: at least 0, at most a day.
func (a Answer) RetryAfter(now time.Time) time.Duration {
	return outbox.ParsePause(a.Header.Get("Retry-After"), now)
}

// ParseEndpoint reads the URL of a service or of its stand-in: https, or http on this machine alone, with at most a path. It
// returns the URL without a slash at its end. Its error says what the URL must be.
func ParseEndpoint(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(text, "?#") {
		return "", errors.New("it must be a URL such as https://push.example.com")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return "", errors.New("it must begin with https:// (http:// only on this machine)")
	}
	return strings.TrimRight(text, "/"), nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
