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

// settle stores the outcome of an attempt: it removes the entry, or postpones it when failed says so, and runs then.
// When then fails, the entry is postponed without it. The handler's work is done and cannot be undone, so settle
// retries until the store takes the outcome. It returns again when the entry is still there.
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
	case err != nil: // the sender was stopped while the store was failing
		return true
	case !removed:
		s.log.Warn("outbox: an attempt failed", "destination", p.destination, "entry", p.ID, "attempts", attempts, "err", failed)
	}
	return !removed
}

// settle runs then, and finish, which removes the entry or postpones it. When the pointer has moved, another sender has
// the entry and settle does nothing. When the payload was purged, settle only removes the pointer: then would write
// rows of nobody.
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

// run runs then, if there is one. It turns a panic into an error, which rolls the transaction back.
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

// thenError is an error of a Then, as opposed to one of the store.
type thenError struct{ err error }

func (e *thenError) Error() string { return e.err.Error() }
func (e *thenError) Unwrap() error { return e.err }

// putOff postpones the entry by wait, or removes it if it expires before. It does not rewrite the payload.
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

// retryAfter returns how long to wait after a number of failed attempts: hint, which the destination asked for, plus a
// random part of a pause that doubles with every attempt, so that entries that failed together do not come back
// together ("full jitter": Marc Brooker, AWS Architecture Blog, 2015). It is never 0.
func retryAfter(attempts int, hint time.Duration) time.Duration {
	pause := min(firstRetry<<min(attempts-1, 10), longestRetry)
	return hint + 1 + rand.N(pause) //nolint:gosec // it spreads attempts, and guards nothing
}

// drop removes the pointer of a purged entry. It returns again when the pointer is still there.
func (s *Sender) drop(p pointer) (again bool) {
	err := s.insist("drop a purged entry", func() error {
		return s.store.Update(s.work, p.remove)
	})
	return err != nil
}

// insist runs do until the store takes it, with growing pauses. The entry counts as under way meanwhile. So while the
// store fails, the number of attempts stays bounded, and no entry is done again only because its outcome could not be
// stored.
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

// isOfEntry reports whether an error is about the entry and not about the store.
func isOfEntry(err error) bool {
	var thenFailed *thenError
	return errors.Is(err, errNotHere) || errors.Is(err, errPurged) || errors.Is(err, storage.ErrDamaged) || errors.As(err, &thenFailed)
}
