package storage

// Ref names a row, for [Tx.ReadAhead].
type Ref struct {
	key []byte
	err error
}

// Ref names the row of uid under key.
func (t *Table[T]) Ref(uid UID, key string) Ref {
	whole, err := t.key(uid, key)
	return Ref{whole, err}
}

// fetched is a row that ReadAhead has read: its value is nil when the row does not exist.
type fetched struct {
	key   []byte
	value []byte
}

// ReadAhead reads rows of several tables in one round trip to the engine. Later reads of these rows in the same
// transaction need no round trip. Use it for a few rows that are always read together: an engine on another machine
// then answers them as fast as one.
//
// Errors: ErrKeyTooLong; those of the engine.
func (tx *Tx) ReadAhead(rows ...Ref) error {
	keys := make([][]byte, 0, len(rows))
	for _, row := range rows {
		if row.err != nil {
			return row.err
		}
		if _, known := tx.fetched(row.key); !known {
			keys = append(keys, row.key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	values, err := tx.getMany(keys)
	if err != nil {
		return err
	}
	if tx.ahead == nil {
		tx.ahead = make([]fetched, 0, len(keys))
	}
	for i, key := range keys {
		tx.ahead = append(tx.ahead, fetched{key, values[i]})
	}
	return nil
}

// fetched returns what ReadAhead has fetched of a row.
func (tx *Tx) fetched(key []byte) (value []byte, known bool) {
	for _, f := range tx.ahead {
		if string(f.key) == string(key) {
			return f.value, true
		}
	}
	return nil, false
}
