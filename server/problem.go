package server

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/storage"
)

// API is one of the APIs that a server speaks. Each has its own error body and its own words.
type API int

// The APIs, told apart by path.
const (
	AppAPI        API = iota // what phones call, and every path outside the other APIs: {"statusCode","error","message","errorCode"}
	LoginAPI                 // /oauth/…, /bc-authorize, /mfa/…: {"error","error_description"} (RFC 6749 §5.2)
	ManagementAPI            // /api/v2/…: the four members as in AppAPI
)

// apiOf returns the API to which a path, as routed, belongs.
func apiOf(path string) API {
	below := func(prefix string) bool {
		rest, ok := strings.CutPrefix(path, prefix)
		return ok && (rest == "" || rest[0] == '/')
	}
	switch {
	case below("/oauth"), below("/mfa"), below("/bc-authorize"):
		return LoginAPI
	case below("/api/v2"):
		return ManagementAPI
	default:
		return AppAPI
	}
}

// jsonType is the content type of every error body. One of Guardian's clients compares it as a whole.
const jsonType = "application/json"

// Problem is an error as the caller sees it. Handlers may return one as an error; its body follows the API to which the
// call's path belongs.
type Problem struct {
	Status     int               // HTTP status
	Code       string            // errorCode, or error in the login API
	Message    string            // for people; never a secret
	RetryAfter time.Duration     // sent in whole seconds, rounded up; with 429 and 503 at least one
	Header     map[string]string // further header fields
	Members    map[string]any    // further members of the body
}

// Error returns the message.
func (p *Problem) Error() string { return p.Message }

// Translation is the table of errors of one API: it returns what its callers are told about err. It returns nil when err is
// not in the table. Then the error's code alone decides the answer; for an error without a code, that holds only the request's id.
type Translation func(err error) *Problem

// wireError is the error body of the app API and the management API.
type wireError struct {
	StatusCode int    `json:"statusCode"`
	Reason     string `json:"error"`
	Message    string `json:"message"`
	ErrorCode  string `json:"errorCode"`
}

// oauthError is the error body of the login API.
//
// Source: RFC 6749 §5.2.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// body returns p as the error body of api.
func (p *Problem) body(api API) []byte {
	var fixed any = wireError{p.Status, reason(p.Status), p.Message, p.Code}
	if api == LoginAPI {
		fixed = oauthError{p.Code, describable(p.Message)}
	}
	body, err := json.Marshal(fixed)
	if err != nil || len(p.Members) == 0 {
		return body
	}
	more, err := json.Marshal(p.Members)
	if err != nil {
		return body
	}
	body[len(body)-1] = ','
	return append(body, more[1:]...)
}

// reason returns the reason phrase of a status.
func reason(status int) string {
	if status == http.StatusRequestEntityTooLarge {
		return "Payload Too Large"
	}
	return http.StatusText(status)
}

// describable makes s fit for an error_description, which allows printable ASCII without " and \.
func describable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '\\':
			return '/'
		case r < 0x20 || r > 0x7e:
			return '?'
		}
		return r
	}, s)
}

// header returns all header fields that come with p, in order of name.
func (p *Problem) header() [][2]string {
	all := maps.Clone(p.Header)
	if all == nil {
		all = map[string]string{}
	}
	wait := p.RetryAfter
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		wait = max(wait, time.Second)
	}
	if wait > 0 {
		all["Retry-After"] = strconv.FormatInt(int64(math.Ceil(wait.Seconds())), 10)
	}
	fields := make([][2]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fields = append(fields, [2]string{name, all[name]})
	}
	return fields
}

