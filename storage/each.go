package storage

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// eachAtOnce is how many transactions of an UpdateEach run side by side.
const eachAtOnce = 64

// UpdateEach runs fn for 0 to n-1, each in a transaction of its own. Many run side by side, so that they share commits.
// An error does not stop the others. A panic of fn becomes the error of its transaction, since no caller could recover
// it on the goroutines used here.
//
// Errors: the one with the lowest i.
func (s *Store) UpdateEach(ctx context.Context, n int, fn func(tx *Tx, i int) error) error {
	for _, err := range s.updateEach(ctx, n, fn) {
		if err != nil {
			return err
		}
	}
	return nil
}

// updateEach is UpdateEach with the error of each transaction, nil for those that were committed.
func (s *Store) updateEach(ctx context.Context, n int, fn func(tx *Tx, i int) error) []error {
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, n)
	for i := range errs {
		errs[i] = errNotRun // until it has been
	}
	for range min(n, eachAtOnce) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[i] = s.updateContained(ctx, func(tx *Tx) error { return fn(tx, i) })
			}
		})
	}
	group.Wait()
	return errs
}

// errNotRun is the error of a transaction that did not finish because a closure ended its goroutine (runtime.Goexit).
var errNotRun = errors.New("the transaction was not run to its end")

// updateContained is Update that turns a panic of fn into an error. The error's message holds the stack, for the log.
func (s *Store) updateContained(ctx context.Context, fn func(*Tx) error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("a transaction panicked: %w\n%s", p, debug.Stack())
		default:
			err = fmt.Errorf("a transaction panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return s.Update(ctx, fn)
}
