package bolt

import (
	"context"
	"slices"

	"tutela/storage"
)

// A chunk of Peek: what is read in one transaction and copied. The first one is small, since most callers end soon; each
// further one has twice the keys of the one before.
const (
	firstPeek = 32
	peekKeys  = 512
	peekBytes = 256 << 10
)

type pair struct{ key, value []byte }

// Peek reads one chunk after another, each in its own transaction, and calls fn outside of them. Unlike View it does
// not wait for the sync of a commit that it sees: a caller that acts on it does so in a transaction, which waits.
//
// Errors: ctx's; Unavailable.
func (e *Engine) Peek(ctx context.Context, r storage.Range, fn func(key, value []byte) bool) error {
	for keys := firstPeek; ; keys = min(2*keys, peekKeys) {
		chunk, more, err := e.peekChunk(ctx, r, keys)
		if err != nil {
			return err
		}
		for _, p := range chunk {
			if !fn(p.key, p.value) {
				return nil
			}
		}
		if !more {
			return nil
		}
		// Where the next chunk begins: behind the last key, in the direction of the scan.
		last := chunk[len(chunk)-1].key
		if r.Reverse {
			r.To = slices.Clone(last)
		} else {
			r.From = append(slices.Clone(last), 0)
		}
	}
}

// peekChunk reads the first keys of r, and reports whether there may be more.
func (e *Engine) peekChunk(ctx context.Context, r storage.Range, keys int) (chunk []pair, more bool, err error) {
	tx, _, err := e.beginNow(ctx)
	if err != nil {
		return nil, false, err
	}
	defer tx.Rollback() //nolint:errcheck // ends a read transaction, which cannot fail
	view := &reader{bucket: tx.Bucket(bucketName)}
	bytes := 0
	err = view.Scan(r, func(key, value []byte) bool {
		bytes += len(key) + len(value)
		chunk = append(chunk, pair{slices.Clone(key), slices.Clone(value)})
		more = len(chunk) == keys || bytes >= peekBytes
		return !more
	})
	return chunk, more, err
}
