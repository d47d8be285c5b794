package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"

	"tutela/storage"
)

// copyChunk is how much of a copy is written between two looks at the context.
const copyChunk = 1 << 20

// ErrSlowCopy reports a copy that was given up because its receiver was too slow.
var ErrSlowCopy = storage.NewError(storage.Exhausted, "the copy was given up: its receiver is too slow")

// CopyTo writes one state of the store to w as a data file, while the engine serves, and returns its size. The state is
// one that the store had during the call. A copy holds nothing that was removed before, and a damaged file makes no copy
// that looks whole.
//
// A slow w does not make the data file grow: the copy is first built beside the data file (for its cost see build), and
// then sent. The built file has no name and is gone after the call. When the disk has no room for it, the copy is sent
// from a snapshot instead. The snapshot is given up when the data file has grown by half of the free room, so only a
// fast receiver gets its copy.
//
// Errors: ctx's; those of w; [ErrSlowCopy]; [ErrDamaged]; those of the file system; Unavailable.
func (e *Engine) CopyTo(ctx context.Context, w io.Writer) (int64, error) {
	ctx, stop := e.untilClose(ctx)
	defer stop()
	n, err := e.sendBuilt(ctx, w)
	if n == 0 && errors.Is(err, ErrNoRoom) {
		n, err = e.sendSnapshot(ctx, w)
	}
	if err != nil {
		return n, e.interrupted(fmt.Errorf("copy: %w", err))
	}
	return n, nil
}

// sendBuilt builds a copy beside the data file and writes it to w.
func (e *Engine) sendBuilt(ctx context.Context, w io.Writer) (n int64, err error) {
	copied, err := e.buildCopy(ctx)
	if err != nil {
		return 0, err
	}
	defer copied.Close() //nolint:errcheck // only read
	buf := make([]byte, copyChunk)
	for {
		if err := cmp.Or(ctx.Err(), e.closing.Err()); err != nil {
			return n, err
		}
		read, err := copied.Read(buf)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		written, err := w.Write(buf[:read])
		n += int64(written)
		if err != nil {
			return n, err
		}
	}
}

// buildCopy builds a copy and returns it as an open file without a name, so that it is gone however the process ends.
func (e *Engine) buildCopy(ctx context.Context) (copied *os.File, err error) {
	b, err := e.startBuild(ctx, e.path+copySuffix)
	if err != nil {
		return nil, err
	}
	if err = b.fill(ctx); err == nil {
		err = b.finish(ctx)
	}
	if err == nil {
		copied, err = os.Open(b.path)
	}
	if err := errors.Join(err, b.end()); err != nil {
		if copied != nil {
			err = errors.Join(err, copied.Close())
		}
		return nil, err
	}
	return copied, nil
}

// finish pauses the writer to bring the new file up to the last commit.
func (b *build) finish(ctx context.Context) error {
	b.engine.committing.Lock()
	defer b.engine.committing.Unlock()
	return b.catchUp(ctx)
}

// sendSnapshot writes the pages of a snapshot to w, with zeros for those that are not in use.
func (e *Engine) sendSnapshot(ctx context.Context, w io.Writer) (int64, error) {
	p, err := e.pin(ctx)
	if err != nil {
		return 0, err
	}
	defer p.end()
	used, err := p.state.Walk(ctx)
	var n int64
	if err == nil {
		n, err = p.state.CopyTo(ctx, w, used)
	}
	if ctx.Err() != nil {
		return n, ctx.Err() // ctx ended the snapshot, too
	}
	return n, p.blame(e.scanError(err))
}

// untilClose returns a copy of ctx that also ends when the engine is being closed.
func (e *Engine) untilClose(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.closing, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// interrupted turns err into Unavailable when the engine is being closed.
func (e *Engine) interrupted(err error) error {
	if e.closing.Err() != nil && errors.Is(err, context.Canceled) {
		return errClosed
	}
	return err
}

// Restore puts a copy of the data file backup at path. It replaces an existing file only with replace. Whatever
// happens, path holds a whole file or none. If path is a link, the link stays and the file it names is replaced.
//
// change returns writes that are made to the copy before it is put at path, so that no crash leaves a file there
// without them; a nil change makes none. backup itself is not changed.
//
// Errors: those of [Inspect] for backup; those of change; [ErrInUse]; [storage.ErrExists].
func Restore(ctx context.Context, backup, path string, replace bool, change Change) error {
	path, err := RealPath(path)
	if err != nil {
		return err
	}
	lock, err := lockFile(path)
	if err != nil {
		return err
	}
	err = restore(ctx, backup, path, replace, change)
	return errors.Join(err, lock.release())
}

// Change reads a store and returns what is to be written to it.
type Change func(storage.Reader) (*storage.WriteSet, error)

func restore(ctx context.Context, backup, path string, replace bool, change Change) error {
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
	err = copyFile(ctx, building, from)
	if err == nil && change != nil {
		err = changeFile(building, change)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("restore %s: %w", path, err), removed(building))
	}
	if err := removeMark(path); err != nil {
		return errors.Join(err, removed(building))
	}
	return publish(building, path, Options{}.withDefaults())
}

// changeFile applies change to a complete data file that nobody else has open, and syncs it.
func changeFile(path string, change Change) error {
	d, err := openData(path)
	if err != nil {
		return err
	}
	d.db.NoGrowSync = true // the commit's own sync covers the length, as in buildEmpty
	err = d.db.Update(func(tx *bbolt.Tx) (err error) {
		defer caught(&err)
		bucket := tx.Bucket(bucketName)
		ws, err := change(&reader{bucket: bucket, writable: true})
		if err != nil {
			return err
		}
		if err := checkWrites(ws); err != nil {
			return err
		}
		return ws.Each(func(key string, value []byte) error { return putOrDelete(bucket, key, value) })
	})
	return errors.Join(err, d.close())
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
