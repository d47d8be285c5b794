package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tutela/storage"
)

const (
	closeInterval = 10 * time.Second // between looks at open folds, when none is over sooner
	closePause    = time.Second      // after a look, at least
	closeBatch    = 256              // folds closed in one look
)

// RunFolds records each fold whose window is over as an event, until ctx is done. Any number of servers may run it over
// one store: a fold is recorded and removed in one transaction, so it becomes one event even when a server dies.
// Another server then closes its folds.
func RunFolds(ctx context.Context, s *storage.Store, log *slog.Logger) {
	for ctx.Err() == nil {
		closed, wait, err := closeWhenLeading(ctx, s)
		if err != nil && ctx.Err() == nil {
			log.Warn("close folds of events", "err", err)
		}
		if closed == closeBatch && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// closeWhenLeading is CloseFolds at the one server that leads this job; at the others it does nothing.
func closeWhenLeading(ctx context.Context, s *storage.Store) (closed int, wait time.Duration, err error) {
	if !s.Leads(ctx, "folds") {
		return 0, closeInterval, nil
	}
	return CloseFolds(ctx, s)
}

// CloseFolds records up to closeBatch folds whose window is over. It returns how many entries it has handled and how
// long to wait before the next call.
//
// A fold that is damaged is removed, and the error says so; the others are closed all the same.
func CloseFolds(ctx context.Context, s *storage.Store) (closed int, wait time.Duration, err error) {
	wait = closeInterval
	now := s.Now()
	var due []string
	err = windows.Peek(ctx, s, "", "", false, func(key string, _ []byte) bool {
		_, _, until, err := splitWindowKey(key)
		if err == nil && until.After(now) {
			wait = min(wait, max(until.Sub(now), closePause))
			return false
		}
		due = append(due, key)
		return len(due) < closeBatch
	})
	if err != nil {
		return 0, wait, fmt.Errorf("look at open folds: %w", err)
	}
	err = s.UpdateEach(ctx, len(due), func(tx *storage.Tx, i int) error { return closeDue(tx, due[i]) })
	return len(due), wait, err
}

// closeDue records the fold that an entry of windows points at, unless it was purged or already closed by the next
// occurrence.
func closeDue(tx *storage.Tx, key string) error {
	uid, name, until, err := splitWindowKey(key)
	if err != nil {
		_, failed := windows.Uproot(tx, key)
		return errors.Join(failed, storage.Kept(fmt.Errorf("fold %q: %w", key, err)))
	}
	f, err := foldsOf(uid).Get(tx, uid, name)
	switch {
	case errors.Is(err, storage.ErrDamaged):
		_, failed := foldsOf(uid).Uproot(tx, uid, name)
		return errors.Join(failed, windows.Delete(tx, uid, key),
			storage.Kept(fmt.Errorf("what fold %s of %s has counted is lost: %w", name, uid, err)))
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return err
	case err != nil || !f.Until.Equal(until):
		return windows.Delete(tx, uid, key)
	}
	return f.close(tx, uid, name)
}
