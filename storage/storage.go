// Package storage keeps typed tables in serializable transactions over a small ordered byte store.
//
// It knows nothing of the domain. A package that owns records declares a [Table] for them. Storage updates the table's
// index and expiry entries in the same transaction, encrypts the fields that the table names, and removes all rows of
// an owner at once ([Purge]), without a list that somebody must remember to extend.
//
// Three things always hold:
//
//   - Acknowledged is durable: when [Store.Update] returns nil, or an error made by [Kept], what the closure wrote
//     is on disk (or committed by the database). There is no mode in which it is not.
//   - A transaction is isolated: it sees one state of the store, and its writes take effect together or not at all. The
//     closure may run more than once, so it must act through its [Tx] only.
//   - A row past its expiry is not found, swept or not.
package storage

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"tutela/storage/meter"
)

// Store is a set of tables over an engine. Safe for concurrent use.
type Store struct {
	engine Engine
	clock  *houseClock
	sealer atomic.Pointer[Sealer]
	wakes  Wakes
	meter  *meter.Set
	log    *slog.Logger

	identity atomic.Pointer[Identity] // set by Open
	shards   shards                   // set by Open
	leases   leases

	stamped atomic.Int64 // the last of Tx.Stamp

	writes   atomic.Uint64 // commits since Open; tells the sweeper whether the clock's mark is worth a write
	expiring atomic.Uint64 // rows that were given an expiry since Open: how fast the sweeper must be
	passed   passedOver    // expiry entries that the sweeper cannot sweep
}

// Options says how to open a store. The zero value is right for production.
type Options struct {
	Clock  Clock        // default: the machine's
	Wakes  Wakes        // default: wakes inside this process
	Meter  *meter.Set   // this server's figures; default: a new set
	Logger *slog.Logger // default: slog.Default()
	Shared bool         // other servers may have the store open too

	migrations []migration // default: those of schema.go; tests give their own
	schema     int
}

// Open opens the store in an engine. It checks that the data is tutela's and has a schema that this program knows,
// initialises an empty engine, and migrates an older schema, one transaction a step.
//
// Errors: ErrForeign, with a message for the operator, when the data is another product's or has a newer schema; the
// data is then left unchanged.
func Open(ctx context.Context, engine Engine, o Options) (*Store, error) {
	if o.Clock == nil {
		o.Clock = SystemClock()
	}
	if o.Wakes == nil {
		o.Wakes = NewWakes()
	}
	if o.Meter == nil {
		o.Meter = meter.NewSet()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.migrations == nil {
		o.migrations = migrations
		o.schema = schemaVersion
	}
	s := &Store{
		engine: engine,
		wakes:  o.Wakes,
		meter:  o.Meter,
		log:    o.Logger,
	}
	if o.Shared {
		s.leases.holder = NewID("srv_", 16)
		s.leases.known = make(map[string]lease)
	}
	if err := s.prepare(ctx, o); err != nil {
		return nil, err
	}
	return s, nil
}

// Update runs fn in a transaction and commits what it wrote. fn may run more than once.
//
// When fn returns an error, the transaction rolls back and Update returns that error. An error made by [Kept] commits
// instead, and Update returns the error inside it. When fn panics, the transaction rolls back and the panic is raised
// again here. ctx can cancel Update until the engine has started the closure. After that Update waits for the outcome,
// so an error of ctx means that nothing was written.
//
// Errors: those of fn; ctx's; ErrUnavailable when the engine cannot write; ErrOutcomeUnknown.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	var kept error
	var last *Tx
	// The engine may run the closure again: kept and last are those of the last run.
	err := s.engine.Update(ctx, func(r Reader) (*WriteSet, error) {
		tx := s.begin(r, true)
		defer tx.end()
		last = tx
		kept = nil
		err := fn(tx)
		if counts, refusal := counted(err); counts {
			kept = refusal
			err = nil
		}
		return tx.ws, err
	})
	if err != nil {
		if last != nil {
			last.counts.settle(false)
		}
		return err
	}
	// Committed. Only now may anybody learn of it.
	last.counts.settle(true)
	s.writes.Add(1)
	s.expiring.Add(uint64(last.expiring))
	s.tellOfDamage(last.damaged)
	for uid := range last.wakes {
		s.wakes.Wake(uid)
	}
	return kept
}

// View runs fn in a read-only transaction: fn sees one state of the store, which no writer changes.
//
// Errors: those of fn; ctx's; Unavailable when the engine cannot read.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	return s.engine.View(ctx, func(r Reader) error {
		tx := s.begin(r, false)
		defer tx.end()
		return fn(tx)
	})
}

func (s *Store) begin(r Reader, writable bool) *Tx {
	tx := &Tx{store: s, r: r, now: s.Now()}
	if writable {
		tx.ws = NewWriteSet()
	}
	return tx
}

// Now is the house's time: the wall's time when the store was opened plus the monotonic clock's progress since, and
// never before a time that the store has written down. Waits and expiries are measured by it, so a wrong or jumping
// clock ends no wait early. [Store.ClockState] compares it with [Store.Wall].
func (s *Store) Now() time.Time { return s.clock.now() }

// Wall is the time of the machine's clock, for claims that other machines compare with their clocks.
func (s *Store) Wall() time.Time { return s.clock.wall() }

// Engine is the byte store below, for abilities that only some engines have ([Copier], [Compacter]).
func (s *Store) Engine() Engine { return s.engine }

// Meter holds this server's figures.
func (s *Store) Meter() *meter.Set { return s.meter }

// SetSealer gives the store the keys for sealed fields. Until then a row with one can be neither written nor read.
func (s *Store) SetSealer(sealer Sealer) { s.sealer.Store(&sealer) }

// Watch returns a channel that receives after each commit that woke uid ([Tx.Wake], [Purge]), and a function that ends
// the watch. The channel holds one wake. A watcher that reads the store after Watch and after each wake misses nothing.
func (s *Store) Watch(uid UID) (woken <-chan struct{}, stop func()) { return s.wakes.Watch(uid) }

// Close writes the time down and closes the engine, after the transactions that have started.
func (s *Store) Close() error {
	if s.writes.Load() > 0 {
		if err := s.markTime(context.Background()); err != nil {
			s.log.Warn("write the time down", "err", err)
		}
	}
	if err := s.engine.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
