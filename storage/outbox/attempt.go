package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"tutela/storage"
)

// ErrGone is a handler's word that an entry cannot be done, now or later: it is removed.
var ErrGone = errors.New("there is nothing to do")

// ErrUnreachable reports a destination that is in trouble: it cannot be reached, does not answer in time, or answers
// that it cannot do its work now. Failures in a row keep all attempts away from the destination for a while. With a
// RetryAfter it says how long it wants to be left alone, and is, up to an hour.
var ErrUnreachable = storage.NewError(storage.Unavailable, "the destination does not answer")

// Unreachable marks an error as one of the destination and not of the entry; nil stays nil. A RetryAfter in err counts
// for the destination.
func Unreachable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnreachable.After(storage.RetryAfter(err)), err)
}

// outcome is what becomes of an attempt.
type outcome struct {
	destination answer
	hold        time.Duration // with inTrouble: how long the destination asks to be left alone; 0: it does not say
	reason      string        // with inTrouble
	again       bool          // the entry is there still, to be tried again
}

// answer is what an attempt says of its destination.
type answer int

const (
	notAsked  answer = iota // nothing: it was not asked, or the trouble is the entry's own
	answered                // it works
	inTrouble               // it does not
)

// attempt takes an entry, does it and writes down how it went.
func (s *Sender) attempt(p pointer) outcome {
	var held pointer
	var row *stored
	err := s.insist("take an entry", func() (err error) {
		held, row, err = s.claims.take(s.work, p)
		return err
	})
	switch {
	case err == nil:
		return s.do(held, row)
	case errors.Is(err, errNotHere):
		return outcome{}
	case errors.Is(err, errPurged):
		return outcome{again: s.drop(p)}
	case errors.Is(err, storage.ErrDamaged):
		return outcome{again: s.setAside(p, err)}
	default: // the sender was told to stop before the store was well
		return outcome{again: true}
	}
}

// do runs the handler on an entry that was taken, and settles it by what comes of it.
func (s *Sender) do(p pointer, row *stored) outcome {
	if !s.store.Now().Before(row.Expires) {
		return outcome{again: s.settle(p, row, nil, ErrGone)}
	}
	ctx, cancel := context.WithTimeout(s.work, AttemptTime)
	defer cancel()
	then, failed := s.handle(ctx, row, row.Attempts+p.Attempts)

	var unreadable *payloadError
	switch {
	case failed == nil:
		return outcome{destination: answered, again: s.settle(p, row, then, nil)}
	case errors.Is(failed, ErrGone):
		return outcome{again: s.settle(p, row, then, failed)}
	case errors.As(failed, &unreadable):
		return outcome{again: s.setAside(p, failed)}
	}
	o := outcome{again: s.settle(p, row, then, failed)}
	if late := ctx.Err() != nil; late || errors.Is(failed, ErrUnreachable) {
		o.destination = inTrouble
		o.hold = storage.RetryAfter(failed)
		o.reason = failed.Error()
	}
	return o
}

// handle runs the handler. A panic in it is an error: the sender has others' entries in hand.
func (s *Sender) handle(ctx context.Context, row *stored, attempts int) (then Then, err error) {
	handler, ok := s.handlers[row.Kind]
	if !ok {
		return nil, fmt.Errorf("no handler for entries of kind %s", row.Kind)
	}
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("outbox: a handler panicked", "kind", row.Kind, "entry", row.ID, "panic", p, "stack", string(debug.Stack()))
			then = nil
			err = fmt.Errorf("the handler of %s panicked: %v", row.Kind, p)
		}
	}()
	return handler.do(ctx, row, attempts)
}

// payloadError reports a payload that is no JSON of its kind.
type payloadError struct{ err error }

func (e *payloadError) Error() string { return "the payload cannot be read: " + e.err.Error() }
func (e *payloadError) Unwrap() error { return e.err }
