package server

import (
	"context"
	"net/url"
	"strings"
	"time"
	"unsafe"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// Asked is a call before its body is read: all that a [Door] may look at. A huma.Context is one.
type Asked interface {
	Context() context.Context // [CallOf] finds the call by it
	Header(name string) string
	Param(name string) string // of the path, decoded
}

// Door decides whether a call may come in, before its body is read. When err is nil, the call's handler gets admitted by
// [Call.Admitted]. An error becomes the answer, as an error of a handler does; then the server closes the connection without
// reading the body, unless that is small. A door must not wait for anything but the store.
type Door func(asked Asked) (admitted any, err error)

// Door makes d decide about the calls of a method and a path before their bodies are read. The path is written as for typed
// operations. A call without a body goes straight to its handler. Before Serve only.
func (s *Server) Door(method, path string, d Door) {
	path = strings.NewReplacer("{", ":", "}", "").Replace(path)
	s.doors.Add(method, path, func(c *fiber.Ctx) (err error) {
		call := CallOf(c.Context())
		call.admitted, err = d(asked{c, call})
		if err != nil {
			call.routed = routeKey{method, path}
			call.write(s.problem(call, err))
			call.turnAway()
		}
		return nil
	})
}

// Admitted returns what the call's door has returned, the first time it is called; later, and when there was no door or no
// body, it returns nil. So a handler that is run again must check for itself.
func (c *Call) Admitted() any {
	admitted := c.admitted
	c.admitted = nil
	return admitted
}

// asked is a call at its door.
type asked struct {
	*fiber.Ctx
	call *Call
}

func (a asked) Context() context.Context  { return &a.call.context }
func (a asked) Header(name string) string { return a.Get(name) }

// Param returns a parameter of the path. The edge has refused paths with a broken escape.
func (a asked) Param(name string) string {
	raw := a.Params(name)
	if value, err := url.PathUnescape(raw); err == nil {
		return value
	}
	return raw
}

// maxCourtesyBytes is how long the body of a refused call may be for the server to read it and throw it away: so the
// connection can stay open, and the calls behind this one get their answers.
const maxCourtesyBytes = 8 << 10

// atDoor asks the door of a call whose body is not read yet. It reports whether to read the body.
func (s *Server) atDoor(h *fasthttp.RequestHeader) bool {
	if h.IsGet() || h.IsHead() || h.ContentLength() == 0 || h.ContentLength() == noBody {
		return true
	}
	ctx := requestOf(h)
	c := connOf(ctx)
	if c == nil {
		return true
	}
	call := s.newCall(ctx)
	call.outside = true
	s.runners.run(call)
	call.outside = false
	c.entering = call
	return !call.unread
}

// noBody is the engine's length of a body that no field announces.
const noBody = -2

// requestOf returns the request that a header is part of. The engine passes the header before it reads the body, but does
// not say to which request it belongs. The header always lies inside the request's context.
func requestOf(h *fasthttp.RequestHeader) *fasthttp.RequestCtx {
	const at = unsafe.Offsetof(fasthttp.RequestCtx{}.Request) + unsafe.Offsetof(fasthttp.Request{}.Header)
	return (*fasthttp.RequestCtx)(unsafe.Add(unsafe.Pointer(h), -int(at))) //nolint:gosec // stays inside of one object
}

// turnAway notes that the call has its answer though its body was not read.
func (c *Call) turnAway() {
	header := &c.ctx.Request.Header
	length := header.ContentLength()
	c.turnedAway = true
	c.unread = c.ctx.Response.ConnectionClose() || length < 0 || length > maxCourtesyBytes || len(header.Peek("Expect")) > 0
	c.last = c.last || c.unread // the unread body comes next on the connection
}

// comeIn returns the call of a request that has been read on c: the call that was at a door, or a new one.
func (s *Server) comeIn(ctx *fasthttp.RequestCtx, c *conn) *Call {
	if c == nil || c.entering == nil {
		return s.newCall(ctx)
	}
	call := c.entering
	c.entering = nil
	c.unread = call.unread
	call.began = time.Now()
	return call
}

// newDoors makes the router of the doors.
func newDoors() *fiber.App {
	return fiber.New(fiber.Config{
		Immutable:             true,
		DisableStartupMessage: true,
		CaseSensitive:         true,
		UnescapePath:          false,
		ErrorHandler:          func(*fiber.Ctx, error) error { return nil },
	})
}

// closeDoors lets calls without a door in, and returns the router's handler. No door can be added after it.
func (s *Server) closeDoors() fasthttp.RequestHandler {
	s.doors.Use(func(*fiber.Ctx) error { return nil })
	return s.doors.Handler()
}
