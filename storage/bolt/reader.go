package bolt

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"go.etcd.io/bbolt"

	"tutela/storage"
)

// errEnded is for a reader that outlived its transaction.
var errEnded = errors.New("read after the end of the transaction")

// scansPerCheck is how many keys a scan reads between two checks of its context.
const scansPerCheck = 1024

// reader is the store as one bbolt transaction sees it.
type reader struct {
	bucket   *bbolt.Bucket   // nil after the end
	ctx      context.Context // of a View; nil on the writer, which goes on to the end
	writable bool
}

func (r *reader) end() { r.bucket = nil }

// Get returns the value of key, which lies in bbolt's map of the file or in a write set of the same group.
func (r *reader) Get(key []byte) ([]byte, error) {
	if r.bucket == nil {
		return nil, errEnded
	}
	return slices.Clip(r.bucket.Get(key)), nil
}

// GetMany returns the values of keys. They are in memory or one page fault away, so there is no round trip to save.
func (r *reader) GetMany(keys [][]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		var err error
		if values[i], err = r.Get(key); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// Scan calls fn for the keys of the range.
func (r *reader) Scan(in storage.Range, fn func(key, value []byte) bool) error {
	if r.bucket == nil {
		return errEnded
	}
	next := forward(r.bucket, in)
	if in.Reverse {
		next = backward(r.bucket, in)
	}
	for n := 1; ; n++ {
		key, value := next()
		if key == nil || !fn(slices.Clip(key), slices.Clip(value)) {
			return nil
		}
		if r.ctx != nil && n%scansPerCheck == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
	}
}

// forward returns a function that steps through the range in ascending order; a nil key is the end.
func forward(bucket *bbolt.Bucket, in storage.Range) (next func() (key, value []byte)) {
	c := bucket.Cursor()
	step := func() (key, value []byte) { return c.Seek(in.From) }
	return func() (key, value []byte) {
		key, value = step()
		step = c.Next
		if in.To != nil && bytes.Compare(key, in.To) >= 0 {
			return nil, nil
		}
		return key, value
	}
}

// backward returns a function that steps through the range in descending order; a nil key is the end.
//
// In the writer's transaction bbolt leaves a page that lost all its keys in the tree until the commit. Cursor.Prev
// returns nil on such a page, as it does at the very beginning, and Cursor.Last never returns when all pages are
// empty. So the first key of the store is looked up beforehand: it tells the beginning from an empty page.
func backward(bucket *bbolt.Bucket, in storage.Range) (next func() (key, value []byte)) {
	c := bucket.Cursor()
	first, _ := c.First()
	prev := func() (key, value []byte) {
		for key == nil {
			key, value = c.Prev()
		}
		return key, value
	}
	last := func() (key, value []byte) {
		if in.To != nil {
			if above, _ := c.Seek(in.To); above != nil {
				return prev()
			}
		}
		return c.Last()
	}
	step := last
	ended := first == nil || in.To != nil && bytes.Compare(first, in.To) >= 0
	return func() (key, value []byte) {
		if ended {
			return nil, nil
		}
		key, value = step()
		step = prev
		ended = bytes.Equal(key, first)
		if bytes.Compare(key, in.From) < 0 {
			return nil, nil
		}
		return key, value
	}
}
