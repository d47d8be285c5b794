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

// The longest bodies of calls. A backup has at most 1 MiB, or less if the policy says so. A body that is a little longer still
// reaches the handler, which knows the policy and can say what is wrong.
const (
	maxBodyBytes       = 64 << 10
	maxBackupBodyBytes = 1<<20 + 64<<10
	maxBulkBodyBytes   = 1 << 20 // a thousand user ids, each of 255 bytes and escaped
)

// DefaultBodyLimit allows 64 KiB, for a PUT of a backup a little over 1 MiB, and for a reset of many users 1 MiB.
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
		Immutable:                    true, // a string that a handler takes from a call may outlive the call
		ReduceMemoryUsage:            true, // a held connection keeps no buffers
		DisableStartupMessage:        true,
		CaseSensitive:                true,  // so is the choice of the error body by path
		UnescapePath:                 false, // an id in a path may hold %2F, %25 and +
		DisablePreParseMultipartForm: true,  // would write files before anybody looked at the call
		ReadBufferSize:               maxHeaderBytes,
		BodyLimit:                    maxBodyBytes,
		Concurrency:                  2*s.bound + 1024, // the listener's bound must come first: it answers better. A worker may outlive its connection
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
	app.Use(noteRoute)
	return app
}

// newEngine makes the HTTP engine: the edge before Fiber's router, limits by path, and our own answer to a request that
// fails before it can be routed. All handlers must be mounted before.
func newEngine(s *Server) *fasthttp.Server {
	s.route = s.app.Handler()
	s.atDoors = s.closeDoors()
	s.countRoutes()
	engine := s.app.Server()
	engine.Handler = s.serve
	engine.ErrorHandler = s.unreadable
	engine.HeaderReceived = s.headerReceived
	engine.SecureErrorLogMessage = true
	return engine
}

// headerReceived asks a request's door, and bounds its body, which is read only after this. The deadline is for the whole
// body: a trickle of bytes does not move it.
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

// unreadable answers a request that could not be read: too large, too slow, or no HTTP. Then it closes the connection. The
// engine has often forgotten the request by now, so the connection's own record tells which API the caller wanted.
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
		// More of the request may be on its way. Closing before it is read would reset the connection and lose the answer.
		c.unread = !c.late
	}
	call.write(refusal(call.api, status, message))
}
