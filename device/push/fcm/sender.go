package fcm

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"tutela/device/push"
	"tutela/device/push/wire"
)

// sender sends the SDK's requests with an access token. It hands the SDK nothing that it would try again or follow.
type sender struct {
	by     http.RoundTripper
	tokens *tokens
}

// RoundTrip never returns an error: the SDK tries again after one.
func (s *sender) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := s.send(req)
	wire.Note(req, answer, err)
	return handed(answer, err).Response(req), nil
}

// statusNone stands for an answer that the SDK is not to see. It is no status that the SDK tries again.
const statusNone = 599

// handed returns what the SDK gets of an answer. The SDK tries 503 again, and takes 301 to 303 for a success.
func handed(answer wire.Answer, err error) wire.Answer {
	switch {
	case err != nil:
		return wire.Answer{Status: statusNone, Header: http.Header{}}
	case answer.Status == http.StatusServiceUnavailable:
		return wire.Answer{Status: http.StatusInternalServerError, Header: http.Header{}, Body: answer.Body}
	case answer.Status < 200 || answer.Status >= 300 && answer.Status <= 399:
		return wire.Answer{Status: statusNone, Header: http.Header{}, Body: answer.Body}
	default:
		return answer
	}
}

// send sends a request, and once more when FCM does not accept the access token and there is a newer one.
func (s *sender) send(req *http.Request) (wire.Answer, error) {
	defer func() { _ = req.Body.Close() }()
	token, err := s.tokens.get(req.Context())
	if err != nil {
		return wire.Answer{}, err
	}
	answer, err := s.sendWith(req, token)
	if err != nil || !isUnauthenticated(answer) || !s.tokens.drop(token) {
		return answer, err
	}
	if token, err = s.tokens.get(req.Context()); err != nil {
		return wire.Answer{}, err
	}
	return s.sendWith(req, token)
}

func (s *sender) sendWith(req *http.Request, t *token) (wire.Answer, error) {
	body, err := req.GetBody()
	if err != nil {
		return wire.Answer{}, err
	}
	authorized := req.Clone(req.Context())
	authorized.Body = body
	authorized.Header.Set("Authorization", "Bearer "+t.access)
	answer, err := wire.Fetch(s.by, authorized)
	if err == nil && answer.OK() {
		t.worked.Store(true)
	}
	return answer, err
}

// isUnauthenticated reports whether FCM does not accept the access token. It answers 401 too when Apple does not accept the
// project's key.
func isUnauthenticated(answer wire.Answer) bool {
	return answer.Status == http.StatusUnauthorized && parseReport(answer.Body).code() != thirdPartyAuth
}

// outcome returns what the carrier says of a delivery; err is the SDK's.
func outcome(went *wire.Exchange, err error, now time.Time) error {
	switch {
	case !went.Asked && err != nil:
		return &push.Refusal{Verdict: push.Unfit} // the SDK has refused to send it
	case went.Err != nil:
		return went.Err
	case !went.Answer.OK():
		return refusal(went.Answer, now)
	case err != nil || !acknowledges(went.Answer.Body):
		return errors.New("the FCM endpoint has answered 200, and not as FCM does")
	default:
		return nil
	}
}

// acknowledges reports whether an answer names the message that was taken.
func acknowledges(body []byte) bool {
	var taken struct {
		Name string `json:"name"`
	}
	return json.Unmarshal(body, &taken) == nil && taken.Name != ""
}

// The codes of FCM.
//
// Source: firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode.
const (
	invalidArgument  = "INVALID_ARGUMENT"
	unregistered     = "UNREGISTERED"
	senderIDMismatch = "SENDER_ID_MISMATCH"
	quotaExceeded    = "QUOTA_EXCEEDED"
	unavailable      = "UNAVAILABLE"
	internalError    = "INTERNAL"
	thirdPartyAuth   = "THIRD_PARTY_AUTH_ERROR"
)

// report is the body of a refusal.
type report struct {
	Error struct {
		Status  string `json:"status"`
		Message string `json:"message"`
		Details []struct {
			Type       string `json:"@type"`
			ErrorCode  string `json:"errorCode"`
			Violations []struct {
				Field       string `json:"field"`
				Description string `json:"description"`
			} `json:"fieldViolations"`
		} `json:"details"`
	} `json:"error"`
}

// parseReport reads a body as far as it can be read.
func parseReport(body []byte) report {
	var r report
	if json.Unmarshal(body, &r) != nil {
		return report{}
	}
	return r
}

// code returns FCM's own code, or "".
func (r report) code() string {
	for _, d := range r.Error.Details {
		if d.Type == "type.googleapis.com/google.firebase.fcm.v1.FcmError" {
			return d.ErrorCode
		}
	}
	return ""
}

// isAboutToken reports whether an invalid argument is the token. FCM names the field, or says it in words.
func (r report) isAboutToken() bool {
	words := r.Error.Message
	for _, d := range r.Error.Details {
		for _, v := range d.Violations {
			if v.Field == "message.token" {
				return true
			}
			words += " " + v.Description
		}
	}
	return strings.Contains(strings.ToLower(words), "registration token")
}

// refusal returns what an answer that is no success means.
func refusal(answer wire.Answer, now time.Time) *push.Refusal {
	r := parseReport(answer.Body)
	reason := r.code()
	if reason == "" {
		reason = r.Error.Status
	}
	verdict := r.verdict(answer.Status)
	refused := &push.Refusal{Verdict: verdict, Status: answer.Status, Reason: push.Reason(reason)}
	if verdict == push.Busy {
		refused.After = answer.RetryAfter(now)
	}
	return refused
}

// verdict returns what a refusal means, by FCM's own code and, without one, by the status.
func (r report) verdict(status int) push.Verdict {
	switch r.code() {
	case unregistered:
		if status == http.StatusNotFound {
			return push.Gone
		}
		return push.Mismatch
	case senderIDMismatch:
		return push.Mismatch
	case thirdPartyAuth:
		return push.Setup
	case quotaExceeded, unavailable, internalError:
		return push.Busy
	case invalidArgument:
		return r.ofInvalidArgument()
	}
	switch {
	case status == http.StatusBadRequest:
		return r.ofInvalidArgument()
	case status == http.StatusRequestEntityTooLarge:
		return push.Unfit
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= http.StatusInternalServerError:
		return push.Busy
	default:
		return push.Setup // credentials, project, API or endpoint: also a 404 that names no token, and a redirect
	}
}

func (r report) ofInvalidArgument() push.Verdict {
	if r.isAboutToken() {
		return push.Mismatch
	}
	return push.Unfit
}

// tokenRefusal returns the meaning of the token endpoint's refusal.
func tokenRefusal(answer wire.Answer, now time.Time) *push.Refusal {
	var said struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(answer.Body, &said) // without a word the status has to do
	refused := &push.Refusal{Verdict: push.Setup, Status: answer.Status, Reason: push.Reason(said.Error)}
	if answer.Status == http.StatusTooManyRequests || answer.Status >= http.StatusInternalServerError {
		refused.Verdict = push.Busy
		refused.After = answer.RetryAfter(now)
	}
	return refused
}
