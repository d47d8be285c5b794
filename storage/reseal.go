package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

const resealBatch = 256 // rows resealed side by side

// Reseal rewrites every row with sealed fields, one transaction a row, so that the newest key seals it. It returns how
// many rows it has written. After an error it may be run again. A row that cannot be read keeps its old seal and does
// not stop the others; the error says how many there are.
func (s *Store) Reseal(ctx context.Context) (rows int, err error) {
	// A closure that sealed under the old key may not be committed yet. This empty transaction comes after it, so
	// both are committed when it returns.
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

// resealing is the state of a running Reseal.
type resealing struct {
	store *Store
	batch []sealedRow
	rows  int   // rows written
	left  int   // rows that cannot be read
	first error // the error of the first of them
}

// flush reseals the batch. It returns errors of the store; errors of single rows it counts.
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

// unread returns an error about the rows that cannot be read; nil when there are none.
func (r *resealing) unread() error {
	if r.left == 0 {
		return nil
	}
	return fmt.Errorf("%d rows cannot be read and keep their seal; the first: %w", r.left, r.first)
}

// sealedRow locates a row with sealed fields.
type sealedRow struct {
	table declared
	uid   UID
	key   string
}

// sealedAt splits a row's key and reports whether its table has sealed fields.
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
