package storage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

const (
	resealBatch   = 256             // rows resealed side by side
	sweepBatch    = 64              // rows removed in one transaction of a shard
	sweepInterval = 2 * time.Second // between rounds that found less than a batch
	markInterval  = 5 * time.Second // how often the house's time is written down, when something else was written
	idleInterval  = 24 * time.Hour  // how often it is written down when nothing else was
)

// RunSweeper removes rows past their expiry, in small batches, until ctx is done, and writes the house's time down
// now and then. A row past its expiry is not found, swept or not: the sweeper only gives the room back. It stops
// while the clock may be wrong ([Store.MayRemove]).
func (s *Store) RunSweeper(ctx context.Context) {
	marked := s.ClockState().Mark
	var writes uint64
	for ctx.Err() == nil {
		swept, err := s.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("sweep expired rows", "err", err)
		}
		now, written := s.Now(), s.writes.Load()
		if since := now.Sub(marked); since >= markInterval && written != writes || since >= idleInterval || since < 0 {
			if err := s.markTime(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("write the time down", "err", err)
			}
			marked, writes = now, written+1 // one of them is the mark
		}
		if swept >= sweepBatch && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(sweepInterval):
		}
	}
}

// Sweep removes one batch of expired rows a shard and returns how many it removed. While the clock may be wrong it
// removes nothing, and looks whether it was set right.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	if s.clock.lookAgain() {
		s.log.Info("the machine's clock is believed again", "machine", s.Wall(), "house", s.Now())
	}
	if !s.MayRemove() {
		return 0, nil
	}
	total := 0
	for shard := range s.engine.Shards() {
		n, err := s.sweepShard(ctx, byte(shard))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (s *Store) sweepShard(ctx context.Context, shard byte) (int, error) {
	prefix := []byte{spaceExpiry, shard}
	now := s.Now()
	var due [][]byte
	err := s.engine.Peek(ctx, Prefix(prefix), func(k, _ []byte) bool {
		at, _, err := splitExpiryKey(k)
		if err != nil || now.Before(at) {
			return false
		}
		due = append(due, k)
		return len(due) < sweepBatch
	})
	if err != nil || len(due) == 0 {
		return 0, err
	}
	return len(due), s.sweepRows(ctx, due)
}

// sweepRows removes the rows of expiry entries. Those of one user share a transaction, since none writes two users'
// rows.
func (s *Store) sweepRows(ctx context.Context, due [][]byte) error {
	byOwner := make(map[UID][][]byte, len(due))
	for _, entry := range due {
		_, k, err := splitExpiryKey(entry)
		if err != nil {
			return err
		}
		uid, _, _, err := splitRowKey(k)
		if err != nil {
			return err
		}
		byOwner[uid] = append(byOwner[uid], entry)
	}
	batches := slices.Collect(maps.Values(byOwner))
	return s.UpdateEach(ctx, len(batches), func(tx *Tx, i int) error { return tx.sweep(batches[i]) })
}

// sweep removes the rows that the expiry entries point at, as far as they are still past their expiry, and the
// entries.
func (tx *Tx) sweep(entries [][]byte) error {
	for _, entry := range entries {
		_, k, err := splitExpiryKey(entry)
		if err != nil {
			return err
		}
		stored, err := tx.get(k)
		if err != nil {
			return err
		}
		if stored != nil {
			r, err := decodeRow(stored)
			if err != nil {
				return err
			}
			if r.expired(tx.now) {
				err = tx.removeRow(k, stored)
			}
			if err != nil {
				return err
			}
		}
		if err := tx.delete(entry); err != nil {
			return err
		}
	}
	return nil
}

// Reseal writes every row with sealed fields again, one transaction a row, so that the newest key seals it. It is
// done when it has returned nil; after an error it may be run again.
func (s *Store) Reseal(ctx context.Context) (rows int, err error) {
	// A closure that sealed under the key before may still be on its way to its commit; one that comes after them has
	// been committed when they have.
	if err := s.Update(ctx, func(*Tx) error { return nil }); err != nil {
		return 0, err
	}
	var batch []sealedRow
	reseal := func() error {
		rows += len(batch)
		err := s.UpdateEach(ctx, len(batch), func(tx *Tx, i int) error {
			return batch[i].table.reseal(tx, batch[i].uid, batch[i].key)
		})
		batch = batch[:0]
		return err
	}
	var failed error
	err = s.engine.Peek(ctx, Prefix([]byte{spaceRow}), func(k, _ []byte) bool {
		r, sealed, err := sealedAt(k)
		if sealed {
			batch = append(batch, r)
		}
		if len(batch) == resealBatch {
			err = reseal()
		}
		failed = err
		return err == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return rows, err
	}
	err = reseal()
	return rows, err
}

// sealedRow is where a row with sealed fields lies.
type sealedRow struct {
	table declared
	uid   UID
	key   string
}

// sealedAt takes a row's key apart, and tells whether its table has sealed fields.
func sealedAt(k []byte) (r sealedRow, sealed bool, err error) {
	uid, name, key, err := splitRowKey(k)
	if err != nil {
		return r, false, err
	}
	t, err := tables.named(name)
	if err != nil {
		return r, false, err
	}
	return sealedRow{t, uid, key}, t.sealed(), nil
}
