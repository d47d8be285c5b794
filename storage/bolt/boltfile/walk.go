package boltfile

import (
	"bytes"
	"context"
)

// Walk reads every page that can be reached, and returns which they are.
//
// Errors: a [*Flaw]; one that wraps [ErrForeign]; ctx's; those of reading.
func (s *State) Walk(ctx context.Context) (Pages, error) {
	w := &walker{State: s, ctx: ctx, reached: newPages(s.high)}
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

// walker goes through the tree of one state. Its errors are those of reading, flaws, and [ErrForeign].
type walker struct {
	*State
	ctx     context.Context
	reached Pages
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
		if e.flags != bucketEntry || string(key) != Bucket {
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
	listed := newPages(w.high)
	for _, id := range w.free {
		if id < 2 || id >= w.high || w.reached.Has(id) || !listed.add(id) {
			return flaw("page %d: listed as free, wrongly", id)
		}
	}
	return nil
}

// printable shortens what a foreign file holds for a message.
func printable(key []byte) []byte { return key[:min(len(key), 32)] }
