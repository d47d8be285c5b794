package boltfile

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// leastSubtrees is the least number of parts into which a tree is cut, for the processors to share.
const leastSubtrees = 64

// Walk reads every reachable page, on all processors, and returns the set of these pages. It checks the list of free
// pages, if the file has one, against them.
//
// Errors: a [*Flaw]; one that wraps [ErrForeign]; ctx's; those of reading.
func (s *State) Walk(ctx context.Context) (Pages, error) {
	w := &walker{State: s, ctx: ctx, reached: newPages(s.high)}
	free, err := w.freelistPage()
	if err != nil {
		return nil, err
	}
	bucket, err := w.rootBucket()
	if err != nil {
		return nil, err
	}
	if err := w.bucket(bucket); err != nil {
		return nil, err
	}
	return w.reached, w.freePages(free)
}

// walker is the state that the goroutines of one walk share. Its errors are those of reading, flaws, and [ErrForeign].
type walker struct {
	*State
	ctx     context.Context
	reached Pages // the pages read so far; nil when they are not recorded
}

// rootBucket reads the root bucket and returns its only entry, which is tutela's bucket.
func (w *walker) rootBucket() (entry []byte, err error) {
	t := w.tree(new(atomic.Int64), func(p *page, e element) error {
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
	})
	if err := t.visit(subtree{id: w.root}); err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, foreign("it is a bbolt file with nothing in it")
	}
	return entry, nil
}

// bucket walks tutela's bucket. A small bucket lies inside its entry, any other has a tree of its own.
func (w *walker) bucket(entry []byte) error {
	root := order.Uint64(entry)
	if root != 0 {
		return w.share(subtree{id: root})
	}
	p, err := inlinePage(entry[bucketHeaderSize:])
	if err != nil {
		return err
	}
	return w.tree(new(atomic.Int64), plainEntry).leaf(p, subtree{})
}

// plainEntry checks that an entry of tutela's bucket is not a bucket itself.
func plainEntry(p *page, e element) error {
	if e.flags != 0 {
		return flaw("page %d: an entry has flags %#x", p.id, e.flags)
	}
	return nil
}

// share walks the pages below root on all processors. Of several flaws it returns the first in the order of keys.
func (w *walker) share(root subtree) error {
	leafDepth := new(atomic.Int64)
	// Open the top of the tree here, level by level, until there are enough parts.
	top := w.tree(leafDepth, plainEntry)
	level := []subtree{root}
	for len(level) > 0 && len(level) < leastSubtrees {
		var below []subtree
		for _, s := range level {
			err := top.open(s, func(child subtree) error {
				below = append(below, child)
				return nil
			})
			if err != nil {
				return err
			}
		}
		level = below
	}
	// Workers take the parts in order: when one finds a flaw, all parts before it are done or being walked.
	var next atomic.Int64
	var mu sync.Mutex
	first := len(level)
	failed := error(nil)
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(level)) {
		group.Go(func() {
			t := w.tree(leafDepth, plainEntry)
			for i := int(next.Add(1)) - 1; i < len(level); i = int(next.Add(1)) - 1 {
				if err := t.visit(level[i]); err != nil {
					next.Store(int64(len(level)))
					mu.Lock()
					if i < first {
						first = i
						failed = err
					}
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	return failed
}

// printable shortens a foreign file's content for a message.
func printable(key []byte) []byte { return key[:min(len(key), 32)] }
