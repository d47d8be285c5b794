package apns

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/sideshow/apns2"

	"tutela/device/push"
	"tutela/device/push/wire"
)

// sender sends the library's requests, with a provider token when there is a key.
type sender struct {
	by       http.RoundTripper
	provider *provider // nil: the certificate of the connection says who we are
}

// RoundTrip notes what becomes of the request: the library hides the header of an answer, and quotes the token in its errors.
func (s *sender) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := s.send(req)
	wire.Note(req, answer, err)
	if err != nil {
		return nil, err
	}
	return answer.Response(req), nil
}

// send sends a request, and once more when the provider token has expired and there is a newer one.
func (s *sender) send(req *http.Request) (wire.Answer, error) {
	defer func() { _ = req.Body.Close() }()
	if s.provider == nil {
		return s.sendWith(req, nil)
	}
	bearer, err := s.provider.get()
	if err != nil {
		return wire.Answer{}, err
	}
	answer, err := s.sendWith(req, bearer)
	if err != nil || reportOf(answer).Reason != apns2.ReasonExpiredProviderToken || !s.provider.renew(bearer) {
		return answer, err
	}
	if bearer, err = s.provider.get(); err != nil {
		return wire.Answer{}, err
	}
	return s.sendWith(req, bearer)
}

func (s *sender) sendWith(req *http.Request, b *bearer) (wire.Answer, error) {
	body, err := req.GetBody()
	if err != nil {
		return wire.Answer{}, err
	}
	authorized := req.Clone(req.Context())
	authorized.Body = body
	if b != nil {
		authorized.Header.Set("Authorization", "bearer "+b.text)
	}
	return wire.Fetch(s.by, authorized)
}

// report is the body of a refusal.
//
// Source: Apple, "Handling notification responses from APNs".
type report struct {
	Reason    string          `json:"reason"`
	Timestamp json.RawMessage `json:"timestamp"` // with 410: since when the token is not valid, in milliseconds
}

// reportOf reads a body as far as it can be read.
func reportOf(answer wire.Answer) report {
	var r report
	if json.Unmarshal(answer.Body, &r) != nil {
		return report{}
	}
	return r
}

// since returns since when the token is gone; zero when the service does not say. It is not after now.
func (r report) since(now time.Time) time.Time {
	var milliseconds int64
	if json.Unmarshal(r.Timestamp, &milliseconds) != nil || milliseconds <= 0 {
		return time.Time{}
	}
	if at := time.UnixMilli(milliseconds).UTC(); at.Before(now) {
		return at
	}
	return now.UTC()
}

// outcome returns what the carrier says of a delivery; err is the library's.
func outcome(went *wire.Exchange, err error, now time.Time) error {
	switch {
	case !went.Asked && err != nil:
		return &push.Refusal{Verdict: push.Unfit} // the library could not make a request of it
	case went.Err != nil:
		return went.Err
	case !went.Answer.OK():
		return refusal(went.Answer, now)
	case err != nil:
		return errors.New("the APNs endpoint has answered 200, and not as APNs does")
	default:
		return nil
	}
}

// refusal returns what an answer that is no success means.
func refusal(answer wire.Answer, now time.Time) *push.Refusal {
	r := reportOf(answer)
	refused := &push.Refusal{Verdict: r.verdict(answer.Status), Status: answer.Status, Reason: push.Reason(r.Reason)}
	switch refused.Verdict {
	case push.Gone:
		refused.Since = r.since(now)
	case push.Busy:
		refused.After = answer.RetryAfter(now)
	case push.Setup, push.Mismatch, push.Unfit:
	}
	return refused
}

// reasonExpiredToken is a reason that the library does not know.
const reasonExpiredToken = "ExpiredToken"

// verdict returns what a refusal means, by Apple's word and, without one, by the status.
func (r report) verdict(status int) push.Verdict {
	switch r.Reason {
	case apns2.ReasonUnregistered, reasonExpiredToken:
		if status == http.StatusGone {
			return push.Gone
		}
		return push.Mismatch
	case apns2.ReasonBadDeviceToken, apns2.ReasonDeviceTokenNotForTopic, apns2.ReasonMissingDeviceToken:
		return push.Mismatch
	case apns2.ReasonPayloadTooLarge, apns2.ReasonPayloadEmpty, apns2.ReasonBadCollapseID, apns2.ReasonBadExpirationDate:
		return push.Unfit
	case apns2.ReasonIdleTimeout:
		return push.Busy
	}
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return push.Unfit
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= http.StatusInternalServerError:
		return push.Busy
	default:
		return push.Setup // credentials, topic or endpoint: also a 404 or 410 that names no token, and a redirect
	}
}
