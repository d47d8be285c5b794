package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"tutela/storage"
)

// Inspect reads the data file at path without changing it, and tells whether a store can be opened on it: both meta
// pages, and every page that can be reached from the newest one. It reads by plain reads, and so survives any file.
// It does not lock: the file must not be a running server's.
//
// Errors, each one line for the operator: [storage.ErrForeign], [ErrDamaged] (which includes a truncated and an
// empty file), and those of the file system.
//
// What it cannot see: bbolt keeps no checksum but that of its meta page, so a changed byte within a value passes,
// and so does a page that went back to an older state of itself.
func Inspect(path string) error {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	return inspect(context.Background(), path, f)
}

// inspect is Inspect on an open file.
func inspect(ctx context.Context, path string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s, err := newestState(f, info.Size())
	if err == nil {
		_, err = s.walk(ctx)
	}
	var flaw *flawError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errForeign):
		return storage.ErrForeign.With("%s is no data file of tutela: %s", path, err)
	case errors.As(err, &flaw):
		return ErrDamaged.With("%s is damaged: %s; restore it from a backup with `tutela restore-db`", path, flaw)
	default:
		return fmt.Errorf("inspect %s: %w", path, err)
	}
}

// errForeign is wrapped by what makes a file somebody else's.
var errForeign = errors.New("not written by tutela")

func foreign(format string, args ...any) error {
	return fmt.Errorf("%s (%w)", fmt.Sprintf(format, args...), errForeign)
}

// flawError is what is wrong with a file that is, or was, tutela's.
type flawError struct{ message string }

func (e *flawError) Error() string { return e.message }

func flaw(format string, args ...any) error { return &flawError{fmt.Sprintf(format, args...)} }

// state is one committed state of a bbolt file: what a meta page says, and the file that it speaks of.
type state struct {
	meta
	file io.ReaderAt
	size int64 // of file, in bytes
}

// newestState finds the state that bbolt would open.
func newestState(file io.ReaderAt, size int64) (*state, error) {
	if size == 0 {
		return nil, flaw("it is empty (0 bytes)")
	}
	found, err := readMetas(file, size)
	if err != nil {
		return nil, err
	}
	s := &state{meta: found, file: file, size: size}
	if s.high < 3 || s.high > uint64(1)<<48/uint64(s.pageSize) {
		return nil, flaw("its meta page speaks of %d pages", s.high)
	}
	if need := s.least(); size < need {
		return nil, flaw("it is truncated: %d bytes of at least %d", size, need)
	}
	return s, nil
}

// least is how many bytes the file must have at least: its pages, or one growth when it is longer than them.
//
// A file ends with its last page when it was just made, copied or compacted, until bbolt makes room for more: then
// it is growthBytes longer than its pages at that time, so of that size or more for ever. One that is neither was
// cut, also when nothing but free room is gone: whoever sees a cut file start would trust it. (With a map smaller
// than growthBytes, see openMapped, the file is as long as the map: a power of two.)
func (s *state) least() int64 {
	pages := int64(s.high) * int64(s.pageSize)
	if s.size <= pages || s.size&(s.size-1) == 0 {
		return pages
	}
	return max(pages, growthBytes)
}

// walk reads every page that can be reached, and returns which they are.
func (s *state) walk(ctx context.Context) (pageSet, error) {
	w := &walker{state: s, ctx: ctx, reached: newPageSet(s.high)}
	if err := w.freelistPage(); err != nil {
		return nil, err
	}
	bucket, err := w.rootBucket()
	if err != nil {
		return nil, err
	}
	if err := w.bucket(bucket); err != nil {
		return nil, err
	}
	return w.reached, w.freePages()
}

// walker goes through the tree of one state. Its errors are those of reading, flaws, and errForeign.
type walker struct {
	*state
	ctx     context.Context
	reached pageSet
	spare   [][]byte // buffers of pages that are done with
	free    []uint64 // what the freelist page lists, if there is one
}

// rootBucket reads the root bucket, and returns where the entry of tutela's bucket lies: the only one.
func (w *walker) rootBucket() (entry []byte, err error) {
	t := &tree{walker: w, leafDepth: -1, entry: func(p *page, e element) error {
		key, err := p.bytes(e.key, e.keySize)
		if err != nil {
			return err
		}
		if e.flags != bucketEntry || string(key) != string(bucketName) {
			return foreign("it is a bbolt file with %q in it", printable(key))
		}
		if e.valueSize < bucketHeaderSize || e.valueSize > w.pageSize {
			return flaw("page %d: the bucket's entry is %d bytes", p.id, e.valueSize)
		}
		value, err := p.bytes(e.key+e.keySize, e.valueSize)
		entry = bytes.Clone(value)
		return err
	}}
	if err := t.visit(w.root, nil, nil, 0); err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, foreign("it is a bbolt file with nothing in it")
	}
	return entry, nil
}

// bucket goes through tutela's bucket: a small one lies in its entry, any other in a tree of its own.
func (w *walker) bucket(entry []byte) error {
	t := &tree{walker: w, leafDepth: -1, entry: func(p *page, e element) error {
		if e.flags != 0 {
			return flaw("page %d: an entry has flags %#x", p.id, e.flags)
		}
		return nil
	}}
	root := order.Uint64(entry)
	if root != 0 {
		return t.visit(root, nil, nil, 0)
	}
	p, err := inlinePage(entry[bucketHeaderSize:])
	if err != nil {
		return err
	}
	return t.leaf(p, nil, nil)
}

// freelistPage reads the list of free pages, which a file has that bbolt itself or one of its tools wrote last.
func (w *walker) freelistPage() error {
	if w.freelist == noFreelist {
		return nil
	}
	p, err := w.page(w.freelist)
	if err != nil {
		return err
	}
	if p.flags != freelistFlag {
		return flaw("page %d: type %#x where the list of free pages should be", p.id, p.flags)
	}
	at, count := pageHeaderSize, int64(p.count)
	if count == 0xffff {
		head, err := p.bytes(at, 8)
		if err != nil {
			return err
		}
		at, count = at+8, int64(min(order.Uint64(head), w.high))
	}
	list, err := p.bytes(at, int(count)*8)
	if err != nil {
		return err
	}
	for ; len(list) > 0; list = list[8:] {
		w.free = append(w.free, order.Uint64(list))
	}
	return nil
}

// freePages sees that a page that is listed as free is there, is listed once, and is not in use.
func (w *walker) freePages() error {
	if len(w.free) == 0 {
		return nil
	}
	listed := newPageSet(w.high)
	for _, id := range w.free {
		if id < 2 || id >= w.high || w.reached.has(id) || !listed.add(id) {
			return flaw("page %d: listed as free, wrongly", id)
		}
	}
	return nil
}

// printable shortens what a foreign file holds for a message.
func printable(key []byte) []byte { return key[:min(len(key), 32)] }
