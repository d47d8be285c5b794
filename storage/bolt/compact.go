package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.etcd.io/bbolt"

	"tutela/storage"
	"tutela/storage/bolt/boltfile"
)

const (
	// compactBatch is how many bytes go into one transaction of the new file, which is not synced.
	compactBatch = 4 << 20

	// replayRounds bounds how often Compact catches up with the writer before it pauses it for the rest, and
	// replayRest is a rest that is small enough for that: a few milliseconds.
	replayRounds = 16
	replayRest   = 1 << 20

	// compactFill is how full the pages of the new file are. Fuller ones would split, and cost two writes instead
	// of one, the next time that a row beside them is written; emptier ones would be read and kept for nothing.
	compactFill = 0.9
)

// ErrCompacting is what a second Compact gets while one runs.
var ErrCompacting = storage.NewError(storage.Conflict, "the data file is being compacted already")

// Compact copies what is in the store to a new file and puts that in the place of the old one, while the engine
// serves. The writer is paused at the end, for the last commits and a sync. Afterwards nothing that was removed
// before the call is in the file; the blocks of the old file go back to the file system, which does not wipe them.
//
// Errors: ctx's, and those of the file system (a full disk), with the old file still in use; [ErrCompacting];
// [ErrDamaged]; Unavailable.
func (e *Engine) Compact(ctx context.Context) (storage.Compaction, error) {
	if !e.compacting.TryLock() {
		return storage.Compaction{}, ErrCompacting
	}
	defer e.compacting.Unlock()
	ctx, stop := e.untilClose(ctx)
	defer stop()
	tx, file, err := e.beginReplay(ctx)
	if err != nil {
		return storage.Compaction{}, e.interrupted(err)
	}
	defer e.endReplay()
	sizes, err := e.compact(ctx, tx, file)
	if err != nil {
		return storage.Compaction{}, e.interrupted(err)
	}
	return sizes, nil
}

// replayLog is what was committed since the snapshot of a Compact, in order; nil when none runs.
type replayLog struct {
	sets  []*storage.WriteSet
	bytes int
}

// add keeps what a group wrote, for Compact. Values are copied: they may lie in the map of the file that will be
// closed.
func (l *replayLog) add(calls []*call) {
	if l == nil {
		return
	}
	for _, c := range calls {
		if c.writes == nil {
			continue
		}
		kept := storage.NewWriteSet()
		_ = c.writes.Each(func(key string, value []byte) error { // it returns only the function's errors
			l.bytes += len(key) + len(value)
			if value == nil {
				kept.Delete([]byte(key))
			} else {
				kept.Put([]byte(key), slices.Clone(value))
			}
			return nil
		})
		l.sets = append(l.sets, kept)
	}
}

// beginReplay takes a snapshot between two groups, and has all that is committed from then on kept.
func (e *Engine) beginReplay(ctx context.Context) (*bbolt.Tx, *data, error) {
	e.committing.Lock()
	defer e.committing.Unlock()
	tx, file, err := e.begin(ctx)
	if err == nil {
		e.replay = &replayLog{}
	}
	return tx, file, err
}

func (e *Engine) endReplay() {
	e.committing.Lock()
	defer e.committing.Unlock()
	e.replay = nil
}

// takeReplay returns what was kept since the last call. The caller holds committing.
func (e *Engine) takeReplay() *replayLog {
	log := e.replay
	e.replay = &replayLog{}
	return log
}

