package server

import (
	"net/http"
	"strings"
)

// What a page of a registered client may send and read across origins.
const (
	corsMethods = "GET, POST, PUT, PATCH, DELETE"
	corsHeaders = "authorization, content-type, auth0-client, x-global-tracking-id, mfa-dpop, if-match, if-none-match, backup-manifest, restore-proof"
	corsExposed = "X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, Date, ETag, Backup-Manifest"
	corsMaxAge  = "600"
)

// crossOrigin lets pages of registered clients call the app API and the login API. It answers a preflight, and reports
// whether it has answered. No call takes a cookie across origins, so it allows no credentials.
//
// Source: the Fetch standard, §3.2 (CORS protocol).
func (s *Server) crossOrigin(call *Call) (answered bool) {
	request := &call.ctx.Request
	path := string(call.ctx.URI().PathOriginal())
	isApp := call.api == AppAPI && (strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/rich-consents/"))
	isOpen := isApp || strings.HasPrefix(path, "/mfa/")
	if !isOpen {
		return false
	}
	call.ctx.Response.Header.Add("Vary", "Origin")
	origin := string(request.Header.Peek("Origin"))
	if origin == "" || !s.config.Origin(origin) {
		return false
	}
	call.SetHeader("Access-Control-Allow-Origin", origin)
	isPreflight := string(request.Header.Method()) == http.MethodOptions && len(request.Header.Peek("Access-Control-Request-Method")) > 0
	if !isPreflight {
		call.SetHeader("Access-Control-Expose-Headers", corsExposed)
		return false
	}
	call.SetHeader("Access-Control-Allow-Methods", corsMethods)
	call.SetHeader("Access-Control-Allow-Headers", corsHeaders)
	call.SetHeader("Access-Control-Max-Age", corsMaxAge)
	call.ctx.SetStatusCode(http.StatusNoContent)
	return true
}
