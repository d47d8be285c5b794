package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"tutela/storage"
)

// mount is the second place where everything is served. Guardian's mobile SDKs append it to the base URL that they were
// given.
//
// Source: guardian-wire.md §1.3.
const mount = "/appliance-mfa"

// route returns the path by which a call is routed, a part of the path that was asked for: without the second mount,
// without a slash at its end, and with one at its beginning where base URLs that end in a slash make two.
func route(path []byte) []byte {
	routed := oneSlash(path)
	if below, ok := bytes.CutPrefix(routed, []byte(mount)); ok && (len(below) == 0 || below[0] == '/') {
		routed = oneSlash(below)
	}
	if n := len(routed); n > 1 && routed[n-1] == '/' {
		routed = routed[:n-1]
	}
	if len(routed) == 0 {
		return []byte("/")
	}
	return routed
}

// oneSlash drops all but the last of the slashes that a path begins with.
func oneSlash(path []byte) []byte {
	for len(path) > 1 && path[0] == '/' && path[1] == '/' {
		path = path[1:]
	}
	return path
}

// Call is one request as the edge sees it. It ends with its handler: nothing may keep it.
type Call struct {
	ID      string     // random; in the answer as X-Request-Id, and in the log
	Address netip.Addr // who calls, behind the declared proxies

	server  *Server
	ctx     *fasthttp.RequestCtx
	api     API
	path    string    // as asked for, without the query
	began   time.Time // when the request had been read
	exempt  bool      // not counted by the limit per address
	last    bool      // the caller wants the connection closed after the answer
	failure error     // an error of ours, for the log
	context callContext
	place   *place // of its wait among Waits; nil: it has none
	waited  bool   // it was routed before

	outside    bool // its body is not read yet
	turnedAway bool // it was answered without its body
	unread     bool // and that is not read at all
	admitted   any  // what its door has returned
}

// callKey finds the call in a request's context.
type callKey struct{}

// callContext is the context of a call's handler, the same in each of its runs: it holds the call, and its wait.
type callContext struct {
	context.Context
	call *Call
	wait storage.Held
}

// Value returns the call, or what package storage keeps the wait in.
func (c *callContext) Value(key any) any {
	switch key {
	case callKey{}:
		return c.call
	case storage.HeldKey():
		return &c.wait
	}
	return c.Context.Value(key)
}

// CallOf returns the call that ctx belongs to: the context of a typed operation, or c.UserContext() of a Fiber handler.
// It returns nil for a context that is no call's.
//
// A handler must pass no c.Context() on: the engine uses that one again for another request while contexts made from it
// still live.
func CallOf(ctx context.Context) *Call {
	call, _ := ctx.Value(callKey{}).(*Call)
	return call
}

// newCall makes the call of a request that has been read.
func (s *Server) newCall(ctx *fasthttp.RequestCtx) *Call {
	call := &Call{server: s, ctx: ctx}
	call.context = callContext{Context: context.Background(), call: call}
	return call
}

// begin names the call, finds out who calls, and makes its path the one by which it is routed.
func (c *Call) begin() {
	c.ID = rand.Text()
	c.began = time.Now()
	path, query := c.target()
	c.path = string(path[:min(len(path), maxLoggedPath)])
	routed := route(path)
	c.api = apiOf(string(routed))
	if len(routed) != len(path) {
		target := append([]byte(nil), routed...)
		c.ctx.Request.SetRequestURIBytes(append(target, query...))
	}
	c.server.locate(c)
	c.ctx.SetUserValue(callKey{}, c)
}

// target returns the path and the query of the call, the query with its question mark. The engine takes what stands
// behind two slashes for a host; here it is a path.
func (c *Call) target() (path, query []byte) {
	path = c.ctx.Request.Header.RequestURI()
	if len(path) == 0 || path[0] != '/' {
		path = c.ctx.URI().PathOriginal()
		if asked := c.ctx.URI().QueryString(); len(asked) > 0 {
			query = append([]byte("?"), asked...)
		}
		return path, query
	}
	if at := bytes.IndexByte(path, '?'); at >= 0 {
		return path[:at], path[at:]
	}
	return path, nil
}

// Path returns the path that was asked for, without the query: where the caller is, for links.
func (c *Call) Path() string { return c.path }

// locate finds out who calls, and whether that counts. Only a caller on this machine who
// speaks for himself is exempt: a proxy here, declared or not, speaks for strangers, also when it does not say for whom.
func (s *Server) locate(call *Call) {
	header := &call.ctx.Request.Header
	peer := netip.IPv6Loopback() // a socket without addresses is on this machine
	if tcp, ok := call.ctx.RemoteAddr().(*net.TCPAddr); ok {
		peer = tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	call.Address = peer
	switch {
	case s.proxies.trust(peer):
		forwarded := header.PeekAll("X-Forwarded-For")
		call.Address = s.proxies.caller(peer, forwarded)
		if len(forwarded) == 0 && !isHealth(call.path) {
			s.silentProxy.Do(func() {
				s.log.Warn("a declared proxy sends no X-Forwarded-For: all its callers share one limit; have it name them", "proxy", peer)
			})
		}
	case peer.IsLoopback():
		call.exempt = !isRelayed(header)
		if !call.exempt {
			s.proxySeen.Do(func() {
				s.log.Warn("calls come through a proxy on this machine that is not declared: all its callers share one limit; "+
					"declare it with --trusted-proxy", "proxy", peer)
			})
		}
	}
}

// isRelayed reports whether a request has a field that only a proxy writes.
func isRelayed(h *fasthttp.RequestHeader) bool {
	for _, name := range [...]string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} {
		if len(h.Peek(name)) > 0 {
			return true
		}
	}
	return false
}

// CallerIsThere reports whether the caller's connection still stands: whether he, or the proxy before him, has not closed
// it. He may be gone without having closed it, and may go right after this: an answer can always be lost.
func (c *Call) CallerIsThere() bool {
	ours := connOf(c.ctx)
	if ours == nil {
		return true
	}
	socket, ok := ours.raw.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	there := true
	err = raw.Control(func(fd uintptr) {
		// Not by reading: a request that is behind this one, or the end of TLS, would hide the end of the connection.
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(polled, 0)
		there = err != nil || n == 0
	})
	return err == nil && there
}

// SetHeader sets a header field of the answer.
func (c *Call) SetHeader(name, value string) { c.ctx.Response.Header.Set(name, value) }

// Failed notes an error of ours for the log, for a handler that answers it in words of its own.
func (c *Call) Failed(err error) { c.failure = err }

// write makes p the answer.
func (c *Call) write(p *Problem) {
	c.ctx.Response.ResetBody()
	c.ctx.SetStatusCode(p.Status)
	for _, field := range p.header() {
		c.SetHeader(field[0], field[1])
	}
	c.ctx.SetContentType(jsonType)
	c.ctx.SetBody(p.body(c.api))
}