// compact builds the new file from tx, which it ends, and what was committed since, and puts it in file's place.
func (e *Engine) compact(ctx context.Context, tx *bbolt.Tx, file *data) (storage.Compaction, error) {
	building := e.path + compactSuffix
	fresh, err := e.build(ctx, building, tx, file)
	if err != nil {
		return storage.Compaction{}, errors.Join(fmt.Errorf("compact %s: %w", e.path, err), removed(building))
	}
	sizes := storage.Compaction{}
	if sizes.Before, err = fileSize(file); err == nil {
		err = e.exchange(building, fresh)
	}
	if err != nil {
		return sizes, errors.Join(fmt.Errorf("compact %s: %w", e.path, err), fresh.close(), removed(building))
	}
	e.retired.Go(func() {
		if err := file.close(); err != nil {
			e.options.Logger.Error("the data file that was replaced could not be closed", "error", err)
		}
	})
	sizes.After, err = fileSize(fresh)
	return sizes, err
}

// build makes the new file, and catches up with the writer until little is left.
func (e *Engine) build(ctx context.Context, path string, tx *bbolt.Tx, file *data) (fresh *data, err error) {
	_, err = boltfile.Seen(tx, file.raw).Walk(ctx)
	if err != nil {
		err = e.walkError(ctx, err)
	} else if err = removed(path); err == nil {
		err = buildEmpty(path)
	}
	if err == nil {
		fresh, err = openData(path)
	}
	if err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	fresh.db.NoSync, fresh.db.NoGrowSync = true, true
	e.options.step("begun")
	err = errors.Join(fresh.fillFrom(ctx, tx), tx.Rollback())
	e.options.step("filled")
	for round := 0; err == nil && round < replayRounds; round++ {
		e.committing.Lock()
		log := e.takeReplay()
		e.committing.Unlock()
		if err = fresh.catchUp(log); err != nil || log.bytes <= replayRest {
			break
		}
		err = ctx.Err()
	}
	if err == nil {
		err = fresh.raw.Sync() // most of it, so that the pause is short
	}
	if err != nil {
		return nil, errors.Join(err, fresh.close())
	}
	return fresh, nil
}

// fillFrom copies all that tx sees, in order.
func (d *data) fillFrom(ctx context.Context, tx *bbolt.Tx) error {
	c := tx.Bucket(bucketName).Cursor()
	for key, value := c.First(); key != nil; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := d.db.Update(func(to *bbolt.Tx) error {
			bucket := to.Bucket(bucketName)
			bucket.FillPercent = compactFill
			for n := 0; key != nil && n < compactBatch; key, value = c.Next() {
				if err := bucket.Put(key, value); err != nil {
					return err
				}
				n += len(key) + len(value)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// catchUp applies write sets in their order.
func (d *data) catchUp(log *replayLog) error {
	for batch := range slices.Chunk(log.sets, maxGroup) {
		err := d.db.Update(func(tx *bbolt.Tx) error {
			g := &group{tx: tx, bucket: tx.Bucket(bucketName)}
			for _, ws := range batch {
				if err := g.apply(ws); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// exchange pauses the writer, brings the new file up to the last commit, syncs it, and puts it in place of the old.
//
// The order: what the new file holds is on the disk before it has the name, and the name is on the disk before the
// writer commits anything to it. When the second cannot be had, a power cut might bring the old file back without
// what comes: so nothing comes.
func (e *Engine) exchange(building string, fresh *data) error {
	e.committing.Lock()
	defer e.committing.Unlock()
	if err := e.usable(); err != nil {
		return err
	}
	if err := e.closing.Err(); err != nil {
		return err
	}
	if err := fresh.catchUp(e.takeReplay()); err != nil {
		return err
	}
	if err := fresh.raw.Sync(); err != nil {
		return err
	}
	e.options.step("synced")
	if err := os.Rename(building, e.path); err != nil {
		return err
	}
	fresh.db.NoSync, fresh.db.NoGrowSync = false, false
	fresh.durable.Store(fresh.newest())
	e.options.step("renamed")
	if err := syncDir(e.path); err != nil {
		e.fault.Store(&fault{err: unavailable(err), lasting: true})
	}
	e.swap.Lock()
	defer e.swap.Unlock()
	e.file = fresh
	return nil
}

func fileSize(d *data) (int64, error) {
	info, err := d.raw.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
