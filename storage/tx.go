package storage

import (
	"errors"
	"time"
)

// Tx is an open transaction. The closure of [Store.Update] or [Store.View] works on it; it is invalid after the
// closure. It buffers writes, and its reads see them. Not safe for concurrent use.
type Tx struct {
	store *Store
	r     Reader
	ws    *WriteSet // nil in a View
	now   time.Time
	wakes map[UID]struct{}
	done  bool // the closure has returned: the Tx must not be used any more

	ahead []fetched // rows read by ReadAhead; later writes are in ws, which is read first

	expiring int        // rows written with an expiry, which the sweeper will have to remove
	damaged  []SetAside // records set aside by this transaction
	counts   counts
}

// end marks the transaction as over: every later call returns errTxDone.
func (tx *Tx) end() { tx.done = true }

var (
	errReadOnly = errors.New("a View cannot write")
	errTxDone   = errors.New("the transaction is over: its Tx was used outside of the closure")
)

// Now is the house's time ([Store.Now]), the same throughout the transaction.
func (tx *Tx) Now() time.Time { return tx.now }

// Wall is the time of the machine's clock, for claims that other machines compare with their clocks.
func (tx *Tx) Wall() time.Time { return tx.store.Wall() }

// Stamp returns the transaction's time in Unix nanoseconds, increased where needed: no two stamps of this open store
// are equal, and those of one transaction are in the order of the calls.
func (tx *Tx) Stamp() int64 {
	for {
		last := tx.store.stamped.Load()
		next := max(tx.now.UnixNano(), last+1)
		if tx.store.stamped.CompareAndSwap(last, next) {
			return next
		}
	}
}

// Wake wakes everybody who watches uid, once the transaction has been committed.
func (tx *Tx) Wake(uid UID) {
	if tx.wakes == nil {
		tx.wakes = make(map[UID]struct{}, 1)
	}
	tx.wakes[uid] = struct{}{}
}

// get reads through the write set.
func (tx *Tx) get(key []byte) ([]byte, error) {
	if tx.done {
		return nil, errTxDone
	}
	if tx.ws != nil {
		if value, known := tx.ws.Get(key); known {
			return value, nil
		}
	}
	if value, known := tx.fetched(key); known {
		return value, nil
	}
	return tx.r.Get(key)
}

// getMany is get for several keys. It asks the engine once, for the keys that are not in the write set.
func (tx *Tx) getMany(keys [][]byte) ([][]byte, error) {
	if tx.done {
		return nil, errTxDone
	}
	if tx.ws == nil || tx.ws.Len() == 0 {
		return tx.r.GetMany(keys)
	}
	values := make([][]byte, len(keys))
	var asked [][]byte
	var places []int // places[j] is the index in keys of the j-th key that the engine is asked for
	for i, key := range keys {
		value, known := tx.ws.Get(key)
		if known {
			values[i] = value
			continue
		}
		asked = append(asked, key)
		places = append(places, i)
	}
	if len(asked) == 0 {
		return values, nil
	}
	stored, err := tx.r.GetMany(asked)
	if err != nil {
		return nil, err
	}
	for i, value := range stored {
		values[places[i]] = value
	}
	return values, nil
}

func (tx *Tx) put(key, value []byte) error {
	if err := tx.writable(); err != nil {
		return err
	}
	tx.ws.Put(key, value)
	return nil
}

func (tx *Tx) delete(key []byte) error {
	if err := tx.writable(); err != nil {
		return err
	}
	tx.ws.Delete(key)
	return nil
}

func (tx *Tx) writable() error {
	switch {
	case tx.done:
		return errTxDone
	case tx.ws == nil:
		return errReadOnly
	}
	return nil
}

// scan merges what is stored with the write set, in the order of r. fn may write: what it writes is not seen by
// this scan.
func (tx *Tx) scan(r Range, fn func(key, value []byte) bool) error {
	if tx.done {
		return errTxDone
	}
	if tx.ws == nil || tx.ws.Len() == 0 {
		return tx.r.Scan(r, fn)
	}
	m := merge{pending: tx.ws.in(r), reverse: r.Reverse, fn: fn}
	if err := tx.r.Scan(r, m.stored); err != nil {
		return err
	}
	m.upTo(nil)
	return nil
}

// merge merges the write set's keys into a scan of the stored keys.
type merge struct {
	pending []operation // operations of the write set that the scan has not reached yet, in order
	reverse bool
	stopped bool
	fn      func(key, value []byte) bool
}

// stored takes the next stored key. It returns false when the scan is over.
func (m *merge) stored(key, value []byte) bool {
	m.upTo(key)
	if m.stopped {
		return false
	}
	if len(m.pending) > 0 && m.pending[0].key == string(key) {
		m.next()
		return !m.stopped
	}
	m.stopped = !m.fn(key, value)
	return !m.stopped
}

// upTo passes on the write set's keys that come before key, or all that are left when key is nil.
func (m *merge) upTo(key []byte) {
	for !m.stopped && len(m.pending) > 0 && (key == nil || m.before(m.pending[0].key, key)) {
		m.next()
	}
}

func (m *merge) next() {
	op := m.pending[0]
	m.pending = m.pending[1:]
	if op.value != nil {
		m.stopped = !m.fn([]byte(op.key), op.value)
	}
}

func (m *merge) before(a string, b []byte) bool {
	if m.reverse {
		return a > string(b)
	}
	return a < string(b)
}
