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

// RunSweeper removes rows past their expiry, in small batches, until ctx is done, and writes the house's time down
// now and then. A row past its expiry is not found, swept or not: the sweeper only gives the room back, and lets those
// who write go first. It stops while the clock may be wrong ([Store.MayRemove]).
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

// How fast the sweeper is: it removes a share of what is there to be removed, and twice what the writers add, so that
// what is left becomes less under any load. Every batch makes one commit slower for all who share it, so batches are
// small, and at least as much time as a batch takes passes before the next.
//
// Measured by BenchmarkWritesWhileSweeping.
const (
	sweepTick  = 20 * time.Millisecond // between batches
	sweepRate  = 500                   // rows a second, beside twice what is added
	sweepCatch = 2
	maxSweep   = 256 // rows a batch
)

// sweepPace measures how many rows the next batch has.
type sweepPace struct {
	begun time.Time // the batch that is being removed
	added uint64    // Store.expiring then
}

func newPace(added uint64) *sweepPace {
	return &sweepPace{begun: time.Now().Add(-sweepTick), added: added}
}

// batch is how many rows may be removed now.
func (p *sweepPace) batch(added uint64) int {
	passed := min(time.Since(p.begun), 5*sweepTick)
	rows := sweepRate*passed.Seconds() + float64(sweepCatch*(added-p.added))
	p.begun = time.Now()
	p.added = added
	return max(1, min(int(rows), maxSweep))
}

// pause is how long to wait before the next batch.
func (p *sweepPace) pause() time.Duration {
	took := time.Since(p.begun)
	return max(sweepTick-took, took)
}

// Sweep removes some expired rows and returns how many it removed: a batch a shard. While the clock may be wrong it
// removes nothing, and looks whether it was set right.
func (s *Store) Sweep(ctx context.Context) (int, error) { return s.sweep(ctx, sweepBatch) }

// sweepWhenLeading is sweep for one of the servers that share the store. The others look at their clocks alone.
func (s *Store) sweepWhenLeading(ctx context.Context, batch int) (int, error) {
	if s.Leads(ctx, "sweep") {
		return s.sweep(ctx, batch)
	}
	s.lookAtClock()
	return 0, nil
}

// lookAtClock looks whether the machine's clock was set right.
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

// sweepRows removes the rows of expiry entries. Those of one user share a transaction, since none writes two users'
// rows. What cannot be swept is passed over, so that it holds nothing up that lies behind it.
func (s *Store) sweepRows(ctx context.Context, due [][]byte) (swept int, err error) {
	byOwner := make(map[UID][][]byte, len(due))
	for _, entry := range due {
		var owner UID // nobody's, when the entry does not tell
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

// sweep removes the rows that the expiry entries point at, as far as they are still past their expiry, and the
// entries. What cannot be read is set aside.
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

// sweepRow removes the row k when it is past its expiry, and the entry that said so.
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

// lapse tells the owner of the row k that it is removed.
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

// sweepOwned removes what belongs to the row k, which was swept.
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

// passedOver is the expiry entries that the sweeper has given up on. Safe for concurrent use.
type passedOver struct {
	mu      sync.Mutex
	entries map[string]struct{}
}

// maxPassed bounds them: past it something is wrong with more than some rows.
const maxPassed = 10_000

func (p *passedOver) has(entry []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, has := p.entries[string(entry)]
	return has
}

// add reports false when there are too many.
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
