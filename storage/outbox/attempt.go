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

// UnreachableSaying is Unreachable with the destination's own word for it, which anybody may read: see [Sender.Trouble].
func UnreachableSaying(word string, err error) error {
	if err == nil {
		return nil
	}
	return &saidError{Unreachable(err), word, ""}
}

// Doubtful marks an error of which one attempt cannot say whether the entry is at fault or the destination. whose names who
// is behind the entry. Such errors keep attempts away from the destination, as those of Unreachable do, once they come from
// several in a row and no attempt succeeds in between: so nobody alone keeps the others' entries waiting. word is as for
// UnreachableSaying.
func Doubtful(whose, word string, err error) error {
	if err == nil {
		return nil
	}
	return &saidError{err, word, whose}
}

// saidError is an error with what a destination has said.
type saidError struct {
	err   error
	word  string
	whose string // of a doubtful error; "": none
}

func (e *saidError) Error() string { return e.err.Error() }
func (e *saidError) Unwrap() error { return e.err }

// outcome is what becomes of an attempt.
type outcome struct {
	destination answer
	trouble     trouble // with inTrouble or inDoubt
	again       bool    // the entry is there still, to be tried again
}

// trouble is what an attempt that failed says of its destination.
type trouble struct {
	hold   time.Duration // how long the destination asks to be left alone; 0: it does not say
	reason string        // the error
	word   string        // the destination's own word, which anybody may read; "": none
	whose  string        // with inDoubt: who is behind the entry
}

// answer is what an attempt says of its destination.
type answer int

const (
	notAsked  answer = iota // nothing: it was not asked, or the trouble is the entry's own
	answered                // it works
	inTrouble               // it does not
	inDoubt                 // it has answered, and either it or the entry is at fault
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
	var said *saidError
	errors.As(failed, &said)
	o.trouble = troubleOf(failed, said)
	switch late := ctx.Err() != nil; {
	case late, errors.Is(failed, ErrUnreachable):
		o.destination = inTrouble
	case said != nil && said.whose != "":
		o.destination = inDoubt
	}
	return o
}

func troubleOf(failed error, said *saidError) trouble {
	t := trouble{hold: storage.RetryAfter(failed), reason: failed.Error()}
	if said != nil {
		t.word = said.word
		t.whose = said.whose
	}
	return t
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
