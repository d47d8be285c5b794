package signal

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

const tidyInterval = time.Minute

// Run looks after what waits for streams, until ctx is done. Any number of servers may run it over one store.
func (s *Service) Run(ctx context.Context) {
	s.store.Rounds(ctx, storage.Round{
		Every: tidyInterval,
		Job:   "signal",
		What:  "look at what waits for streams",
		Do:    func(ctx context.Context) error { return s.Tidy(ctx, mostWaiting) },
	})
}

// Tidy removes the streams of clients that are no more, disables those for which more than most waits, or which nobody has polled for
// [Life], hands over what is left to push, and drops what is not told any more.
func (s *Service) Tidy(ctx context.Context, most int) error {
	var list []*Stream
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		list, err = all(tx)
		return err
	})
	for _, one := range list {
		err = errors.Join(err, s.tidy(ctx, one, most))
	}
	return errors.Join(err, s.dropOrphans(ctx))
}

// tidy looks after one stream.
func (s *Service) tidy(ctx context.Context, seen *Stream, most int) error {
	if err := s.dropOld(ctx, seen); err != nil {
		return err
	}
	n, oldest, err := s.backlog(ctx, seen, most)
	if err != nil {
		return err
	}
	unread := seen.Method == Poll && seen.Status == Enabled && !oldest.IsZero() && s.store.Now().Sub(oldest) >= Life
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		one, err := get(tx, seen.ID)
		if errors.Is(err, ErrNone) {
			return nil
		}
		if err != nil {
			return err
		}
		there, err := s.Receives(tx, one.Client, ScopeRead, ScopeManage)
		switch {
		case err != nil:
			return err
		case !there:
			return remove(tx, one)
		case n > most:
			return disable(tx, one, audit.WhyBacklog)
		case unread && one.Method == Poll && one.Status == Enabled:
			return disable(tx, one, audit.WhyUnread)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.release(ctx, seen.ID)
}

// backlog counts what waits for a stream, up to one more than most, and says since when the first of what is held waits.
func (s *Service) backlog(ctx context.Context, one *Stream, most int) (n int, oldest time.Time, err error) {
	if one.Status == Disabled {
		return 0, oldest, nil
	}
	if n, err = pushed.Waiting(ctx, s.store, where(one.ID), most+1); err != nil {
		return 0, oldest, err
	}
	line := one.ID + ofEvents
	err = held.Peek(ctx, s.store, line+one.From, past(line), false, func(_ string, value []byte) bool {
		i := &item{}
		if oldest.IsZero() && json.Unmarshal(value, i) == nil {
			oldest = i.Added
		}
		n++
		return n <= most
	})
	return n, oldest, err
}

// dropBatch is how many items one transaction drops.
const dropBatch = 500

// dropOld drops what a stream is not told any more: what happened before it was disabled, and what has waited for too long in one
// that is paused.
func (s *Service) dropOld(ctx context.Context, one *Stream) error {
	line := one.ID + ofEvents
	before := s.store.Now().Add(-Life)
	for {
		var keys []string
		err := held.Peek(ctx, s.store, line, past(line), false, func(key string, value []byte) bool {
			i := &item{}
			old := json.Unmarshal(value, i) != nil || i.Number < one.From || one.Status == Disabled ||
				one.Status == Paused && i.Added.Before(before)
			if old {
				keys = append(keys, key)
			}
			return old && len(keys) < dropBatch
		})
		if err == nil {
			err = s.drop(ctx, keys)
		}
		if err != nil || len(keys) < dropBatch {
			return err
		}
	}
}

// dropOrphans drops what waits for streams that are no more.
func (s *Service) dropOrphans(ctx context.Context) error {
	from := ""
	for {
		keys, err := s.keysFrom(ctx, from, past(""), 1)
		if err != nil || len(keys) == 0 {
			return err
		}
		id := keys[0][:strings.IndexAny(keys[0], ofEvents+ofItself)]
		err = s.store.View(ctx, func(tx *storage.Tx) error {
			_, err := get(tx, id)
			return err
		})
		if errors.Is(err, ErrNone) {
			err = s.dropAll(ctx, id)
		}
		if err != nil {
			return err
		}
		from = past(id)
	}
}

// dropAll drops all that is held for a stream.
func (s *Service) dropAll(ctx context.Context, id string) error {
	for {
		keys, err := s.keysFrom(ctx, id, past(id), dropBatch)
		if err == nil {
			err = s.drop(ctx, keys)
		}
		if err != nil || len(keys) < dropBatch {
			return err
		}
	}
}
