package outbox

import (
	"context"
	"errors"
	"time"

	"tutela/storage"
)

const (
	tidyInterval = time.Minute
	tidyBatch    = 256
)

// tidy removes, until ctx is done, what no attempt would reach: entries that have expired while their destination does
// not answer, and log entries of purged asides.
func (s *Sender) tidy(ctx context.Context) {
	s.store.Rounds(ctx, storage.Round{
		Every: tidyInterval,
		What:  "outbox: tidy up",
		Do: func(ctx context.Context) error {
			err := s.tidyAside(ctx)
			if s.anyOpen() {
				err = errors.Join(err, s.dropExpired(ctx))
			}
			return err
		},
	})
}

func (s *Sender) anyOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roster.anyOpen()
}

// dropExpired removes all entries that have expired.
func (s *Sender) dropExpired(ctx context.Context) error {
	now := s.store.Now()
	var batch []pointer
	drop := func() error {
		err := s.store.UpdateEach(ctx, len(batch), func(tx *storage.Tx, i int) error { return batch[i].expire(tx) })
		batch = batch[:0]
		return err
	}
	var failed error
	err := pointers.Peek(ctx, s.store, "", "", false, func(key string, value []byte) bool {
		p, err := parsePointer(key, value)
		if err != nil || p.Expires.IsZero() || now.Before(p.Expires) {
			return true // a look handles pointers that cannot be read, and those that do not say when they expire
		}
		if batch = append(batch, p); len(batch) == tidyBatch {
			failed = drop()
		}
		return failed == nil
	})
	return errors.Join(err, failed, drop())
}

// expire removes an entry with its payload.
func (p *pointer) expire(tx *storage.Tx) error {
	there, err := p.there(tx)
	if err != nil || !there {
		return err
	}
	_, err = p.table().Uproot(tx, p.Owner, p.ID) // without decoding it, since it may be damaged
	return errors.Join(err, p.remove(tx))
}
