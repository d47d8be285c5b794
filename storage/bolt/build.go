package bolt

import (
	"bytes"
	"context"
	"errors"

	"go.etcd.io/bbolt"

	"tutela/storage"
	"tutela/storage/bolt/boltfile"
)

const (
	// pieceBytes is how much is read from the store at a time, and goes into one transaction of the new file. So long
	// the pages that the writer frees stay unused.
	pieceBytes = 4 << 20

	// pieceKeys bounds how many keys are caught up with at a time: each may cost the new file a page.
	pieceKeys = 1024

	// catchUpBytes is how many bytes of changed keys are left to pile up, and restBytes what is little enough for the
	// writer to be paused for it: some milliseconds. catchUpRounds bounds how often that is tried.
	catchUpBytes  = 1 << 20
	restBytes     = 256 << 10
	catchUpRounds = 8

	// unsyncedBytes is how much the new file gets between two syncs. One sync of it all would hold up the writer's.
	unsyncedBytes = 32 << 20

	// buildFill is how full the pages of the new file are. Fuller ones would split, and cost two writes instead of one,
	// the next time that a row beside them is written; emptier ones would be read and kept for nothing.
	buildFill = 0.9
)

// build copies the store into a new data file while the engine serves. At most one build runs at a time.
//
// It reads the store piece by piece, in the order of keys, each piece in a short transaction of its own. One long
// snapshot would keep freed pages from being reused, and the file would grow as long as the build takes. Keys that are
// written behind the build meanwhile are recorded (changes) and copied again. When few are left, the writer is paused
// for the rest, and then the new file equals the store. The build does not wait for the sync of a commit that it reads;
// if that sync fails, the build is given up.
//
// Memory: one piece plus maxChanged. Disk: the new file; a build starts only when there is room for it, and is given up
// when others take that room. When the writer is faster than the build, maxChanged slows it down to the build's pace.
type build struct {
	engine   *Engine
	path     string // of the new file
	fresh    *data
	changed  *changes
	unsynced int
	kept     bool
}

