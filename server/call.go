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

// mount is the second path below which everything is served. Guardian's mobile SDKs append it to their base URL.
//
// Source: guardian-wire.md §1.3.
const mount = "/appliance-mfa"

// route returns the path by which the server routes a call, a part of the path in the request. It leaves out the second
// mount and a slash at the end. Where a base URL that ends in a slash makes two slashes at the beginning, it leaves one.
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

// oneSlash leaves out all but the last of the slashes at the beginning of a path.
func oneSlash(path []byte) []byte {
	for len(path) > 1 && path[0] == '/' && path[1] == '/' {
		path = path[1:]
	}
	return path
}

// Call is one request as the edge sees it. It ends with its handler: nothing may keep it.
type Call struct {
	ID      string     // random; in the answer as X-Request-Id, and in the log
	Address netip.Addr // the caller's, behind the declared proxies

	server  *Server
	ctx     *fasthttp.RequestCtx
	api     API
	path    string    // as asked for, without the query
	began   time.Time // when the request had been read
	exempt  bool      // not counted by the limit per address
	last    bool      // the caller wants the connection closed after the answer
	failure error     // an error of ours, for the log
	context callContext
	place   *place   // of its wait among Waits; nil: it has none
	waited  bool     // it was routed before
	routed  routeKey // the route that it has found
	parked  bool     // it was held at least once

	outside    bool // its body is not read yet
	turnedAway bool // it was answered before its body was read
	unread     bool // its body will never be read
	admitted   any  // what its door has returned
}

// callKey finds the call in a request's context.
type callKey struct{}

// callContext is the context of a call's handler. It holds the call and its wait, and is the same in each run of the handler.
type callContext struct {
	context.Context
	call *Call
	wait storage.Held
}

// Value returns the call, or the wait, which package storage asks for.
func (c *callContext) Value(key any) any {
	switch key {
	case callKey{}:
		return c.call
	case storage.HeldKey():
		return &c.wait
	}
	return c.Context.Value(key)
}

// CallOf returns the call that ctx belongs to. ctx is the context of a typed operation, or c.UserContext() of a Fiber
// handler. For any other context it returns nil.
//
// A handler must not pass c.Context() on: the engine reuses it for another request while contexts made from it still live.
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

// begin gives the call its id, finds out who calls, and sets the path by which the call is routed.
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

// target returns the path and the query of the call, the query with its question mark. The engine would take what follows
// two slashes for a host; here it is a path.
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

// Path returns the path of the request as the caller sent it, without the query. Links build on it.
func (c *Call) Path() string { return c.path }

// locate finds out who calls, and whether the limit per address counts the call. Only a caller on this machine who speaks
// for himself is exempt: a proxy on this machine, declared or not, speaks for strangers, even when it does not say for whom.
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

// CallerIsThere reports whether neither the caller nor a proxy before him has closed the connection. The caller may be
// gone without closing it, or go right after this: an answer can always be lost.
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
		// Reading would not show it: a request behind this one, or the end of TLS, would hide the end of the connection.
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(polled, 0)
		there = err != nil || n == 0
	})
	return err == nil && there
}

// SetHeader sets a header field of the answer.
func (c *Call) SetHeader(name, value string) { c.ctx.Response.Header.Set(name, value) }

// Failed notes an error of ours for the log. A handler calls it when it answers the error in its own words.
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
