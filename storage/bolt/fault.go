package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"syscall"
	"time"

	"tutela/storage"
	"tutela/storage/bolt/boltfile"
)

const (
	// firstTry and lastTry are the first and the longest wait before the engine tries again to write. The wait
	// doubles from one to the other.
	firstTry = 100 * time.Millisecond
	lastTry  = 10 * time.Second

	// leastFree is the free room on the disk below which a group is refused without trying. After a failed write
	// bbolt would read the whole tree to find its free pages again.
	leastFree = 4 << 20
)

// fault says why the engine does not write, after a failed commit.
//
// There are two cases. Mostly the meta page has not changed: the state before the commit is the newest and was synced,
// so reading goes on. Otherwise the commit is visible, but may not be on the disk: nothing is read or written until
// that is certain (settle).
type fault struct {
	err    error // for callers: an Unavailable
	doubt  bool  // the file's state is in doubt: nothing may be read either, until settle
	broken bool  // bbolt panicked and holds its own locks: only a restart helps
	need   int64 // how much room there must be to try again, in bytes
}

// unread reports whether nothing may be read either.
func (f *fault) unread() bool { return f != nil && (f.doubt || f.broken) }

// Healthy returns nil when the engine can write, or Unavailable with the cause. After a failed commit the engine tries
// by itself until it can write again.
func (e *Engine) Healthy() error {
	if e.closing.Err() != nil {
		return errClosed
	}
	if f := e.fault.Load(); f != nil {
		return f.err
	}
	return nil
}

// readable returns why nothing may be read, or nil.
func (e *Engine) readable() error {
	if f := e.fault.Load(); f.unread() {
		return f.err
	}
	return nil
}

// room returns an error when the disk has too little room for the group. How much a group needs depends on the tree;
// needFor guesses it.
func (e *Engine) room(g *group) error {
	free, err := e.options.free(e.Folder())
	if err == nil && free < needFor(g) {
		return &fs.PathError{Op: "write", Path: e.path, Err: syscall.ENOSPC}
	}
	return nil // also when the free room is not known: then the write is tried
}

func needFor(g *group) int64 { return leastFree + 4*int64(g.bytes) }

// failed sets the fault after a failed commit, and answers every call of the group with it. That includes calls that
// failed by themselves, since their result may depend on writes that are lost.
func (e *Engine) failed(g *group) {
	if changed := e.changed.Load(); changed != nil {
		changed.spoil()
	}
	if g.file == nil { // refused before it began
		g.answer(g.err, g.err)
		return
	}
	f, kept := e.examine(g)
	e.setFault(f)
	wrote := f.err
	if kept {
		wrote = fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, g.err)
	}
	g.answer(f.err, wrote)
}

// answer ends the calls of the group: those that wrote something with the error wrote, the others with err.
func (g *group) answer(err, wrote error) {
	for _, c := range g.calls {
		if c.err = err; c.writes != nil && c.writes.Len() > 0 {
			c.err = wrote
		}
		c.writes = nil
	}
}

// examine finds out what a failed commit has left in bbolt and in the file. kept is true when the commit may have been
// kept: its meta page is visible, or the file cannot be read.
func (e *Engine) examine(g *group) (f *fault, kept bool) {
	f = &fault{err: unavailable(g.err), need: 2 * needFor(g)}
	if g.tx == nil { // bbolt has lost its map of the file
		f.doubt = true
	} else {
		g.file.giveUp(g.tx)
		newest, err := g.file.newestOnFile()
		kept = err != nil || newest >= g.id
		f.doubt = kept || errors.Is(g.err, errPanicked) // a bbolt that panicked is not asked again
		f.broken = g.file.isStuck()
	}
	switch {
	case f.broken:
		f.err = fmt.Errorf("%w (nothing is read or written until a restart)", f.err)
	case f.doubt:
		f.err = fmt.Errorf("%w (nothing is read or written until it is certain what the file holds)", f.err)
	}
	return f, kept
}

// setFault stops writing and starts to try whether the engine can write again.
func (e *Engine) setFault(f *fault) {
	if e.fault.Swap(f) != nil { // a try that failed
		return
	}
	e.options.Logger.Error("the data file cannot be written", "err", f.err)
	e.healers.Go(e.heal)
}

// heal tries to write until that succeeds.
func (e *Engine) heal() {
	said := ""
	for wait := firstTry; !e.fault.Load().broken; wait = min(2*wait, lastTry) {
		select {
		case <-e.closing.Done():
			return
		case <-e.options.after(wait):
		}
		err := e.tryToHeal()
		if err == nil {
			e.options.Logger.Info("the data file can be written again")
			return
		}
		if err.Error() != said {
			said = err.Error()
			e.options.Logger.Warn("the data file cannot be written yet", "err", err)
		}
	}
}

// tryToHeal settles the file if its state is in doubt, and then tests writing by committing an unchanged entry.
func (e *Engine) tryToHeal() error {
	e.committing.Lock()
	defer e.committing.Unlock()
	f := e.fault.Load()
	if f.doubt {
		if err := e.settle(); err != nil {
			return err
		}
	}
	free, err := e.options.free(e.Folder())
	if err == nil && free < f.need {
		return fmt.Errorf("its disk has less than %s left", mebibytes(f.need))
	}
	g := e.beginGroup()
	if g.err == nil {
		g.err = g.rewrite()
	}
	e.commit(g)
	return g.err
}

// rewrite writes the first entry of the store once more, so that the commit has something to write.
func (g *group) rewrite() error {
	key, value := g.bucket.Cursor().First()
	if g.dirty = true; key == nil {
		return nil
	}
	ws := storage.NewWriteSet()
	ws.Put(key, value)
	return g.apply(ws)
}

// settle makes certain what the file holds. bbolt's state in memory may differ from the disk, so settle closes the
// file, writes the meta pages in doubt again, checks the file, and opens it again. It waits for readers that have
// begun, and lets no new ones begin. The caller holds committing.
func (e *Engine) settle() error {
	e.unpin(math.MaxInt64)
	e.swap.Lock()
	old := e.file
	e.file = nil
	e.swap.Unlock()
	if old != nil {
		if err := old.close(); err != nil {
			return err
		}
	}
	if err := errors.Join(settleFile(e.path), syncDir(e.path)); err != nil {
		return err
	}
	if err := checkFile(e.closing, e.path, e.options); err != nil {
		return err
	}
	file, err := openData(e.path)
	if err != nil {
		return err
	}
	e.swap.Lock()
	e.file = file
	e.swap.Unlock()
	// What it holds is certain. Whether it can be written is not yet.
	f := *e.fault.Load()
	f.doubt = false
	e.fault.Store(&f)
	return nil
}

func settleFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(boltfile.Settle(f), f.Close())
}

// newestOnFile is the number of the newest bbolt transaction in the file itself, regardless of bbolt's memory.
func (d *data) newestOnFile() (int64, error) {
	info, err := d.raw.Stat()
	if err != nil {
		return 0, err
	}
	s, err := boltfile.Newest(d.raw, info.Size())
	if err != nil {
		return 0, err
	}
	return int64(s.Tx()), nil
}
