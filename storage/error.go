package storage

import (
	"errors"
	"fmt"
	"time"
)

// Code is the kind of an error. There are few and they are stable; the edge chooses the caller's answer by them. An
// error without a code is internal: it is logged, and the caller sees only the request's id.
type Code string

// The codes.
const (
	NotFound    Code = "not_found"   // it is not there, or not for this caller
	Invalid     Code = "invalid"     // the input cannot be right, whatever is stored
	Conflict    Code = "conflict"    // the input does not fit what is stored
	Expired     Code = "expired"     // it was there, but its time is over
	Denied      Code = "denied"      // the proof is wrong, or the caller may not
	Limited     Code = "limited"     // too many tries; RetryAfter says how long to wait
	Exhausted   Code = "exhausted"   // a bound of the installation is reached
	Unavailable Code = "unavailable" // the store cannot be reached or written now; nothing was done

	// OutcomeUnknown is for a commit that failed without saying whether its writes were kept. The caller repeats
	// the request with what it has. It must never be told that nothing was done.
	OutcomeUnknown Code = "unknown_outcome"
)

// Error passes through the layers unchanged and becomes a wire error at the edge. A domain package declares one for
// each failure that a caller can tell apart. errors.Is still finds it after [Error.With], [Error.After] and wrapping.
type Error struct {
	Code       Code
	Message    string        // for people: lower-case, names the thing, never a secret
	RetryAfter time.Duration // with Limited and OutcomeUnknown: how long to wait; 0 when that is not known

	kind *Error // the declared error that it was derived from
}

// NewError declares a kind of error.
func NewError(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// Error is the message for people.
func (e *Error) Error() string { return e.Message }

// Is reports whether e was made from target.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && (e == t || e.kind == t)
}

// With returns an error of this kind that says more: message is formatted as by fmt.Sprintf.
func (e *Error) With(format string, args ...any) *Error {
	c := e.derive()
	c.Message = fmt.Sprintf(format, args...)
	return c
}

// After returns an error of this kind that says when to come back.
func (e *Error) After(d time.Duration) *Error {
	c := e.derive()
	c.RetryAfter = d
	return c
}

func (e *Error) derive() *Error {
	c := *e
	if c.kind == nil {
		c.kind = e
	}
	return &c
}

// CodeOf returns the code of the first [Error] in err's chain, or "" when there is none (an internal error).
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// RetryAfter returns how long the caller should wait, as the first [Error] in err's chain says; 0 when it does not say.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// Kept marks err as a refusal that counts: the transaction commits, and the caller of Update gets err. So a wrong code
// is counted before the answer leaves. When it is joined with an error that is not marked, the transaction rolls back:
// something else went wrong too.
func Kept(err error) error {
	if err == nil {
		return nil
	}
	return &keptError{err}
}

type keptError struct{ err error }

func (k *keptError) Error() string { return k.err.Error() }
func (k *keptError) Unwrap() error { return k.err }

// counted reports whether err is a refusal that counts, and returns it without the mark.
func counted(err error) (counts bool, refusal error) {
	switch e := err.(type) { //nolint:errorlint // it looks at each step of the chain itself
	case *keptError:
		return true, e.err
	case interface{ Unwrap() error }:
		return counted(e.Unwrap())
	case interface{ Unwrap() []error }:
		var refusals []error
		for _, joined := range e.Unwrap() {
			if counts, refusal = counted(joined); !counts {
				return false, nil
			}
			refusals = append(refusals, refusal)
		}
		return true, errors.Join(refusals...)
	}
	return false, nil
}

// Errors of the storage itself.
var (
	ErrNotFound    = NewError(NotFound, "no such row")
	ErrExists      = NewError(Conflict, "the row exists already")
	ErrUnique      = NewError(Conflict, "another row has this value")
	ErrUnavailable = NewError(Unavailable, "the store is not available; try again later")

	// ErrOutcomeUnknown reports a commit of which it is not known whether it was kept. An engine joins it with the
	// cause.
	ErrOutcomeUnknown = NewError(OutcomeUnknown, "it is not known whether this was done; ask again with the same request")

	ErrForeign = NewError(Invalid, "this is not tutela's data")
)
