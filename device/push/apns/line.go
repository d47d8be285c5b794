package apns

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// line is a transport with one connection to one server. What is beyond the server's limit of streams waits. A transport of net/http
// that is told to wait (StrictMaxConcurrentRequests) can stand still for ever (golang/go#70809), and opens connections otherwise.
type line struct {
	by      *http.Transport
	scheme  string
	address string // host and port

	mu      sync.Mutex
	conn    *http.ClientConn
	proved  bool // the connection has answered a request, so the server's limit of streams is known
	proving bool // the first request is under way: APNs takes one until it has seen a provider token
	answers uint // on the connection
	opening *opening

	changes signal
}

// opening is a connection that is being made. err is set before done is closed.
type opening struct {
	done chan struct{}
	err  error
}

// signal wakes those who wait for a change. It has a lock of its own: a connection tells of changes at any time.
type signal struct {
	mu      sync.Mutex
	changed chan struct{}
}

// next returns a channel that is closed with the next change.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *signal) send() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func newLine(by *http.Transport, host string) (*line, error) {
	u, err := url.Parse(host)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return &line{by: by, scheme: u.Scheme, address: net.JoinHostPort(u.Hostname(), port)}, nil
}

// mostSends bounds how often a request is sent that no server takes.
const mostSends = 3

// RoundTrip sends a request when there is room for it. A request that a server says it has not looked at is sent again: to the
// server that comes after one that stops, or when it has room.
func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	for n := 1; ; n++ {
		conn, before, err := l.reserve(req.Context())
		if err != nil {
			return nil, err
		}
		resp, err := conn.RoundTrip(req)
		l.answered(conn, err)
		if err != nil && req.Context().Err() != nil {
			l.leaveIfSilent(conn, before)
		}
		if err == nil || !isUntouched(err) || n == mostSends || req.Context().Err() != nil {
			return resp, err
		}
		again := req.Clone(req.Context())
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		req = again
	}
}

// reserve returns the connection, with room for one request, and how many answers have come on it.
//
// Errors: that of ctx; those of a connection that could not be made.
func (l *line) reserve(ctx context.Context) (conn *http.ClientConn, answers uint, err error) {
	for {
		changed := l.changes.next()
		conn, answers, opening := l.try()
		if conn != nil {
			return conn, answers, nil
		}
		var opened chan struct{}
		if opening != nil {
			opened = opening.done
		}
		select {
		case <-opened:
			if opening.err != nil {
				return nil, 0, opening.err
			}
		case <-changed:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// try returns the connection when it has room, and how many answers have come on it; or what is to be waited for: nil is a change.
func (l *line) try() (conn *http.ClientConn, answers uint, next *opening) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && l.conn.Err() != nil {
		l.conn = nil
	}
	if l.conn != nil && (l.proved || !l.proving) {
		room := l.conn.Reserve() == nil
		if !room && l.conn.InFlight() == 0 { // perhaps the last request has ended just now; else the server stops, and takes no more
			room = l.conn.Reserve() == nil
			if !room {
				_ = l.conn.Close()
				l.conn = nil
			}
		}
		if room {
			l.proving = !l.proved
			return l.conn, l.answers, nil
		}
	}
	if l.conn != nil {
		return nil, 0, nil
	}
	if l.opening == nil {
		l.opening = &opening{done: make(chan struct{})}
		go l.open(l.opening)
	}
	return nil, 0, l.opening
}

// openTime bounds the making of a connection. It is not bounded by the delivery that caused it, for others wait for it too. It is
// shorter than an attempt of the outbox, so that the attempt after one that hangs makes a connection anew.
const openTime = 4 * time.Second

func (l *line) open(o *opening) {
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	conn, err := l.by.NewClientConn(ctx, l.scheme, l.address)
	if err == nil {
		conn.SetStateHook(func(*http.ClientConn) { l.changes.send() })
	}
	l.mu.Lock()
	l.conn = conn
	l.proved = false
	l.proving = false
	l.answers = 0
	l.opening = nil
	l.mu.Unlock()
	o.err = err
	close(o.done)
}

// answered notes how a request on the connection has ended.
func (l *line) answered(conn *http.ClientConn, err error) {
	l.mu.Lock()
	if l.conn == conn {
		l.proving = false
		l.proved = l.proved || err == nil
		if err == nil {
			l.answers++
		}
		if err != nil && isLeaving(err) {
			l.conn = nil // it ends by itself when the requests that it has taken are answered
		}
	}
	l.mu.Unlock()
	l.changes.send()
}

// leaveIfSilent closes the connection when no request on it was answered since there were so many answers: whoever asked has waited
// for long enough. Its server may be gone, or stand still, and a ping does not tell.
func (l *line) leaveIfSilent(conn *http.ClientConn, before uint) {
	l.mu.Lock()
	silent := l.conn == conn && l.answers == before
	if silent {
		l.conn = nil
	}
	l.mu.Unlock()
	if silent {
		_ = conn.Close()
		l.changes.send()
	}
}

// close closes the connection if it is idle.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && l.conn.InFlight() == 0 {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// isLeaving reports whether a connection takes no more requests. net/http exports no error for it.
func isLeaving(err error) bool {
	return strings.Contains(err.Error(), "graceful shutdown GOAWAY") || strings.Contains(err.Error(), "client conn not usable")
}

// isUntouched reports whether the server says that it has not looked at the request.
//
// Source: RFC 9113 §8.7.
func isUntouched(err error) bool {
	return isLeaving(err) || strings.Contains(err.Error(), "REFUSED_STREAM") && !errors.Is(err, context.Canceled)
}
