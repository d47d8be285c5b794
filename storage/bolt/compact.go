package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"tutela/storage"
)

// ErrCompacting reports that another Compact is running.
var ErrCompacting = storage.NewError(storage.Conflict, "the data file is being compacted already")

// Compact builds a new file from the store and replaces the old one with it, while the engine serves (for its cost see
// build). At the end it pauses the writer for the last commits and a sync. Afterwards the file holds nothing that was
// removed before the call. The old file's blocks go back to the file system, which does not wipe them.
//
// Errors: ctx's; [ErrNoRoom], at the start or when others took the room meanwhile; those of the file system;
// [ErrCompacting]; [ErrDamaged]; Unavailable. After each of them the old file stays in use.
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

// replace fills the new file and replaces the data file with it.
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

// exchange pauses the writer, copies the last changes, syncs the new file, renames it over the data file, and returns
// the old one.
//
// The order matters. The new file's content is on the disk before the file gets the name, and the name is on the disk
// before the writer commits anything. If the name cannot be synced, a power cut could bring the old file back without
// later commits. So a fault then stops all further commits.
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
	// Let readers and the writer see the new file.
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
