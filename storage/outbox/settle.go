package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"tutela/storage"
)

const (
	firstRetry   = time.Second // at most; doubled with every attempt
	longestRetry = time.Minute

	firstPause   = time.Second // before a store that cannot be read or written is asked again; doubled each time
	longestPause = time.Minute
)

// settle writes down what became of an attempt: it removes the entry, or puts it off when failed says so, and runs
// then. When then fails, the entry is put off without it. What the handler did is done, so settle insists. It reports
// whether the entry is there still.
func (s *Sender) settle(p pointer, row *stored, then Then, failed error) (again bool) {
	removed := failed == nil || errors.Is(failed, ErrGone)
	attempts := row.Attempts + p.Attempts + 1
	wait := retryAfter(attempts, storage.RetryAfter(failed))
	err := s.insist("settle an entry", func() error {
		return s.store.Update(context.Background(), func(tx *storage.Tx) error {
			return p.settle(tx, then, func() error {
				if removed {
					return p.table().Delete(tx, p.Owner, p.ID)
				}
				return p.putOff(tx, row, wait)
			})
		})
	})
	var thenFailed *thenError
	switch {
	case errors.As(err, &thenFailed):
		return s.settle(p, row, nil, thenFailed.err)
	case err != nil: // the sender was told to stop before the store was well
		return true
	case !removed:
		s.log.Warn("outbox: an attempt failed", "destination", p.destination, "entry", p.ID, "attempts", attempts, "err", failed)
	}
	return !removed
}

// settle runs then, and what removes the entry or puts it off. When the pointer has moved, another sender has the entry
// and nothing is done. When the payload was purged, the pointer is removed and what then would write belongs to nobody.
func (p *pointer) settle(tx *storage.Tx, then Then, finish func() error) error {
	there, err := p.there(tx)
	if err != nil || !there {
		return err
	}
	if err := p.remove(tx); err != nil {
		return err
	}
	unpurged, err := p.table().Has(tx, p.Owner, p.ID)
	if err != nil || !unpurged {
		return err
	}
	if err := run(then, tx); err != nil {
		return err
	}
	return finish()
}

// run runs then, if there is one. A panic in it is an error, and rolls the transaction back.
//
// Errors: a *thenError.
func run(then Then, tx *storage.Tx) (err error) {
	if then == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = &thenError{fmt.Errorf("writing down an entry panicked: %v", p)}
		}
	}()
	if err := then(tx); err != nil {
		return &thenError{err}
	}
	return nil
}

// thenError is an error of a Then, which the store has nothing to do with.
type thenError struct{ err error }

func (e *thenError) Error() string { return e.err.Error() }
func (e *thenError) Unwrap() error { return e.err }

// putOff makes the entry due after wait; one that expires before is removed. The payload is not written again.
func (p *pointer) putOff(tx *storage.Tx, row *stored, wait time.Duration) error {
	later := *p
	later.due = tx.Now().Add(wait)
	later.Attempts++
	later.Expires = row.Expires
	if p.destination == "" && isKindName(row.Kind) {
		later.destination = row.Kind
	}
	if !later.due.Before(row.Expires) {
		return p.table().Delete(tx, p.Owner, p.ID)
	}
	return later.put(tx)
}

// retryAfter is how long to wait after so many attempts that failed: hint, which the destination asked for, and on top
// anything up to a pause that doubles with every attempt, so that entries which failed together do not come back
// together ("full jitter": Marc Brooker, AWS Architecture Blog, 2015). It is never 0.
func retryAfter(attempts int, hint time.Duration) time.Duration {
	pause := min(firstRetry<<min(attempts-1, 10), longestRetry)
	return hint + 1 + rand.N(pause) //nolint:gosec // it spreads attempts, and guards nothing
}

// drop removes the pointer of an entry that was purged. It reports whether the pointer is there still.
func (s *Sender) drop(p pointer) (again bool) {
	err := s.insist("drop a purged entry", func() error {
		return s.store.Update(s.work, p.remove)
	})
	return err != nil
}

// insist does something with the store until the store takes it, with growing pauses. The entry is in hand meanwhile,
// so while the store is ill no more are tried than may be in hand, and none is done again since its outcome could not
// be written.
//
// Errors: those that say how the entry is (errNotHere, errPurged, storage.ErrDamaged, *thenError); the store's, when
// the sender was told to stop.
func (s *Sender) insist(what string, do func() error) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := do()
		if err == nil || isOfEntry(err) || s.work.Err() != nil {
			return err
		}
		s.log.Warn("outbox: "+what, "err", err, "again in", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.work.Done():
			timer.Stop()
			return err
		}
	}
}

// isOfEntry reports whether an error says how an entry is, and not how the store is.
func isOfEntry(err error) bool {
	var thenFailed *thenError
	return errors.Is(err, errNotHere) || errors.Is(err, errPurged) || errors.Is(err, storage.ErrDamaged) || errors.As(err, &thenFailed)
}
