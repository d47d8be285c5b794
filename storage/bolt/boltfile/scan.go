package boltfile

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
)

// errStop ends a Scan whose function has seen enough.
var errStop = errors.New("seen enough")

// Scan calls fn for the entries of tutela's bucket from key from on, in order, until fn returns false. It checks the
// pages that it reads as [State.Walk] does, but does not notice pages that are used twice. Key and value are valid
// until fn returns.
//
// Errors: a [*Flaw]; one that wraps [ErrForeign]; ctx's; those of reading.
func (s *State) Scan(ctx context.Context, from []byte, fn func(key, value []byte) bool) error {
	w := &walker{State: s, ctx: ctx}
	bucket, err := w.rootBucket()
	if err != nil {
		return err
	}
	t := w.tree(new(atomic.Int64), func(p *page, e element) error { return show(p, e, from, fn) })
	err = w.scan(t, bucket, from)
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// scan goes through tutela's bucket from the page that holds from, or would.
func (w *walker) scan(t *tree, bucket, from []byte) error {
	root := order.Uint64(bucket)
	if root == 0 {
		p, err := inlinePage(bucket[bucketHeaderSize:])
		if err != nil {
			return err
		}
		return t.leaf(p, subtree{})
	}
	var below func(subtree) error
	below = func(s subtree) error {
		if s.to != nil && bytes.Compare(s.to, from) <= 0 {
			return nil
		}
		return t.open(s, below)
	}
	return below(subtree{id: root})
}

// show calls fn for an entry, unless it lies before from. It returns errStop when fn wants no more.
func show(p *page, e element, from []byte, fn func(key, value []byte) bool) error {
	if err := plainEntry(p, e); err != nil {
		return err
	}
	key, err := p.bytes(e.key, e.keySize)
	if err != nil || bytes.Compare(key, from) < 0 {
		return err
	}
	value, err := p.bytes(e.key+e.keySize, e.valueSize)
	if err != nil {
		return err
	}
	if !fn(key, value) {
		return errStop
	}
	return nil
}
