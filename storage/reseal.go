package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

const resealBatch = 256 // rows resealed side by side

// Reseal writes every row with sealed fields again, one transaction a row, so that the newest key seals it, and returns
// how many it has written. It is done when it has returned nil; after an error it may be run again. A row that cannot be
// read keeps its seal and holds no other up: the error says how many there are.
func (s *Store) Reseal(ctx context.Context) (rows int, err error) {
	// A closure that sealed under the key before may still be on its way to its commit; one that comes after them has
	// been committed when they have.
	if err := s.Update(ctx, func(*Tx) error { return nil }); err != nil {
		return 0, err
	}
	r := resealing{store: s}
	var failed error
	err = s.engine.Peek(ctx, Prefix([]byte{spaceRow}), func(k, _ []byte) bool {
		row, sealed, err := sealedAt(k)
		if sealed {
			r.batch = append(r.batch, row)
		}
		if err == nil && len(r.batch) == resealBatch {
			err = r.flush(ctx)
		}
		failed = err
		return err == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return r.rows, err
	}
	if err := r.flush(ctx); err != nil {
		return r.rows, err
	}
	return r.rows, r.unread()
}

// resealing is a Reseal on its way.
type resealing struct {
	store *Store
	batch []sealedRow
	rows  int   // that were written
	left  int   // that cannot be read
	first error // of those
}

// flush reseals the batch. Its error is the store's; that of a row is counted.
func (r *resealing) flush(ctx context.Context) error {
	errs := r.store.updateEach(ctx, len(r.batch), func(tx *Tx, i int) error {
		return r.batch[i].table.reseal(tx, r.batch[i].uid, r.batch[i].key)
	})
	r.batch = r.batch[:0]
	for _, err := range errs {
		switch code := CodeOf(err); {
		case err == nil:
			r.rows++
		case ctx.Err() != nil, code == Unavailable, code == OutcomeUnknown:
			return err
		default:
			r.left++
			r.first = cmp.Or(r.first, err)
		}
	}
	return nil
}

// unread tells of the rows that cannot be read; nil when there are none.
func (r *resealing) unread() error {
	if r.left == 0 {
		return nil
	}
	return fmt.Errorf("%d rows cannot be read and keep their seal; the first: %w", r.left, r.first)
}

// sealedRow is where a row with sealed fields lies.
type sealedRow struct {
	table declared
	uid   UID
	key   string
}

// sealedAt takes a row's key apart, and reports whether its table has sealed fields.
func sealedAt(k []byte) (r sealedRow, sealed bool, err error) {
	uid, name, key, err := splitRowKey(k)
	if err != nil {
		return r, false, err
	}
	t, err := tables.named(name)
	if err != nil {
		return r, false, err
	}
	return sealedRow{t, uid, key}, t.sealed(), nil
}
