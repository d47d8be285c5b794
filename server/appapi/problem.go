package appapi

import (
	"errors"
	"net/http"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/otp"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/server"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/keyring"
)

// errAuthorization is that of a call whose Authorization field is missing or malformed: nothing was looked up.
var errAuthorization = storage.NewError(storage.Denied, "the Authorization header is missing or malformed")

// wire is one row of the table of errors: what the domain says, and what the caller is told.
type wire struct {
	err    error
	status int
	code   string // errorCode: the words that the SDKs know, and ours
}

// table tells the API's callers about the errors of the domain. The first row that fits counts.
//
// Source: guardian-wire.md §6.2.
var table = []wire{
	{device.ErrInstallation, http.StatusBadRequest, "invalid_body"},
	{device.ErrKey, http.StatusBadRequest, "invalid_body"},
	{push.ErrAddress, http.StatusBadRequest, "invalid_body"},
	{login.ErrNumberMissing, http.StatusBadRequest, "invalid_body"},
	{backup.ErrInvalid, http.StatusBadRequest, "backup_invalid"},
	{errTransport, http.StatusBadRequest, "invalid_body"},
	{errMethod, http.StatusBadRequest, "method_not_available"},
	{login.ErrPresence, http.StatusBadRequest, "method_not_available"},
	{login.ErrTapOnly, http.StatusBadRequest, "method_not_available"},
	{login.ErrNoFactor, http.StatusBadRequest, "method_not_available"},
	{device.ErrFactorOff, http.StatusBadRequest, "method_not_available"},

	{errAuthorization, http.StatusUnauthorized, "invalid_token"},
	{device.ErrClockSkew, http.StatusUnauthorized, "clock_skew"},
	{device.ErrToken, http.StatusUnauthorized, "invalid_token"},
	{device.ErrSignature, http.StatusUnauthorized, "invalid_token"},
	{device.ErrClaims, http.StatusUnauthorized, "invalid_token"},
	{keyring.ErrToken, http.StatusUnauthorized, "invalid_token"},
	{login.ErrAnswer, http.StatusUnauthorized, "invalid_token"},
	{restore.ErrToken, http.StatusUnauthorized, "invalid_token"},
	{restore.ErrProof, http.StatusUnauthorized, "invalid_token"},
	{login.ErrFlow, http.StatusUnauthorized, "invalid_token"},
	{access.ErrNoClient, http.StatusUnauthorized, "invalid_token"},
	{device.ErrPossession, http.StatusUnauthorized, "invalid_token"},

	{device.ErrUnsigned, http.StatusForbidden, "insufficient_scope"},
	{login.ErrEnrolsOnly, http.StatusForbidden, "insufficient_scope"},
	{login.ErrTicketRequired, http.StatusForbidden, "ticket_required"},
	{device.ErrSuspended, http.StatusForbidden, "enrollment_suspended"}, // never 404: the SDKs would forget the enrollment
	{login.ErrNumber, http.StatusForbidden, "invalid_otp"},
	{device.ErrWrongOTP, http.StatusForbidden, "invalid_otp"},
	{otp.ErrTypo, http.StatusForbidden, "invalid_otp"},
	{recovery.ErrTypo, http.StatusForbidden, "invalid_recovery_code"},
	{recovery.ErrWrongCode, http.StatusForbidden, "invalid_recovery_code"},

	{device.ErrTicket, http.StatusNotFound, "enrollment_transaction_not_found"},
	{device.ErrNoEnrollment, http.StatusNotFound, "device_account_not_found"},
	{login.ErrNoLogin, http.StatusNotFound, "login_transaction_not_found"},
	{login.ErrBlocked, http.StatusNotFound, "login_transaction_not_found"},
	{login.ErrUnknownUser, http.StatusNotFound, "device_account_not_found"},
	{login.ErrRecovery, http.StatusNotFound, "device_account_not_found"},
	{login.ErrNoPhone, http.StatusNotFound, "device_account_not_found"},
	{login.ErrNoConsent, http.StatusNotFound, "consent_not_found"},
	{backup.ErrNone, http.StatusNotFound, "backup_not_found"},
	{restore.ErrNone, http.StatusNotFound, "restore_not_found"},

	{device.ErrKeyInUse, http.StatusConflict, "device_account_conflict"},
	{backup.ErrShrinks, http.StatusConflict, "backup_shrinks"},
	{backup.ErrAnother, http.StatusConflict, "backup_conflict"},
	{restore.ErrNotReady, http.StatusConflict, "restore_not_ready"},

	{backup.ErrConflict, http.StatusPreconditionFailed, "backup_conflict"},
	{backup.ErrTooLarge, http.StatusRequestEntityTooLarge, "body_too_large"},

	{device.ErrTooOften, http.StatusTooManyRequests, "too_many_attempts"},
	{recovery.ErrLimited, http.StatusTooManyRequests, "too_many_attempts"},
	{login.ErrConsentOften, http.StatusTooManyRequests, "too_many_attempts"},
	{restore.ErrOften, http.StatusTooManyRequests, "too_many_attempts"},
	{login.ErrTooMany, http.StatusTooManyRequests, "too_many_attempts"},
	{login.ErrTooManyPolls, http.StatusTooManyRequests, "too_many_attempts"},
	{server.ErrTooManyCalls, http.StatusTooManyRequests, "too_many_attempts"},
}

// translate is the API's table as the server asks it.
func translate(err error) *server.Problem {
	row := rowOf(err)
	if row == nil {
		return nil
	}
	p := &server.Problem{
		Status:     row.status,
		Code:       row.code,
		Message:    server.Message(err),
		RetryAfter: storage.RetryAfter(err),
	}
	var conflict *backup.Conflict
	if errors.As(err, &conflict) {
		p.Message = conflict.Error()
		p.Header = map[string]string{"ETag": backup.ETag(conflict.Generation)}
		p.Members = map[string]any{"generation": conflict.Generation, "manifest": conflict.Manifest}
	}
	return p
}

func rowOf(err error) *wire {
	for i := range table {
		if errors.Is(err, table[i].err) {
			return &table[i]
		}
	}
	return nil
}

// isOurs reports whether an error says that we could not tell, or that the address has no calls left.
func isOurs(err error) bool {
	switch storage.CodeOf(err) {
	case storage.NotFound, storage.Invalid, storage.Conflict, storage.Expired, storage.Denied:
		return false
	default:
		return true
	}
}

// unauthorized reports whether err says that the call showed nothing that lets it in: these calls are what an address has
// a limit of.
func unauthorized(err error) bool {
	switch row := rowOf(err); {
	case row == nil:
		return false
	case row.status == http.StatusUnauthorized:
		return true
	default:
		return errors.Is(err, device.ErrTicket) || errors.Is(err, device.ErrNoEnrollment) || errors.Is(err, restore.ErrNone)
	}
}
