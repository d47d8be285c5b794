package storage

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	sweepBatch    = 64              // rows removed in one transaction of a shard
	sweepInterval = 2 * time.Second // between rounds that found less than a batch
	markInterval  = 5 * time.Second // how often the house's time is written down, when something else was written
	maxSkew       = time.Minute     // past it the clock has jumped, and the sweeper stops
)

// RunSweeper removes rows past their expiry, in small batches, until ctx is done, and writes the house's time down
// now and then. A row past its expiry is not found, swept or not: the sweeper only gives the room back. It stops
// while the clock has jumped, for what is removed by a wrong clock cannot be brought back.
func (s *Store) RunSweeper(ctx context.Context) {
	var marked time.Time
	var writes uint64
	for ctx.Err() == nil {
		swept, err := s.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("sweep expired rows", "err", err)
		}
		if now := s.Now(); now.Sub(marked) >= markInterval && s.writes.Load() != writes {
			if err := s.markTime(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("write the time down", "err", err)
			}
			marked, writes = now, s.writes.Load()
		}
		if swept >= sweepBatch {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(sweepInterval):
		}
	}
}

// Sweep removes one batch of expired rows a shard and returns how many it removed. While the clock has jumped it
// removes nothing.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	if skew := s.ClockSkew(); skew > maxSkew || skew < -maxSkew {
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
// rows; the transactions run side by side, so that they can share a commit.
func (s *Store) sweepRows(ctx context.Context, due [][]byte) error {
	var failed error
	var mu sync.Mutex
	var group sync.WaitGroup
	for start := 0; start < len(due); {
		end := start + 1
		for end < len(due) && sameOwner(due[start], due[end]) {
			end++
		}
		batch := due[start:end]
		group.Go(func() {
			if err := s.Update(ctx, func(tx *Tx) error { return tx.sweep(batch) }); err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
		start = end
	}
	group.Wait()
	return failed
}

func sameOwner(a, b []byte) bool {
	_, rowA, errA := splitExpiryKey(a)
	_, rowB, errB := splitExpiryKey(b)
	const owner = 1 + len(House)
	return errA == nil && errB == nil && len(rowA) >= owner && len(rowB) >= owner && string(rowA[:owner]) == string(rowB[:owner])
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
	var failed error
	err = s.engine.Peek(ctx, Prefix([]byte{spaceRow}), func(k, _ []byte) bool {
		uid, name, key, err := splitRowKey(k)
		if err == nil {
			var t declared
			if t, err = tableNamed(name); err == nil && t.sealed() {
				rows++
				err = s.Update(ctx, func(tx *Tx) error { return t.reseal(tx, uid, key) })
			}
		}
		failed = err
		return err == nil
	})
	return rows, errors.Join(err, failed)
}
