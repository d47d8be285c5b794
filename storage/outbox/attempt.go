package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"tutela/storage"
)

// ErrGone is returned by a handler when there is nothing to do for an entry, now or later: the entry is removed.
var ErrGone = errors.New("there is nothing to do")

// ErrUnreachable reports a destination that is in trouble: it cannot be reached, does not answer in time, or answers
// that it cannot work now. After several failures in a row there are no attempts to it for a while. A RetryAfter says
// how long the destination wants to be left alone, up to an hour.
var ErrUnreachable = storage.NewError(storage.Unavailable, "the destination does not answer")

// Unreachable marks err as caused by the destination and not by the entry; nil stays nil. A RetryAfter in err then
// applies to the destination.
func Unreachable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnreachable.After(storage.RetryAfter(err)), err)
}

// UnreachableSaying is Unreachable with the destination's own word for its trouble. The word is public: see
// [Sender.Trouble].
func UnreachableSaying(word string, err error) error {
	if err == nil {
		return nil
	}
	return &saidError{Unreachable(err), word, ""}
}

// Doubtful marks err as caused either by the entry or by the destination: one attempt cannot tell. whose names the
// person or host behind the entry. Such errors stop attempts to the destination, as those of Unreachable do, once they
// come from several different ones in a row without a success in between. So nobody alone can keep other people's
// entries waiting. word is as for UnreachableSaying.
func Doubtful(whose, word string, err error) error {
	if err == nil {
		return nil
	}
	return &saidError{err, word, whose}
}

// saidError is an error with the destination's own word.
type saidError struct {
	err   error
	word  string
	whose string // of a doubtful error; "": none
}

func (e *saidError) Error() string { return e.err.Error() }
func (e *saidError) Unwrap() error { return e.err }

// outcome is the result of an attempt.
type outcome struct {
	destination answer
	trouble     trouble // with inTrouble or inDoubt
	again       bool    // the entry is still there and will be tried again
}

// trouble is what a failed attempt says about its destination.
type trouble struct {
	hold   time.Duration // how long the destination asks to be left alone; 0: it does not say
	reason string        // the error
	word   string        // the destination's own word, which anybody may read; "": none
	whose  string        // with inDoubt: who is behind the entry
}

// answer is what an attempt shows about its destination.
type answer int

const (
	notAsked  answer = iota // nothing: it was not called, or the entry itself is at fault
	answered                // it works
	inTrouble               // it does not
	inDoubt                 // it has answered, but either it or the entry is at fault
)

// attempt claims an entry, runs its handler and stores the outcome.
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
	default: // the sender was stopped while the store was failing
		return outcome{again: true}
	}
}

// do runs the handler on a claimed entry and settles the entry by the result.
func (s *Sender) do(p pointer, row *stored) outcome {
	if !s.store.Now().Before(row.Expires) {
		return outcome{again: s.settle(p, row, nil, ErrGone)}
	}
	ctx, cancel := context.WithTimeout(s.work, AttemptTime)
	defer cancel()
	then, failed := s.handle(ctx, row, row.Attempts+p.Attempts)

	// Nothing more to do, or nothing that can be done: these say nothing bad about the destination.
	var unreadable *payloadError
	switch {
	case failed == nil:
		return outcome{destination: answered, again: s.settle(p, row, then, nil)}
	case errors.Is(failed, ErrGone):
		return outcome{again: s.settle(p, row, then, failed)}
	case errors.As(failed, &unreadable):
		return outcome{again: s.setAside(p, failed)}
	}
	// The entry will be tried again. Is the destination to blame?
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

// handle runs the handler. It turns a panic into an error, since the sender also works on other people's entries.
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

// payloadError reports a payload that is not the JSON of its kind.
type payloadError struct{ err error }

func (e *payloadError) Error() string { return "the payload cannot be read: " + e.err.Error() }
func (e *payloadError) Unwrap() error { return e.err }
