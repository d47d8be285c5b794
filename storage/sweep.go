package storage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	sweepBatch    = 64              // rows removed at a time by Sweep
	sweepInterval = 2 * time.Second // between rounds that found nothing more to do
	markInterval  = 5 * time.Second // how often the house's time is written down, when something else was written
	idleInterval  = 24 * time.Hour  // how often it is written down when nothing else was
)

// RunSweeper removes rows past their expiry, in small batches, until ctx is done, and writes the house's time down now
// and then. Nobody finds a row past its expiry, whether swept or not. The sweeper only frees the space, so it lets
// other writers go first. It pauses while the clock may be wrong ([Store.MayRemove]).
func (s *Store) RunSweeper(ctx context.Context) {
	marked := s.ClockState().Mark
	pace := newPace(s.expiring.Load())
	var writes uint64
	for ctx.Err() == nil {
		batch := pace.batch(s.expiring.Load())
		swept, err := s.sweepWhenLeading(ctx, batch)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("sweep expired rows", "err", err)
		}
		now := s.Now()
		written := s.writes.Load()
		if since := now.Sub(marked); since >= markInterval && written != writes || since >= idleInterval || since < 0 {
			if err := s.markTime(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("write the time down", "err", err)
			}
			marked = now
			writes = written + 1 // one of them is the mark
		}
		wait := sweepInterval
		if swept >= batch && err == nil {
			wait = pace.pause()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// How fast the sweeper is. It removes sweepRate rows a second plus twice the rows that writers add, so that the backlog
// shrinks under any load. A batch slows down the commit that it shares with others. So batches are small, and the pause
// after a batch is at least as long as the batch took.
//
// Measured by BenchmarkWritesWhileSweeping.
const (
	sweepTick  = 20 * time.Millisecond // between batches
	sweepRate  = 500                   // rows a second, beside twice what is added
	sweepCatch = 2
	maxSweep   = 256 // rows a batch
)

// sweepPace works out how many rows the next batch may have.
type sweepPace struct {
	begun time.Time // when the current batch began
	added uint64    // Store.expiring then
}

func newPace(added uint64) *sweepPace {
	return &sweepPace{begun: time.Now().Add(-sweepTick), added: added}
}

// batch returns how many rows may be removed now.
func (p *sweepPace) batch(added uint64) int {
	passed := min(time.Since(p.begun), 5*sweepTick)
	rows := sweepRate*passed.Seconds() + float64(sweepCatch*(added-p.added))
	p.begun = time.Now()
	p.added = added
	return max(1, min(int(rows), maxSweep))
}

// pause returns how long to wait before the next batch.
func (p *sweepPace) pause() time.Duration {
	took := time.Since(p.begun)
	return max(sweepTick-took, took)
}

// Sweep removes one batch of expired rows from each shard and returns how many it removed. While the clock may be wrong
// it removes nothing, and checks whether the clock was corrected.
func (s *Store) Sweep(ctx context.Context) (int, error) { return s.sweep(ctx, sweepBatch) }

// sweepWhenLeading is sweep at the one server that leads this job. The other servers only check their clocks.
func (s *Store) sweepWhenLeading(ctx context.Context, batch int) (int, error) {
	if s.Leads(ctx, "sweep") {
		return s.sweep(ctx, batch)
	}
	s.lookAtClock()
	return 0, nil
}

// lookAtClock checks whether the machine's clock was corrected.
func (s *Store) lookAtClock() {
	if s.clock.lookAgain() {
		s.log.Info("the machine's clock is believed again", "machine", s.Wall(), "house", s.Now())
	}
}

func (s *Store) sweep(ctx context.Context, batch int) (int, error) {
	s.lookAtClock()
	if !s.MayRemove() {
		return 0, nil
	}
	total := 0
	for shard := range s.shards.most() {
		n, err := s.sweepShard(ctx, byte(shard), batch)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (s *Store) sweepShard(ctx context.Context, shard byte, batch int) (int, error) {
	prefix := []byte{spaceExpiry, shard}
	now := s.Now()
	var due [][]byte
	err := s.engine.Peek(ctx, Prefix(prefix), func(k, _ []byte) bool {
		at, _, err := splitExpiryKey(k)
		if err == nil && now.Before(at) {
			return false
		}
		if !s.passed.has(k) {
			due = append(due, k)
		}
		return len(due) < batch
	})
	if err != nil || len(due) == 0 {
		return 0, err
	}
	return s.sweepRows(ctx, due)
}

// sweepRows removes the rows that expiry entries point at. Each user's rows have a transaction of their own, since no
// transaction writes two users' rows. An entry that cannot be swept is passed over, so that it does not block those
// behind it.
func (s *Store) sweepRows(ctx context.Context, due [][]byte) (swept int, err error) {
	byOwner := make(map[UID][][]byte, len(due))
	for _, entry := range due {
		var owner UID // the house's when the entry cannot be read
		if _, k, err := splitExpiryKey(entry); err == nil {
			owner, _ = ownerOf(k)
		}
		byOwner[owner] = append(byOwner[owner], entry)
	}
	batches := slices.Collect(maps.Values(byOwner))
	errs := s.updateEach(ctx, len(batches), func(tx *Tx, i int) error { return tx.sweep(batches[i]) })
	for i, failed := range errs {
		switch code := CodeOf(failed); {
		case failed == nil:
			swept += len(batches[i])
		case ctx.Err() != nil, code == Unavailable, code == OutcomeUnknown, !s.passed.add(batches[i]):
			err = failed
		default:
			s.log.Error("rows past their expiry cannot be removed; they are passed over until the next start", "rows", len(batches[i]), "err", failed)
		}
	}
	return swept, err
}

// sweep removes the expiry entries and the rows that they point at, if these are still past their expiry. What cannot
// be read is set aside.
func (tx *Tx) sweep(entries [][]byte) error {
	for _, entry := range entries {
		_, k, err := splitExpiryKey(entry)
		if err == nil {
			_, _, _, err = splitRowKey(k)
		}
		if err != nil {
			err = tx.setAside(entry, nil, err)
		} else {
			err = tx.sweepRow(k, entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepRow removes the entry, and the row k if it is past its expiry.
func (tx *Tx) sweepRow(k, entry []byte) error {
	stored, err := tx.get(k)
	if err != nil {
		return err
	}
	if stored != nil {
		r, err := decodeRow(stored)
		switch {
		case err != nil:
			err = tx.setAside(k, stored, err)
		case r.expired(tx.now):
			err = errors.Join(tx.lapse(k, r), tx.removeRow(k, stored), tx.sweepOwned(k))
		}
		if err != nil {
			return err
		}
	}
	return tx.delete(entry)
}

// lapse calls Spec.Lapsed for the row k, which is about to be removed.
func (tx *Tx) lapse(k []byte, r row) error {
	uid, name, key, err := splitRowKey(k)
	if err != nil {
		return err
	}
	if t, err := tables.named(name); err == nil {
		t.lapsed(tx, uid, key, r)
	}
	return nil
}

// sweepOwned calls Spec.Swept, which removes what belongs to the swept row k.
func (tx *Tx) sweepOwned(k []byte) error {
	uid, name, key, err := splitRowKey(k)
	if err != nil {
		return err
	}
	t, err := tables.named(name)
	if err != nil {
		return nil //nolint:nilerr // a row of a table that this program does not know goes alone
	}
	return t.swept(tx, uid, key)
}

// passedOver holds the expiry entries that the sweeper has given up on. Safe for concurrent use.
type passedOver struct {
	mu      sync.Mutex
	entries map[string]struct{}
}

// maxPassed bounds them. Beyond it the fault is not in single rows, and the sweeper reports an error instead.
const maxPassed = 10_000

func (p *passedOver) has(entry []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, has := p.entries[string(entry)]
	return has
}

// add returns false, and adds nothing, when there would be too many.
func (p *passedOver) add(entries [][]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.entries)+len(entries) > maxPassed {
		return false
	}
	if p.entries == nil {
		p.entries = make(map[string]struct{}, len(entries))
	}
	for _, entry := range entries {
		p.entries[string(entry)] = struct{}{}
	}
	return true
}
