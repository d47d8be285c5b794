package recovery

import (
	"context"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// ErrNoFile reports a store without a data file of its own.
var ErrNoFile = storage.NewError(storage.Invalid, "this store has no data file to compact")

// Compact rewrites the data file while the server runs. The new file holds nothing that was removed before, and
// receipts then say so (no residue).
//
// Errors: ErrNoFile; those of the engine, with the old file still in use.
func (s *Service) Compact(ctx context.Context) (storage.Compaction, error) {
	engine, ok := s.store.Engine().(storage.Compacter)
	if !ok {
		return storage.Compaction{}, ErrNoFile
	}
	// A reset that began before this instant is committed when the empty transaction after it is: only then is the file
	// copied, so nothing of what that reset removed gets into the copy.
	began := s.store.Now()
	if err := s.store.Update(ctx, func(*storage.Tx) error { return nil }); err != nil {
		return storage.Compaction{}, err
	}
	sizes, err := engine.Compact(ctx)
	if err != nil {
		return storage.Compaction{}, err
	}
	return sizes, s.store.Update(ctx, func(tx *storage.Tx) error { return Compacted(tx, began) })
}

// CompactionDue reports whether a user was reset or deleted since the last compaction. In a store without a file it is
// never due.
func (s *Service) CompactionDue(ctx context.Context) (bool, error) {
	if _, ok := s.store.Engine().(storage.Compacter); !ok {
		return false, nil
	}
	var since time.Time
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		since, err = lastCompaction(tx)
		return err
	})
	if err != nil {
		return false, err
	}
	removals := audit.Query{Types: []audit.Type{audit.Reset, audit.UserDelete}, Since: since, Take: 1}
	found, _, err := audit.List(ctx, s.store, removals, false)
	return len(found) > 0, err
}
