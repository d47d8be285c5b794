package storage

import (
	"context"
	"time"
)

// Look is one look at what a caller of [Store.Await] waits for. It gets a context that does not end with the wait:
// what is seen after the end still counts. last says that no other look follows.
//
// It reports whether the wait is over. When it is not, again is how long from then on the answer may change without a
// wake, such as the time until an expiry; 0 when only a wake can change it.
type Look func(ctx context.Context, last bool) (over bool, again time.Duration, err error)

// Await looks at once, and again after each wake of uid ([Tx.Wake], [Purge]), until a look is over or fails. When wait
// has passed or ctx is done it looks a last time. With no wait it looks once.
//
// It misses no wake: the watch begins before the first look. A waiting caller costs a parked goroutine and two timers
// at most; nothing polls.
//
// Errors: those of look. The end of ctx is none.
func (s *Store) Await(ctx context.Context, uid UID, wait time.Duration, look Look) error {
	lasting := context.WithoutCancel(ctx)
	if wait <= 0 {
		_, _, err := look(lasting, true)
		return err
	}
	woken, stop := s.Watch(uid)
	defer stop()
	end := time.NewTimer(wait)
	defer end.Stop()
	for {
		over, again, err := look(lasting, false)
		if over || err != nil {
			return err
		}
		if !pause(ctx, woken, end.C, again) {
			_, _, err := look(lasting, true)
			return err
		}
	}
}

// pause waits for a reason to look again, and reports false when it is the end of the wait.
func pause(ctx context.Context, woken <-chan struct{}, end <-chan time.Time, again time.Duration) (goOn bool) {
	var changed <-chan time.Time
	if again > 0 {
		timer := time.NewTimer(again)
		defer timer.Stop()
		changed = timer.C
	}
	select {
	case <-woken:
		return true
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	case <-end:
		return false
	}
}
