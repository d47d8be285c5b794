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

// fetched is what ReadAhead has fetched of a row: nil when there is none.
type fetched struct {
	key   []byte
	value []byte
}

// ReadAhead fetches rows of several tables in one journey to the engine. The reads of these rows that follow in the
// transaction cost none: so rows that are always read together cost an engine on another machine what one costs. They are a few.
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
