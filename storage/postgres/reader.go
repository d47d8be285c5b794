package postgres

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"tutela/storage"
)

// reader is a transaction on the database. The transaction begins with the first read, in the same round trip. Only the
// goroutine that runs the closure may use it.
type reader struct {
	ctx   context.Context
	conn  *pgx.Conn
	start string // the statement that begins it
	begun bool
	made  time.Time
	err   error // the first error of the database: nothing that was read counts any more
}

// ask sends a statement and calls take for each row of the answer. The first statement also begins the transaction.
func (r *reader) ask(name string, args []any, take func(pgx.Rows) error) error {
	if r.err != nil {
		return r.err
	}
	r.err = r.send(name, args, take)
	return r.err
}

func (r *reader) send(name string, args []any, take func(pgx.Rows) error) error {
	if r.begun {
		rows, err := r.conn.Query(r.ctx, name, args...)
		if err != nil {
			return err
		}
		return each(rows, take)
	}
	if r.stale() {
		return errStale
	}
	// BEGIN travels with the first statement.
	r.begun = true
	batch := new(pgx.Batch)
	batch.Queue(r.start)
	batch.Queue(name, args...)
	answers := r.conn.SendBatch(r.ctx, batch)
	defer func() { _ = answers.Close() }()
	if _, err := answers.Exec(); err != nil {
		return err
	}
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	if err := each(rows, take); err != nil {
		return err
	}
	return answers.Close()
}

// stale reports whether too much time has passed for the transaction to begin (see unbegun).
func (r *reader) stale() bool { return !r.made.IsZero() && time.Since(r.made) > unbegun }

func each(rows pgx.Rows, take func(pgx.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Get returns the value of key, or nil when there is none.
func (r *reader) Get(key []byte) (value []byte, err error) {
	err = r.ask(getOne, []any{key}, func(rows pgx.Rows) error {
		value = copied(rows.RawValues()[0])
		return nil
	})
	return value, err
}

// GetMany returns the values of several keys, in one round trip.
func (r *reader) GetMany(keys [][]byte) (values [][]byte, err error) {
	found := make(map[string][]byte, len(keys))
	err = r.ask(getMany, []any{keys}, func(rows pgx.Rows) error {
		raw := rows.RawValues()
		found[string(raw[0])] = copied(raw[1])
		return nil
	})
	if err != nil {
		return nil, err
	}
	values = make([][]byte, len(keys))
	for i, key := range keys {
		values[i] = found[string(key)]
	}
	return values, nil
}

// copied copies a value out of the connection's buffer. An empty value is not nil.
func copied(raw []byte) []byte { return append(make([]byte, 0, len(raw)), raw...) }

// row is a key and its value.
type row struct{ key, value []byte }

// The rows that a scan fetches at a time: few at first, since most scans are short or stop early.
const (
	firstRows = 32
	mostRows  = 512
	mostBytes = 1 << 20 // a part of this size or more is not followed by a larger one
)

// Scan calls fn for the keys of in, in order.
func (r *reader) Scan(in storage.Range, fn func(key, value []byte) bool) error {
	return scan(in, r.ask, fn)
}

// scan fetches a range part by part.
func scan(in storage.Range, ask func(name string, args []any, take func(pgx.Rows) error) error, fn func(key, value []byte) bool) error {
	for n := firstRows; ; {
		part, err := fetch(in, n, ask)
		if err != nil {
			return err
		}
		size := 0
		for _, one := range part {
			size += len(one.key) + len(one.value)
			if !fn(one.key, one.value) {
				return nil
			}
		}
		if len(part) < n {
			return nil
		}
		// Go on after the last key, with a larger part unless this one was large already.
		last := part[len(part)-1].key
		if in.Reverse {
			in.To = slices.Clone(last)
		} else {
			in.From = append(slices.Clone(last), 0)
		}
		if size < mostBytes {
			n = min(2*n, mostRows)
		}
	}
}

// fetch returns the first n rows of a range.
func fetch(in storage.Range, n int, ask func(name string, args []any, take func(pgx.Rows) error) error) (part []row, err error) {
	if in.To != nil && bytes.Compare(in.From, in.To) >= 0 {
		return nil, nil
	}
	// Choose the statement by the direction and whether the range has an end.
	from := in.From
	if from == nil {
		from = []byte{}
	}
	name := scanUp
	args := []any{from, in.To, n}
	switch {
	case in.To == nil && in.Reverse:
		name = scanDownFromEnd
		args = []any{from, n}
	case in.To == nil:
		name = scanUpToEnd
		args = []any{from, n}
	case in.Reverse:
		name = scanDown
	}
	err = ask(name, args, func(rows pgx.Rows) error {
		raw := rows.RawValues()
		part = append(part, row{copied(raw[0]), copied(raw[1])})
		return nil
	})
	return part, err
}
