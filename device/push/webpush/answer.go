package webpush

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"tutela/device/push"
	"tutela/device/push/wire"
	"tutela/storage/outbox"
)

// errNonsense reports a status that is no answer to a message.
var errNonsense = errors.New("the push endpoint answers what no push service does")

// appleReasons are the reasons of Apple's Web Push service that help an operator. Any other text of an answer is dropped: who
// chose the endpoint must not choose words for our log, nor bring the answer of an inner program there.
//
// Source: Apple, "Sending web push notifications in web apps and browsers", table of reasons.
var appleReasons = []string{
	"BadAuthorizationHeader", "BadJwtToken", "BadWebPushRequest", "BadWebPushTopic", vapidMismatch, "TooManyRequests", "InternalServerError", "ServiceUnavailable",
}

// vapidMismatch says that the subscription was made with another VAPID key: it is another sender's.
const vapidMismatch = "VapidPkHashMismatch"

// verdict returns nil when the service has taken the message.
//
// Errors: *push.Refusal; errNonsense.
//
// Source: RFC 8030 §5, §7.3; RFC 8292 §4.2.
func verdict(answer *http.Response, now time.Time) error {
	// The body is read so that the connection can be used again. Its end may never come: the status has said it all.
	body, _ := io.ReadAll(io.LimitReader(answer.Body, wire.MaxAnswerBytes))
	status := answer.StatusCode
	if status >= 200 && status < 300 {
		return nil
	}
	r := &push.Refusal{Status: status, Reason: reasonIn(body)}
	switch {
	case status < 200:
		return errNonsense
	case status == http.StatusNotFound, status == http.StatusGone:
		r.Verdict = push.Gone
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		r.Verdict = push.Setup
	case status == http.StatusBadRequest && r.Reason == vapidMismatch:
		r.Verdict = push.Mismatch
	case status < 400, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		// A redirect too: it is not followed, for it could lead anywhere, and it is no word about the address.
		r.Verdict = push.Busy
		r.After = outbox.AskedPause(answer.Header, now)
	default:
		r.Verdict = push.Unfit
	}
	return r
}

// reasonIn returns the reason in an answer if it is one that we know; else "".
func reasonIn(body []byte) string {
	var known struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(body, &known) != nil || !slices.Contains(appleReasons, known.Reason) {
		return ""
	}
	return known.Reason
}
