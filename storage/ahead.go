package storage

// Ref names a row, for [Tx.ReadAhead].
type Ref func() ([]byte, error)

// Ref names the row of uid under key.
func (t *Table[T]) Ref(uid UID, key string) Ref {
	return func() ([]byte, error) { return t.key(uid, key) }
}

// ReadAhead fetches rows of several tables in one journey to the engine. The reads of these rows that follow in the
// transaction cost none: so rows that are always read together cost an engine on another machine what one costs.
//
// Errors: ErrKeyTooLong; those of the engine.
func (tx *Tx) ReadAhead(rows ...Ref) error {
	keys := make([][]byte, 0, len(rows))
	for _, row := range rows {
		key, err := row()
		if err != nil {
			return err
		}
		if _, known := tx.ahead[string(key)]; !known {
			keys = append(keys, key)
		}
	}
	values, err := tx.getMany(keys)
	if err != nil {
		return err
	}
	if tx.ahead == nil {
		tx.ahead = make(map[string][]byte, len(keys))
	}
	for i, key := range keys {
		tx.ahead[string(key)] = values[i]
	}
	return nil
}
