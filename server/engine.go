package server

import (
	"bytes"
	"errors"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"tutela/storage"
)

// Bodies: what any call may send, and what a backup may. A backup has 1 MiB at most, and the policy in force says less:
// a body a little over it still reaches the handler, which knows the policy.
const (
	maxBodyBytes       = 64 << 10
	maxBackupBodyBytes = 1<<20 + 64<<10
	maxBulkBodyBytes   = 1 << 20 // a thousand user ids, each of 255 bytes and escaped
)

// DefaultBodyLimit allows 64 KiB, a PUT of a backup 1 MiB and some, and a reset of many users 1 MiB.
func DefaultBodyLimit(method, path string) int {
	switch {
	case method == http.MethodPut && strings.HasPrefix(path, "/api/device-accounts/") && strings.HasSuffix(path, "/backup"):
		return maxBackupBodyBytes
	case method == http.MethodPost && path == "/api/v2/users/mfa-reset":
		return maxBulkBodyBytes
	}
	return maxBodyBytes
}

// newFiber makes the router.
func newFiber(s *Server) *fiber.App {
	app := fiber.New(fiber.Config{
		Immutable:                    true, // a string taken from a call may outlive it
		ReduceMemoryUsage:            true, // a held connection keeps no buffers
		DisableStartupMessage:        true,
		CaseSensitive:                true,  // as the choice of the error body by path is
		UnescapePath:                 false, // an id in a path may hold %2F, %25 and +
		DisablePreParseMultipartForm: true,  // would write files before anybody looked at the call
		ReadBufferSize:               maxHeaderBytes,
		BodyLimit:                    maxBodyBytes,
		Concurrency:                  2*s.bound + 1024, // the listener's bound comes first and answers better; a worker may outlive its connection
		ReadTimeout:                  s.config.Limits.HeaderTime,
		WriteTimeout:                 s.config.Limits.WriteTime,
		IdleTimeout:                  s.config.Limits.IdleTime,
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			if errors.Is(err, storage.ErrHeld) {
				return nil // no answer yet: the edge runs the handler again
			}
			call := CallOf(c.Context())
			call.write(s.problem(call, err))
			return nil
		},
	})
	app.Use(func(c *fiber.Ctx) error {
		c.SetUserContext(&CallOf(c.Context()).context)
		return c.Next()
	})
	return app
}

// newEngine makes the HTTP engine ready: the edge before Fiber's router, limits by path, and our words for what fails
// before a call can be routed. All handlers are mounted by now.
func newEngine(s *Server) *fasthttp.Server {
	s.route = s.app.Handler()
	s.atDoors = s.closeDoors()
	engine := s.app.Server()
	engine.Handler = s.serve
	engine.ErrorHandler = s.unreadable
	engine.HeaderReceived = s.headerReceived
	engine.SecureErrorLogMessage = true
	return engine
}

// headerReceived shows a request to its door, and sets the bounds of its body, which is read only after this. The deadline
// is for the whole body: drops that keep coming do not move it.
func (s *Server) headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	path, _, _ := bytes.Cut(h.RequestURI(), []byte("?"))
	limit := s.config.Limits.Body(string(h.Method()), string(route(path)))
	if !s.atDoor(h) {
		h.SetContentLength(0) // the engine reads no body
		h.Del("Expect")
	}
	if h.ContentLength() > limit {
		h.Del("Expect") // the engine would tell the caller to go on before it looks at the length
	}
	return fasthttp.RequestConfig{ReadTimeout: s.config.Limits.BodyTime, MaxRequestBodySize: limit}
}

// unreadable answers a request that could not be read: too large, too slow, or no HTTP. The connection is closed after
// it. The engine has often forgotten the request by now, so the connection's own record tells which API was meant.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	var (
		status      = http.StatusBadRequest
		message     = "the request cannot be read"
		small       *fasthttp.ErrSmallBuffer
		ours, known = ctx.Conn().(interface{ connection() *conn })
	)
	switch {
	case known && ours.connection().late:
		status = http.StatusRequestTimeout
		message = "the request took too long to arrive"
	case errors.As(err, &small):
		status = http.StatusRequestHeaderFieldsTooLarge
		message = "the header is too large"
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		status = http.StatusRequestEntityTooLarge
		message = "the body is too large"
	}
	call := s.newCall(ctx)
	call.begin()
	defer call.finish()
	if known {
		c := ours.connection()
		call.path = c.target()
		call.api = apiOf(call.path)
		// More may be on its way: without reading it the close would be a reset, and the answer lost.
		c.unread = !c.late
	}
	call.write(refusal(call.api, status, message))
}
