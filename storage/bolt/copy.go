package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"tutela/storage"
	"tutela/storage/bolt/boltfile"
)

// CopyTo writes the newest commit to w as a data file, while the engine serves, and returns its size. The pages in
// use are walked through as [Inspect] does, and only they are copied: a damaged file makes no backup that looks
// whole, and a copy holds nothing that was removed (its place is zeros).
//
// As long as it runs the writer cannot use the pages again that it frees, and the file grows.
//
// Errors: ctx's; those of w; [ErrDamaged]; Unavailable.
func (e *Engine) CopyTo(ctx context.Context, w io.Writer) (int64, error) {
	ctx, stop := e.untilClose(ctx)
	defer stop()
	tx, file, err := e.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // ends a read transaction, which cannot fail
	s := boltfile.Seen(tx, file.raw)
	used, err := s.Walk(ctx)
	if err != nil {
		return 0, e.walkError(ctx, err)
	}
	n, err := s.CopyTo(ctx, w, used)
	if err != nil {
		return n, e.interrupted(fmt.Errorf("copy %s: %w", e.path, err))
	}
	return n, nil
}

// untilClose returns ctx, which ends when the engine is being closed as well.
func (e *Engine) untilClose(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.closing, cancel)
	return ctx, func() { stop(); cancel() }
}

// interrupted makes err Unavailable when it comes from the engine being closed.
func (e *Engine) interrupted(err error) error {
	if e.closing.Err() != nil && errors.Is(err, context.Canceled) {
		return errClosed
	}
	return err
}

func (e *Engine) walkError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return e.interrupted(ctx.Err())
	}
	return ErrDamaged.With("%s is damaged: %s", e.path, err)
}

// Restore makes a copy of the data file backup the data file at path. An existing one is replaced only with replace;
// whatever happens, a whole file is at path, or none. A link at path stays, and names the copy then.
//
// Errors: those of [Inspect] for backup; [ErrInUse]; [storage.ErrExists].
func Restore(ctx context.Context, backup, path string, replace bool) error {
	path, err := RealPath(path)
	if err != nil {
		return err
	}
	lock, err := lockFile(path)
	if err != nil {
		return err
	}
	err = restore(ctx, backup, path, replace)
	return errors.Join(err, lock.release())
}

func restore(ctx context.Context, backup, path string, replace bool) error {
	if _, err := os.Stat(path); err == nil && !replace {
		return storage.ErrExists.With("%s exists already", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	from, err := openRegular(backup, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // only read
	if _, _, err := inspect(ctx, backup, from); err != nil {
		return err
	}
	building := path + newSuffix
	if err := copyFile(ctx, building, from); err != nil {
		return errors.Join(fmt.Errorf("restore %s: %w", path, err), removed(building))
	}
	if err := removeMark(path); err != nil {
		return errors.Join(err, removed(building))
	}
	return publish(building, path, Options{}.withDefaults())
}

// copyFile writes and syncs a copy of from, and inspects what was written.
func copyFile(ctx context.Context, path string, from *os.File) error {
	to, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, io.NewSectionReader(from, 0, 1<<62))
	if err == nil {
		err = to.Sync()
	}
	if err == nil {
		_, _, err = inspect(ctx, path, to)
	}
	return errors.Join(err, to.Close())
}
