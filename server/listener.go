package server

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tutela/storage/meter"
)

// How long, and how many bytes, the server still reads from a caller whose request it has refused, so that the caller can
// read the answer.
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 16 << 20
)

// promptBytes is how much of an answer fits into the socket's buffer. A caller who does not read more than that is silent.
const promptBytes = 16 << 10

// The pause after an accept that failed because the machine lacks something. It doubles from the first to the last.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// listener accepts as many connections as the crowd has room for, and can close all that it accepted.
type listener struct {
	net.Listener
	*crowd
	tls  *tls.Config // nil: none
	idle time.Duration

	meter   *meter.Set
	stopped chan struct{} // closed by stop
	once    sync.Once
}

func newListener(inner net.Listener, idle time.Duration, cert *certificate, open *crowd) *listener {
	l := &listener{
		Listener: inner,
		crowd:    open,
		idle:     idle,
		stopped:  make(chan struct{}),
	}
	if cert != nil {
		l.tls = cert.config()
	}
	return l
}

// Accept returns the next connection. When the machine is out of file descriptors or buffers it waits and does not fail,
// because the engine takes any failure for the end. After stop it fails with net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	pause := firstPause
	for {
		inner, err := l.Listener.Accept()
		select {
		case <-l.stopped:
			if err == nil {
				err = inner.Close()
			}
			return nil, errors.Join(net.ErrClosed, err)
		default:
		}
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil:
			l.log.Error("cannot accept a connection", "err", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-l.stopped:
			}
			pause = min(2*pause, lastPause)
			continue
		}
		pause = firstPause
		if c := l.adopt(inner); c != nil {
			return c, nil
		}
	}
}

// adopt adds a connection to the open ones. When there are too many it closes the connection and returns nil.
func (l *listener) adopt(inner net.Conn) net.Conn {
	c := &conn{Conn: inner, raw: inner, listener: l}
	c.idle.Store(true)
	var handed net.Conn = c
	if l.tls != nil {
		secured := tls.Server(inner, l.tls)
		c.Conn = secured
		handed = &tlsConn{conn: c, secured: secured}
	}
	replaced, hurried, ok := l.join(c)
	if replaced != nil {
		l.discard(replaced.raw)
	}
	if !ok {
		connectionsDenied.Add(l.meter, 1)
		l.turnAway(inner)
		return nil
	}
	for _, other := range hurried {
		if err := other.raw.SetReadDeadline(time.Now().Add(crowdedIdle)); err != nil {
			l.log.Debug("hurry a connection", "err", err)
		}
	}
	// The engine sets no deadline for a connection's first byte.
	if c.waitUntil(time.Now().Add(l.idle)) != nil {
		if err := c.Close(); err != nil {
			l.log.Debug("close a connection", "err", err)
		}
		return nil
	}
	return handed
}

// turnAway tells a caller that there are too many connections, before it reads any of the request. It does not block: the
// answer fits into the buffer of a new socket.
func (l *listener) turnAway(inner net.Conn) {
	if l.tls == nil && inner.SetWriteDeadline(time.Now().Add(time.Second)) == nil {
		p := &Problem{Status: 503, Code: "unavailable", Message: "too many connections; try again later"}
		body := p.body(AppAPI)
		_, err := fmt.Fprintf(inner, "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"+
			"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s", jsonType, len(body), body)
		if err != nil {
			l.log.Debug("a caller that was turned away did not hear why", "err", err)
		}
	}
	l.discard(inner)
}

func (l *listener) discard(inner net.Conn) {
	if err := inner.Close(); err != nil {
		l.log.Debug("close a connection", "err", err)
	}
}

// stop ends Accept, and closes the connections on which no request ever came: nobody waits for an answer there.
func (l *listener) stop() {
	l.once.Do(func() { close(l.stopped) })
	if err := l.Listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		l.log.Warn("close the listener", "err", err)
	}
	l.closeIf(func(c *conn) bool { return !c.used.Load() })
}

// closeIdle closes the connections on which no request has begun since the last answer.
func (l *listener) closeIdle() {
	l.closeIf(func(c *conn) bool { return c.idle.Load() })
}

// closeAll closes every connection, also those with running calls.
func (l *listener) closeAll() {
	l.closeIf(func(*conn) bool { return true })
}

