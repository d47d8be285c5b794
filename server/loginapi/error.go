package loginapi

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/otp"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server"
	"tutela/server/access"
	"tutela/storage"
)

// wireErrors is what login systems are told about each error of the domain. An empty message is the error's own.
//
// Source: RFC 6749 §5.2; CIBA Core 1.0 §11, §13; the MFA API of Auth0.
var wireErrors = []struct {
	err     error
	status  int
	code    string
	message string
}{
	{login.ErrUnknownUser, http.StatusBadRequest, "unknown_user_id", "User ID is malformed or unknown"},
	{user.ErrID, http.StatusBadRequest, "invalid_request", ""},
	{login.ErrRecovery, http.StatusBadRequest, "recovery_required", ""},
	{login.ErrNoPhone, http.StatusBadRequest, "access_denied", ""},
	{login.ErrBlocked, http.StatusBadRequest, "access_denied", ""},
	{login.ErrPresence, http.StatusBadRequest, "access_denied", ""},
	{login.ErrTapOnly, http.StatusBadRequest, "invalid_request", ""},
	{login.ErrLoginID, http.StatusBadRequest, "invalid_request", ""},
	{login.ErrGrant, http.StatusBadRequest, "invalid_grant", ""},
	{login.ErrUndecided, http.StatusBadRequest, "authorization_pending", ""},
	{login.ErrSlowDown, http.StatusBadRequest, "slow_down", ""},
	{login.ErrExpired, http.StatusBadRequest, "expired_token", ""},
	{login.ErrDenied, http.StatusBadRequest, "access_denied", ""},
	{login.ErrRejected, http.StatusBadRequest, "access_denied", ""},
	{login.ErrWeakProof, http.StatusBadRequest, "access_denied", ""},
	{login.ErrTapEnrols, http.StatusBadRequest, "access_denied", ""},
	{login.ErrUnnamed, http.StatusBadRequest, "invalid_request", ""},
	{login.ErrNoChallenge, http.StatusBadRequest, "unsupported_challenge_type", ""},
	{login.ErrEnrolled, http.StatusForbidden, "access_denied", ""},
	{login.ErrEnrolment, http.StatusBadRequest, "invalid_grant", ""},
	{login.ErrFlow, http.StatusBadRequest, "expired_token", ""},
	{device.ErrTicket, http.StatusBadRequest, "expired_token", ""},
	{device.ErrFactor, http.StatusBadRequest, "invalid_request", ""},
	{device.ErrNoEnrollment, http.StatusNotFound, "not_found", "the user has no such authenticator"},
	{device.ErrLastFactor, http.StatusForbidden, "access_denied", ""},
	{device.ErrTooMany, http.StatusForbidden, "access_denied", ""},
	{passkey.ErrResponse, http.StatusBadRequest, "invalid_request", ""},
	{passkey.ErrCeremony, http.StatusForbidden, "invalid_grant", ""},
	{passkey.ErrRefused, http.StatusForbidden, "invalid_grant", ""},
	{passkey.ErrCopied, http.StatusForbidden, "invalid_grant", ""},
	{passkey.ErrBound, http.StatusForbidden, "invalid_grant", ""},
	{passkey.ErrNoDomain, http.StatusBadRequest, "invalid_request", ""},
	{passkey.ErrTooOften, http.StatusTooManyRequests, "too_many_attempts", ""},
	{device.ErrRegistered, http.StatusConflict, "invalid_request", ""},
	{login.ErrPageRequest, http.StatusBadRequest, "invalid_request", ""},
	{login.ErrMFAToken, http.StatusBadRequest, "invalid_grant", ""},
	{login.ErrMFATokenExpired, http.StatusBadRequest, "expired_token", ""},
	{login.ErrNoFactor, http.StatusForbidden, "access_denied", ""},
	{device.ErrFactorOff, http.StatusForbidden, "access_denied", ""},
	{login.ErrTicketRequired, http.StatusForbidden, "ticket_required", ""},
	{otp.ErrTypo, http.StatusForbidden, "invalid_grant", ""},
	{device.ErrWrongOTP, http.StatusForbidden, "invalid_grant", ""},
	{recovery.ErrTypo, http.StatusForbidden, "invalid_grant", ""},
	{recovery.ErrWrongCode, http.StatusForbidden, "invalid_grant", ""},
	{access.ErrRequest, http.StatusBadRequest, "invalid_request", ""},
	{access.ErrAudience, http.StatusBadRequest, "invalid_request", ""},
	{access.ErrManagementAudience, http.StatusForbidden, "access_denied", ""},
	{access.ErrGrant, http.StatusBadRequest, "unauthorized_client", ""},
	{access.ErrClient, http.StatusUnauthorized, "invalid_client", ""},
}

func (a *API) translate(err error) *server.Problem {
	for _, w := range wireErrors {
		if errors.Is(err, w.err) {
			message := w.message
			if message == "" {
				message = server.Message(err)
			}
			return &server.Problem{
				Status:     w.status,
				Code:       w.code,
				Message:    message,
				RetryAfter: storage.RetryAfter(err),
			}
		}
	}
	if storage.CodeOf(err) == storage.Limited {
		return a.limited(err)
	}
	return nil
}

// limited is what a caller is told who has come too often. The limit per address has written its own header fields.
func (a *API) limited(err error) *server.Problem {
	p := &server.Problem{
		Status:     http.StatusTooManyRequests,
		Code:       "too_many_attempts",
		Message:    server.Message(err),
		RetryAfter: storage.RetryAfter(err),
	}
	if errors.Is(err, server.ErrTooManyCalls) {
		return p
	}
	reset := a.store.Wall().Add(p.RetryAfter + time.Second - 1).Unix()
	p.Header = map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(reset, 10)}
	switch {
	case errors.Is(err, login.ErrTooMany):
		p.Header["X-RateLimit-Limit"] = strconv.Itoa(login.PushesPerMinute)
	case errors.Is(err, login.ErrTooManyStarts):
		p.Header["X-RateLimit-Limit"] = strconv.Itoa(login.StartsPerMinute)
	}
	return p
}
