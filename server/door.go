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

// Asked is what a call says before its body: all that a [Door] looks at. A call of a typed operation is one.
type Asked interface {
	Context() context.Context // [CallOf] finds the call by it
	Header(name string) string
	Param(name string) string // of the path, decoded
}

// Door reports whether a call may come in, before its body is read. What it returns beside nil is handed to the call's
// handler ([Call.Admitted]). An error is answered as a handler's is. Then a body that is not small stays unread, and the
// connection is closed. A door must not wait for anything but the store.
type Door func(asked Asked) (admitted any, err error)

// Door has the calls of a method and a path, written as those of typed operations are, shown to d before their bodies are
// read. A call without a body comes to its handler as it is. Before Serve only.
func (s *Server) Door(method, path string, d Door) {
	path = strings.NewReplacer("{", ":", "}", "").Replace(path)
	s.doors.Add(method, path, func(c *fiber.Ctx) (err error) {
		call := CallOf(c.Context())
		call.admitted, err = d(asked{c, call})
		if err != nil {
			call.write(s.problem(call, err))
			call.turnAway()
		}
		return nil
	})
}

// Admitted returns what the call's door has returned, once; nil when there was no door or no body. A handler that is run
// again has to look for itself.
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

// maxCourtesyBytes is the length of a body that is read, and not looked at, behind a call that was refused: so the connection
// can stay, and the calls that are behind it get their answers.
const maxCourtesyBytes = 8 << 10

// atDoor shows a call whose body is still to be read to its door. It reports whether the body is to be read.
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

// requestOf returns the request that a header is part of. The engine tells of a header before it reads the body, and not
// whose header that is; it is always the one inside of the request's context.
func requestOf(h *fasthttp.RequestHeader) *fasthttp.RequestCtx {
	const at = unsafe.Offsetof(fasthttp.RequestCtx{}.Request) + unsafe.Offsetof(fasthttp.Request{}.Header)
	return (*fasthttp.RequestCtx)(unsafe.Add(unsafe.Pointer(h), -int(at))) //nolint:gosec // stays inside of one object
}

// turnAway notes that the call has its answer, without its body.
func (c *Call) turnAway() {
	header := &c.ctx.Request.Header
	length := header.ContentLength()
	c.turnedAway = true
	c.unread = c.ctx.Response.ConnectionClose() || length < 0 || length > maxCourtesyBytes || len(header.Peek("Expect")) > 0
	c.last = c.last || c.unread // what comes next on the connection is the body
}

// comeIn returns the call of a request that has been read on c: the one that was at a door, or a new one.
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

// closeDoors lets the calls in that have no door, and returns the router's handler.
func (s *Server) closeDoors() fasthttp.RequestHandler {
	s.doors.Use(func(*fiber.Ctx) error { return nil })
	return s.doors.Handler()
}
