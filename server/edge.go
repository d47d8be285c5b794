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

// serve takes one call through the edge: named, looked over, routed, and, whatever came of it, finished.
func (s *Server) serve(ctx *fasthttp.RequestCtx, route fasthttp.RequestHandler) {
	call := s.newCall(ctx)
	defer s.finish(call)
	if !plainlyFramed(&ctx.Request.Header) {
		ctx.SetConnectionClose() // what comes next on it may be no request
		call.write(refusal(call.api, http.StatusBadRequest, "the request's header is ambiguous"))
		return
	}
	if p := inspect(ctx, call.api); p != nil {
		call.write(p)
		return
	}
	if s.crossOrigin(call) {
		return
	}
	route(ctx)
}

// finish completes the answer and logs the call. As the deferred function it also catches a panic: the caller gets the
// request's id, the log gets the stack.
func (s *Server) finish(call *Call) {
	if caught := recover(); caught != nil {
		s.log.Error("a call panicked", "request", call.ID, "panic", fmt.Sprint(caught), "stack", string(debug.Stack()))
		call.ctx.Response.Reset()
		call.write(internal(call))
	}
	if call.failure != nil {
		s.log.Error("a call failed", "request", call.ID, "err", call.failure)
	}
	header := &call.ctx.Response.Header
	header.Set("X-Request-Id", call.ID)
	header.Set("X-Content-Type-Options", "nosniff")
	if len(header.Peek("Cache-Control")) == 0 {
		header.Set("Cache-Control", "no-store") // most answers hold a secret; one that may be kept says so
	}
	if s.closing.Load() {
		header.SetConnectionClose()
	}
	s.logCall(call)
}

// logCall writes the line of one call: no query, no header, no body, so no secret.
func (s *Server) logCall(call *Call) {
	level := slog.LevelInfo
	if call.path == healthPath || call.path == readyPath {
		level = slog.LevelDebug
	}
	ctx := context.Background()
	if !s.log.Enabled(ctx, level) {
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

// inspect refuses what must not reach a router: methods that Fiber answers in plain text, targets that do not parse
// (on which Huma's adapter would panic), and encoded bodies, which Fiber would inflate without a bound.
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

// plainPath tells that a path needs no parser to be known as good.
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

// validEscapes tells whether every % of a query begins an escape.
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
