package managementapi

import (
	"errors"
	"net/http"

	"tutela/backup"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/passkey"
	"tutela/device/push/provider"
	"tutela/recovery/admin"
	"tutela/recovery/signal"
	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/server"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// said is how a caller sees an error. Without a message it has the error's own.
type said struct {
	err     error
	status  int
	code    string
	message string
}

// table is the one place where errors of the domain become wire errors of this API.
//
// Source: the recordings of Auth0's official clients, for code and message.
var table = []said{
	{access.ErrToken, http.StatusUnauthorized, "invalid_token", "Invalid token."},
	{access.ErrScope, http.StatusForbidden, "insufficient_scope", ""},
	{admin.ErrRefused, http.StatusForbidden, "admin_reset_refused", ""},
	{user.ErrUnknown, http.StatusNotFound, "inexistent_user", "The user does not exist."},
	{user.ErrExists, http.StatusConflict, "user_exists", "The user already exists."},
	{backup.ErrNone, http.StatusNotFound, "backup_not_found", ""},
	{device.ErrNoEnrollment, http.StatusNotFound, "enrollment_not_found", "Enrollment not found"},
	{admin.ErrNoMethod, http.StatusNotFound, "inexistent_authentication_method", ""},
	{login.ErrNoCallerCheck, http.StatusNotFound, "inexistent_caller_check", ""},
	{login.ErrCallerUnsure, http.StatusForbidden, "caller_check_not_approved", ""},
	{login.ErrNoCallerPhone, http.StatusConflict, "no_phone", ""},
	{login.ErrCallersOften, http.StatusTooManyRequests, "too_many_caller_checks", ""},
	{login.ErrBlocked, http.StatusConflict, "user_blocked", ""},
	{device.ErrTooMany, http.StatusConflict, "too_many_enrollments", ""},
	{admin.ErrEnrolled, http.StatusConflict, "already_enrolled", ""},
	{device.ErrFactorOff, http.StatusBadRequest, "method_not_available", ""},
	{device.ErrFactor, http.StatusBadRequest, "method_not_available", ""},
	{audit.ErrNotFound, http.StatusNotFound, "inexistent_event", "The event does not exist."},
	{provider.ErrCertificate, http.StatusBadRequest, "invalid_body", ""},
	{access.ErrNoClient, http.StatusNotFound, "inexistent_client", "The client does not exist."},
	{access.ErrNewClient, http.StatusBadRequest, "invalid_body", ""},
	{access.ErrOverlap, http.StatusBadRequest, "invalid_body", ""},
	{access.ErrSecrets, http.StatusConflict, "too_many_secrets", ""},
	{access.ErrBeyondCaller, http.StatusForbidden, "client_beyond_caller", ""},
	{access.ErrWeakens, http.StatusForbidden, "policy_weakened", ""},
	{passkey.ErrInUse, http.StatusConflict, "passkeys_in_use", ""},
	{webhook.ErrNone, http.StatusNotFound, "inexistent_webhook", "The webhook does not exist."},
	{webhook.ErrNoDelivery, http.StatusNotFound, "inexistent_delivery", ""},
	{webhook.ErrInvalid, http.StatusBadRequest, "invalid_body", ""},
	{webhook.ErrNoMailer, http.StatusBadRequest, "invalid_body", ""},
	{admin.ErrMail, http.StatusBadRequest, "invalid_body", ""},
	{webhook.ErrRefused, http.StatusForbidden, "webhook_beyond_caller", ""},
	{webhook.ErrTooMany, http.StatusConflict, "too_many_webhooks", ""},
	{signal.ErrNone, http.StatusNotFound, "inexistent_stream", ""},
	{signal.ErrSubject, http.StatusNotFound, "inexistent_subject", ""},
	{signal.ErrInvalid, http.StatusBadRequest, "invalid_body", ""},
	{signal.ErrDisabled, http.StatusBadRequest, "stream_disabled", ""},
	{signal.ErrRefused, http.StatusForbidden, "insufficient_scope", ""},
	{signal.ErrTooMany, http.StatusConflict, "too_many_streams", ""},
	{signal.ErrTooSoon, http.StatusTooManyRequests, "too_many_verifications", ""},
	{setting.ErrUnknown, http.StatusNotFound, "inexistent_policy", ""},
	{setting.ErrValue, http.StatusBadRequest, "invalid_body", ""},
	{errQuery, http.StatusBadRequest, "invalid_query_string", ""},
	{errPaging, http.StatusBadRequest, "invalid_paging", ""},
	{errPath, http.StatusBadRequest, "invalid_uri", ""},
	{errBody, http.StatusBadRequest, "invalid_body", ""},
}

// Errors of this package: input that goes to no use case.
var (
	errQuery  = storage.NewError(storage.Invalid, "the query is not valid")
	errPaging = storage.NewError(storage.Invalid, "You can only page through the first 1000 records.")
	errPath   = storage.NewError(storage.Invalid, "the path is not valid")
	errBody   = storage.NewError(storage.Invalid, "the body is not valid")
)

func translate(err error) *server.Problem {
	for _, row := range table {
		if !errors.Is(err, row.err) {
			continue
		}
		p := &server.Problem{
			Status:     row.status,
			Code:       row.code,
			Message:    row.message,
			RetryAfter: storage.RetryAfter(err),
		}
		if p.Message == "" {
			p.Message = server.Message(err)
		}
		return p
	}
	return nil
}