// startBuild takes the engine's one place for a build, and begins a file at path.
//
// Errors: ctx's; [ErrNoRoom]; those of the file system; Unavailable.
func (e *Engine) startBuild(ctx context.Context, path string) (*build, error) {
	select {
	case e.building <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b := &build{engine: e, path: path, changed: newChanges()}
	if err := b.begin(ctx); err != nil {
		return nil, errors.Join(err, b.end())
	}
	return b, nil
}

func (b *build) begin(ctx context.Context) error {
	if err := b.engine.Healthy(); err != nil {
		return err
	}
	tx, file, err := b.engine.begin(ctx)
	if err != nil {
		return err
	}
	live, err := file.liveBytes()
	if err := errors.Join(err, tx.Rollback()); err != nil {
		return err
	}
	// The new file needs about as much room as the live pages of the old one.
	if err := b.engine.roomFor(live); err != nil {
		return err
	}
	if err := errors.Join(removed(b.path), buildEmpty(b.path)); err != nil {
		return err
	}
	if b.fresh, err = openData(b.path); err != nil {
		return err
	}
	// The build syncs by itself, before the new file takes the old one's place.
	b.fresh.db.NoSync = true
	b.fresh.db.NoGrowSync = true
	b.engine.changed.Store(b.changed)
	return nil
}

// keep hands over the new file, open: end will neither close nor remove it.
func (b *build) keep() *data {
	b.kept = true
	return b.fresh
}

// end frees the engine's place for the next build, and removes the new file unless it was kept.
func (b *build) end() error {
	b.engine.changed.Store(nil)
	b.changed.end()
	var err error
	if b.fresh != nil && !b.kept {
		err = b.fresh.close()
	}
	if !b.kept {
		err = errors.Join(err, removed(b.path))
	}
	<-b.engine.building
	return err
}

// fill copies the whole store, and then the keys that were written meanwhile, until few are left.
func (b *build) fill(ctx context.Context) error {
	for from := []byte{}; from != nil; {
		if err := b.engine.roomFor(pieceBytes); err != nil {
			return err
		}
		next, err := b.copyPiece(ctx, from)
		if err != nil {
			return err
		}
		from = next
		b.engine.options.step("piece")
		if b.changed.size() < catchUpBytes {
			continue
		}
		if err := b.catchUp(ctx); err != nil {
			return err
		}
	}
	b.engine.options.step("filled")
	for round := 0; round < catchUpRounds && b.changed.size() > restBytes; round++ {
		if err := b.catchUp(ctx); err != nil {
			return err
		}
	}
	return b.fresh.raw.Sync() // most of it, so that the pause is short
}

// copyPiece copies what the store holds from key from on, up to pieceBytes, and returns where the next piece begins; nil
// at the end.
func (b *build) copyPiece(ctx context.Context, from []byte) (next []byte, err error) {
	piece, next, err := b.readPiece(ctx, from)
	if err != nil {
		return nil, err
	}
	size := 0
	err = b.fresh.db.Update(func(to *bbolt.Tx) error {
		bucket := to.Bucket(bucketName)
		bucket.FillPercent = buildFill
		for _, p := range piece {
			size += len(p.key) + len(p.value)
			if err := bucket.Put(p.key, p.value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return next, b.wrote(size)
}

// readPiece reads a piece by plain reads, as a damaged page must not reach bbolt.
func (b *build) readPiece(ctx context.Context, from []byte) (piece []pair, next []byte, err error) {
	// From here on all changed keys are kept: a commit that the transaction below does not see is among them.
	b.changed.reading()
	tx, file, err := b.engine.beginNow(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer tx.Rollback() //nolint:errcheck // ends a read transaction, which cannot fail
	size := 0
	err = boltfile.Seen(tx, file.raw).Scan(ctx, from, func(key, value []byte) bool {
		if size >= pieceBytes {
			next = bytes.Clone(key)
			return false
		}
		piece = append(piece, pair{bytes.Clone(key), bytes.Clone(value)})
		size += len(key) + len(value)
		return true
	})
	if err != nil {
		return nil, nil, b.engine.scanError(err)
	}
	// What lies ahead is read by the next piece, in a later state.
	b.changed.read(next)
	return piece, next, nil
}

// catchUp copies the changed keys again, piece by piece.
func (b *build) catchUp(ctx context.Context) error {
	if b.changed.isSpoiled() {
		return storage.ErrUnavailable.With("a commit failed meanwhile")
	}
	keys := b.changed.take()
	for len(keys) > 0 {
		if err := b.engine.roomFor(pieceBytes); err != nil {
			return err
		}
		n, err := b.copyKeys(ctx, keys[:min(len(keys), pieceKeys)])
		if err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// copyKeys copies the current values of the first keys, up to pieceBytes, into the new file. It returns how many keys
// it has copied.
func (b *build) copyKeys(ctx context.Context, keys []string) (n int, err error) {
	tx, _, err := b.engine.beginNow(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // ends a read transaction, which cannot fail
	from := tx.Bucket(bucketName)
	size := 0
	err = b.fresh.db.Update(func(to *bbolt.Tx) error {
		bucket := to.Bucket(bucketName)
		for ; n < len(keys) && size < pieceBytes; n++ {
			key := []byte(keys[n])
			value := from.Get(key)
			size += len(key) + len(value)
			if value == nil {
				err = bucket.Delete(key)
			} else {
				err = bucket.Put(key, value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, b.wrote(size)
}

// wrote counts what the new file got, and syncs it now and then.
func (b *build) wrote(n int) error {
	if b.unsynced += n; b.unsynced < unsyncedBytes {
		return nil
	}
	b.unsynced = 0
	return b.fresh.raw.Sync()
}

// scanError adds the data file's name to an error of Scan.
func (e *Engine) scanError(err error) error {
	var flaw *boltfile.Flaw
	if errors.As(err, &flaw) || errors.Is(err, boltfile.ErrForeign) {
		return ErrDamaged.With("%s is damaged: %s", e.path, err)
	}
	return err
}
