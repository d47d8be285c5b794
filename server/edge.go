package server

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// maxLoggedPath is how many bytes of a path the log takes.
const maxLoggedPath = 256

// serve answers one call. A handler that has to wait returns [storage.ErrHeld], and is run again, from its beginning, when
// there is a reason to look again.
//
// The connection's goroutine only waits here, which keeps its stack small ([runners]).
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	c := connOf(ctx)
	if c != nil && !c.begin() {
		ctx.SetConnectionClose() // it was closed to make room for another, and nothing was done
		return
	}
	call := s.comeIn(ctx, c)
	if c != nil {
		c.answered = true // as soon as the engine has the connection again
	}
	if call.turnedAway {
		return // it has its answer
	}
	for s.runners.run(call); call.held(); s.runners.run(call) {
		call.context.wait.Pause()
	}
}

// connOf returns the connection of a request; nil when the listener did not accept it.
func connOf(ctx *fasthttp.RequestCtx) *conn {
	if ours, ok := ctx.Conn().(interface{ connection() *conn }); ok {
		return ours.connection()
	}
	return nil
}

// held reports whether the call's handler waits: the call has no answer yet.
func (c *Call) held() bool { return c.context.wait.GoesOn() }

// advance takes the call through the edge: it gives the call its id, inspects it, asks its door while the body is not read,
// and routes it. Then it finishes the call, whatever happened, unless the call is held. A held call starts at the routing.
func (c *Call) advance() {
	defer c.finish()
	switch {
	case c.began.IsZero():
		c.begin()
		if c.refused() {
			if c.outside {
				c.turnAway()
			}
			return
		}
	case c.waited:
		c.ctx.Response.Reset()
		c.server.crossOrigin(c)
	}
	if c.outside {
		c.server.atDoors(c.ctx)
		return
	}
	c.waited = true
	c.server.route(c.ctx)
}

// refused answers a call that must not come to a handler, and reports whether it did.
func (c *Call) refused() bool {
	plain, last := framing(&c.ctx.Request.Header)
	c.last = last
	if !plain {
		c.ctx.SetConnectionClose() // the bytes that follow may be no request
		c.write(refusal(c.api, http.StatusBadRequest, "the request's header is ambiguous"))
		return true
	}
	if p := inspect(c.ctx, c.api); p != nil {
		c.write(p)
		return true
	}
	return c.server.crossOrigin(c)
}

// finish completes the answer and logs the call, unless it is held. It runs deferred and also catches a panic: then the
// caller gets the request's id, and the log gets the stack.
func (c *Call) finish() {
	s := c.server
	if caught := recover(); caught != nil {
		s.log.Error("a call panicked", "request", c.ID, "panic", fmt.Sprint(caught), "stack", string(debug.Stack()))
		c.ctx.Response.Reset()
		c.write(internal(c))
		if c.outside {
			c.turnAway()
		}
	} else if c.held() || c.outside && !c.turnedAway {
		c.parked = c.parked || c.held()
		return
	}
	c.context.wait.End()
	c.leave()
	if c.failure != nil {
		s.log.Error("a call failed", "request", c.ID, "err", c.failure)
	}
	header := &c.ctx.Response.Header
	header.Set("X-Request-Id", c.ID)
	header.Set("X-Content-Type-Options", "nosniff")
	if len(header.Peek("Cache-Control")) == 0 {
		header.Set("Cache-Control", "no-store") // most answers hold a secret; one that may be kept says so
	}
	if s.hsts {
		header.Set("Strict-Transport-Security", hstsPolicy)
	}
	if c.last || s.closing.Load() {
		header.SetConnectionClose()
	}
	s.figures.count(c)
	s.logCall(c)
}

// logCall logs one call. It writes no query, no header and no body, and so no secret.
func (s *Server) logCall(call *Call) {
	level := slog.LevelInfo
	if isHealth(call.path) {
		level = slog.LevelDebug
	}
	ctx := context.Background()
	if s.config.NoAccessLog || !s.log.Enabled(ctx, level) {
		return
	}
	s.log.LogAttrs(ctx, level, "call",
		slog.String("request", call.ID),
		slog.String("method", string(call.ctx.Method())),
		slog.String("path", call.path),
		slog.Int("status", call.ctx.Response.StatusCode()),
		slog.Duration("took", time.Since(call.began)),
		slog.String("caller", call.Address.String()))
}

// inspect refuses calls that must not reach a router: methods that Fiber answers in plain text, targets that do not parse
// (Huma's adapter would panic on them), and encoded bodies, which Fiber would inflate without a bound.
func inspect(ctx *fasthttp.RequestCtx, api API) *Problem {
	header := &ctx.Request.Header
	if !slices.Contains(fiber.DefaultMethods, string(header.Method())) {
		return refusal(api, http.StatusMethodNotAllowed, "")
	}
	path, query, _ := bytes.Cut(header.RequestURI(), []byte("?"))
	if !plainPath(path) {
		if _, err := url.Parse(string(header.RequestURI())); err != nil {
			return badTarget(api, "invalid_uri", "the path does not parse")
		}
	}
	if !validEscapes(query) {
		return badTarget(api, "invalid_query_string", "the query does not parse")
	}
	if encoding := header.ContentEncoding(); len(encoding) > 0 && !bytes.EqualFold(encoding, []byte("identity")) {
		return refusal(api, http.StatusUnsupportedMediaType, "an encoded body is not read here")
	}
	if kind := header.ContentType(); len(kind) > 0 && !bytes.Equal(kind, []byte(jsonType)) {
		header.SetContentTypeBytes(canonicalType(kind))
	}
	return nil
}

func badTarget(api API, code, message string) *Problem {
	p := refusal(api, http.StatusBadRequest, message)
	if api != LoginAPI {
		p.Code = code
	}
	return p
}

// plainPath reports whether a path is good for sure, so that no parser needs to look at it.
func plainPath(path []byte) bool {
	if len(path) == 0 || path[0] != '/' || bytes.HasPrefix(path, []byte("//")) {
		return false
	}
	for _, b := range path {
		plain := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || bytes.IndexByte([]byte("/-._~|+"), b) >= 0
		if !plain {
			return false
		}
	}
	return true
}

// validEscapes reports whether every % of a query begins an escape.
func validEscapes(query []byte) bool {
	for {
		at := bytes.IndexByte(query, '%')
		if at < 0 {
			return true
		}
		query = query[at+1:]
		if len(query) < 2 || !isHex(query[0]) || !isHex(query[1]) {
			return false
		}
	}
}

func isHex(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F'
}

// canonicalType writes the media type as Huma compares it: in lower case, with no space before the parameters.
//
// Source: RFC 9110 §8.3.1.
func canonicalType(kind []byte) []byte {
	media, parameters, parametrized := bytes.Cut(kind, []byte(";"))
	canonical := bytes.ToLower(bytes.TrimSpace(media))
	if parametrized {
		canonical = append(append(canonical, ';'), parameters...)
	}
	return canonical
}