func (l *listener) closeIf(pick func(*conn) bool) {
	l.mu.Lock()
	picked := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		if pick(c) {
			picked = append(picked, c)
		}
	}
	l.mu.Unlock()
	for _, c := range picked {
		l.discard(c.raw)
	}
}

// open returns the number of open connections.
func (l *listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// conn is one connection. Reads and writes come from the one goroutine that serves it; Close may come from any.
type conn struct {
	net.Conn          // what is read and written: raw, or TLS over it
	raw      net.Conn // the socket
	listener *listener
	member
	used     atomic.Bool // something was read
	idle     atomic.Bool // the next request has not begun
	closed   sync.Once
	closeErr error

	// Owned by the serving goroutine.
	entering *Call    // the call that was at a door; nil: the request has no door
	late     bool     // a read ran into its deadline; errors.Is cannot find that in the engine's error
	answered bool     // the engine turns to the next request
	unread   bool     // the request was refused before it was all read
	written  bool     // something was written since the head began
	headSize int      // bytes of head in use
	head     [64]byte // how the request being read begins, for the error body of one that cannot be read
}

func (c *conn) connection() *conn { return c }

// Read reads, and keeps the first bytes of the request in head.
func (c *conn) Read(p []byte) (int, error) {
	c.rest()
	n, err := c.Conn.Read(p)
	c.late = errors.Is(err, os.ErrDeadlineExceeded)
	if n > 0 {
		if !c.used.Load() {
			c.used.Store(true)
		}
		if c.idle.Load() {
			c.idle.Store(false)
		}
		if c.written {
			c.headSize = 0
			c.written = false
		}
		c.headSize += copy(c.head[c.headSize:], p[:n])
	}
	return n, err
}

// SetReadDeadline sets the deadline. After an answer, it is the deadline for the first byte of the next request.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !c.answered {
		return c.Conn.SetReadDeadline(t)
	}
	c.answered = false
	c.idle.Store(true)
	return c.waitUntil(t)
}

// waitUntil lets an idle connection stay until t, or a shorter time in a crowd. It marks the connection idle first, so a
// crowd that begins meanwhile finds it.
func (c *conn) waitUntil(t time.Time) error {
	err := c.Conn.SetReadDeadline(t)
	if sooner := time.Now().Add(crowdedIdle); err == nil && sooner.Before(t) && c.listener.isCrowded() {
		err = c.Conn.SetReadDeadline(sooner)
	}
	return err
}

// Write writes an answer. The next bytes that are read begin a new request, unless the answer was 100 Continue.
func (c *conn) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 100 ")) {
		c.written = true
	}
	if len(p) > promptBytes {
		c.rest()
	}
	return c.Conn.Write(p)
}

// target returns the beginning of the request's path, as routed; "" when the path did not arrive.
func (c *conn) target() string {
	_, rest, _ := bytes.Cut(c.head[:c.headSize], []byte(" "))
	if end := bytes.IndexAny(rest, " ?\r\n"); end >= 0 {
		rest = rest[:end]
	}
	return string(route(rest))
}

// Close closes the connection, after the caller has had time to read why the server refused its request.
func (c *conn) Close() error {
	c.closed.Do(func() {
		if c.unread {
			c.linger()
		}
		c.closeErr = c.Conn.Close()
		c.listener.leave(c)
	})
	return c.closeErr
}

// linger ends writing, and reads on for a while. Closing a socket with unread input resets it, and a reset can overtake
// the answer.
func (c *conn) linger() {
	c.rest()
	if secured, ok := c.Conn.(*tls.Conn); ok && secured.CloseWrite() != nil {
		return
	}
	if socket, ok := c.raw.(interface{ CloseWrite() error }); !ok || socket.CloseWrite() != nil {
		return
	}
	if c.raw.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, c.raw, lingerBytes); err != nil && !errors.Is(err, io.EOF) {
		c.listener.log.Debug("a refused caller did not stop sending", "err", err)
	}
}

// tlsConn is a connection over TLS. The engine recognises TLS by these two methods.
type tlsConn struct {
	*conn
	secured *tls.Conn
}

// Handshake runs the TLS handshake, if it has not run.
func (c *tlsConn) Handshake() error {
	err := c.secured.Handshake() //nolint:noctx // the engine has set a deadline on the connection
	if err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return nil
}

// ConnectionState returns what the handshake agreed on.
func (c *tlsConn) ConnectionState() tls.ConnectionState { return c.secured.ConnectionState() }
