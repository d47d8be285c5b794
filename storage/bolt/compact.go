package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"tutela/storage"
)

// ErrCompacting is what a second Compact gets while one runs.
var ErrCompacting = storage.NewError(storage.Conflict, "the data file is being compacted already")

// Compact builds a new file of what is in the store and puts it in the place of the old one, while the engine serves
// (see build, for what that costs). The writer is paused at the end, for the last commits and a sync. Afterwards nothing
// that was removed before the call is in the file; the blocks of the old file go back to the file system, which does not
// wipe them.
//
// Errors, all of which leave the old file in use: ctx's; [ErrNoRoom], before anything was done or when the room went to
// others; those of the file system; [ErrCompacting]; [ErrDamaged]; Unavailable.
func (e *Engine) Compact(ctx context.Context) (sizes storage.Compaction, err error) {
	if !e.compacting.TryLock() {
		return storage.Compaction{}, ErrCompacting
	}
	defer e.compacting.Unlock()
	ctx, stop := e.untilClose(ctx)
	defer stop()
	began := time.Now()
	defer func() { e.countCompaction(began, sizes, err) }()
	b, err := e.startBuild(ctx, e.path+compactSuffix)
	if err == nil {
		e.options.step("begun")
		sizes, err = b.replace(ctx)
		err = errors.Join(err, b.end())
	}
	if err != nil {
		return storage.Compaction{}, e.interrupted(fmt.Errorf("compact: %w", err))
	}
	return sizes, nil
}

// replace fills the new file and puts it in the place of the data file.
func (b *build) replace(ctx context.Context) (sizes storage.Compaction, err error) {
	if err := b.fill(ctx); err != nil {
		return sizes, err
	}
	old, err := b.exchange(ctx)
	if err != nil {
		return sizes, err
	}
	sizes.Before, err = fileSize(old)
	b.engine.retired.Go(func() {
		if err := old.close(); err != nil {
			b.engine.options.Logger.Error("the data file that was replaced could not be closed", "error", err)
		}
	})
	after, err2 := fileSize(b.fresh)
	sizes.After = after
	return sizes, errors.Join(err, err2)
}

// exchange pauses the writer, brings the new file up to the last commit, syncs it, puts it in the place of the old one,
// and returns that.
//
// The order: what the new file holds is on the disk before it has the name, and the name is on the disk before the
// writer commits anything to it. When the second cannot be had, a power cut might bring the old file back without
// what comes: so nothing comes.
func (b *build) exchange(ctx context.Context) (old *data, err error) {
	e := b.engine
	e.committing.Lock()
	defer e.committing.Unlock()
	if err := b.catchUp(ctx); err != nil {
		return nil, err
	}
	if err := b.fresh.raw.Sync(); err != nil {
		return nil, err
	}
	e.options.step("synced")
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.Rename(b.path, e.path); err != nil {
		return nil, err
	}
	fresh := b.keep()
	fresh.db.NoSync = false
	fresh.db.NoGrowSync = false
	fresh.durable.Store(fresh.newest())
	e.options.step("renamed")
	if err := syncDir(e.path); err != nil {
		e.setFault(&fault{err: unavailable(err), doubt: true})
	}
	e.swap.Lock()
	defer e.swap.Unlock()
	old = e.file
	e.file = fresh
	return old, nil
}

func fileSize(d *data) (int64, error) {
	info, err := d.raw.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