// problem turns any error of a handler into what the caller is told: by the API's own table, or else by the error's code.
// An error that has neither is internal: it goes into the log, and the caller gets the request's id.
func (s *Server) problem(call *Call, err error) *Problem {
	var (
		p        *Problem
		fiberErr *fiber.Error
	)
	if errors.As(err, &p) {
		return p
	}
	if translate := s.translations[call.api]; translate != nil {
		if p = translate(err); p != nil {
			return p
		}
	}
	if errors.As(err, &fiberErr) {
		return refusal(call.api, fiberErr.Code, "")
	}
	if code := storage.CodeOf(err); code != "" {
		return coded(call.api, code, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return refusal(call.api, http.StatusServiceUnavailable, "the call took too long; try again")
	}
	call.failure = err
	return internal(call)
}

// internal is all that a caller is told about an error of ours.
func internal(call *Call) *Problem {
	return refusal(call.api, http.StatusInternalServerError, "internal error; request "+call.ID)
}

// coded returns the answer to an error that no table names, by its code.
func coded(api API, code storage.Code, err error) *Problem {
	statuses := map[storage.Code]int{
		storage.NotFound:       http.StatusNotFound,
		storage.Invalid:        http.StatusBadRequest,
		storage.Conflict:       http.StatusConflict,
		storage.Expired:        http.StatusNotFound,
		storage.Denied:         http.StatusForbidden,
		storage.Limited:        http.StatusTooManyRequests,
		storage.Exhausted:      http.StatusConflict,
		storage.Unavailable:    http.StatusServiceUnavailable,
		storage.OutcomeUnknown: http.StatusServiceUnavailable,
	}
	status := statuses[code]
	if api == LoginAPI && (status == http.StatusNotFound || status == http.StatusConflict) {
		status = http.StatusBadRequest
	}
	p := refusal(api, status, Message(err))
	p.RetryAfter = storage.RetryAfter(err)
	if code == storage.OutcomeUnknown {
		// Every API has a code of its own for this: "unavailable" would say that nothing was done.
		p.Code = string(code)
	}
	return p
}

// Message returns the message for people of the first [storage.Error] in err's chain, without the text that wraps it for
// the log; "" when there is none.
func Message(err error) string {
	var coded *storage.Error
	if errors.As(err, &coded) {
		return coded.Message
	}
	return ""
}

// words holds the codes and messages for refusals that need no more than their status.
var words = map[int]struct{ code, oauth, message string }{
	http.StatusBadRequest:                  {"invalid_body", "invalid_request", "the request is malformed"},
	http.StatusUnauthorized:                {"invalid_token", "invalid_token", "invalid token"},
	http.StatusForbidden:                   {"insufficient_scope", "access_denied", "not allowed"},
	http.StatusNotFound:                    {"not_found", "invalid_request", "no such path"},
	http.StatusMethodNotAllowed:            {"method_not_allowed", "invalid_request", "this path does not take this method"},
	http.StatusRequestTimeout:              {"request_timeout", "invalid_request", "the request took too long to arrive"},
	http.StatusConflict:                    {"conflict", "invalid_request", "the request does not fit what is stored"},
	http.StatusRequestEntityTooLarge:       {"body_too_large", "invalid_request", "the body is too large"},
	http.StatusUnsupportedMediaType:        {"invalid_body", "invalid_request", "the body has a type or encoding that is not read here"},
	http.StatusTooManyRequests:             {"too_many_attempts", "too_many_attempts", "too many attempts"},
	http.StatusRequestHeaderFieldsTooLarge: {"header_too_large", "invalid_request", "the header is too large"},
	http.StatusInternalServerError:         {"internal_error", "server_error", "internal error"},
	http.StatusServiceUnavailable:          {"unavailable", "temporarily_unavailable", "not available now; try again later"},
}

// refusal makes the problem for a status in the words of api; an empty message takes the message from words.
func refusal(api API, status int, message string) *Problem {
	w, ok := words[status]
	switch {
	case !ok && status < http.StatusInternalServerError:
		w = words[http.StatusBadRequest]
	case !ok:
		w = words[http.StatusInternalServerError]
	}
	p := &Problem{Status: status, Code: w.code, Message: message}
	if message == "" {
		p.Message = w.message
	}
	if api == LoginAPI {
		p.Code = w.oauth
	}
	if api == ManagementAPI && status == http.StatusNotFound && message == "" {
		p.Message = "Not Found"
	}
	return p
}
