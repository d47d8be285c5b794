package storage

import (
	"context"
	"io"
	"maps"
	"slices"
)

// Engine is an ordered byte store with serializable transactions. Tables need nothing else of a database. Every engine
// passes the suite in storagetest. Keys have 1 to [MaxKeyBytes] bytes and values up to a few MiB; both may hold any
// byte. Safe for concurrent use.
type Engine interface {
	// Update runs fn alone, as if no other transaction ran, and makes the write set that it returns durable before
	// it returns nil. fn may run more than once; its last run counts. When fn fails, its error is returned
	// unchanged and nothing is written. When fn panics, nothing is written and the panic is raised again in the
	// caller. Other transactions of the same commit are not affected. ctx can cancel Update until fn has started.
	Update(ctx context.Context, fn func(Reader) (*WriteSet, error)) error

	// View runs fn on one state of the store, which holds every commit acknowledged before View was called.
	View(ctx context.Context, fn func(Reader) error) error

	// Peek scans without isolation, in chunks, and so neither conflicts with writers nor holds a snapshot for long.
	// What it shows may be gone or changed already: act on it by point transactions. Each key is seen at most once;
	// a key that is there throughout is seen. fn returns false to stop, and may itself call the engine; key and
	// value are fn's to keep.
	Peek(ctx context.Context, r Range, fn func(key, value []byte) bool) error

	// Shards is the number of shards (1 to 256, constant) over which appended keys are spread, so that transactions
	// that append do not conflict with each other.
	Shards() int

	// Close waits for the transactions that have started, and closes. Later calls return Unavailable.
	Close() error
}

// Reader reads one state of an engine, inside a transaction. Only the goroutine that runs the closure may use it.
type Reader interface {
	// Get returns the value of key, or nil when there is none. The value is valid until the closure returns and
	// must not be changed. An empty value is not nil.
	Get(key []byte) ([]byte, error)

	// GetMany is Get for several keys in one round trip: values[i] belongs to keys[i].
	GetMany(keys [][]byte) (values [][]byte, err error)

	// Scan calls fn for the keys of r in order until fn returns false. Key and value are valid until fn returns. fn
	// may call Get.
	Scan(r Range, fn func(key, value []byte) bool) error
}

// Range is the keys from From (inclusive) to To (exclusive; nil: to the end), ascending, or descending with
// Reverse.
type Range struct {
	From, To []byte
	Reverse  bool
}

// Prefix is the range of the keys that begin with p.
func Prefix(p []byte) Range {
	end := append([]byte(nil), p...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return Range{From: p, To: end[:i+1]}
		}
	}
	return Range{From: p}
}

// Contains reports whether key lies in the range.
func (r Range) Contains(key []byte) bool {
	return string(key) >= string(r.From) && (r.To == nil || string(key) < string(r.To))
}

// WriteSet holds the writes of one transaction: for each key the last operation. With it a transaction can be rolled
// back alone although it shares a commit with others, and can be replayed after a snapshot. Not safe for concurrent
// use.
type WriteSet struct {
	ops    map[string][]byte // nil: delete
	sorted []string          // the keys in order, without those in later
	later  []string          // keys that were set since, not in order
}

// NewWriteSet makes an empty write set.
func NewWriteSet() *WriteSet {
	return &WriteSet{ops: make(map[string][]byte, 8), sorted: make([]string, 0, 8)}
}

// Put sets key to value. The write set keeps both: the caller must not change them afterwards.
func (ws *WriteSet) Put(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	ws.set(string(key), value)
}

// Delete removes key; a key that is not there is no error.
func (ws *WriteSet) Delete(key []byte) { ws.set(string(key), nil) }

// set appends keys that arrive in order without sorting again: a purge writes thousands, and sorting them took a fifth
// of its time.
func (ws *WriteSet) set(key string, value []byte) {
	n := len(ws.ops)
	ws.ops[key] = value
	switch last := len(ws.sorted) - 1; {
	case len(ws.ops) == n:
	case last < 0 || ws.sorted[last] < key:
		ws.sorted = append(ws.sorted, key)
	default:
		ws.later = append(ws.later, key)
	}
}

// grow makes room for n keys more.
func (ws *WriteSet) grow(n int) {
	ops := make(map[string][]byte, len(ws.ops)+n)
	maps.Copy(ops, ws.ops)
	ws.ops = ops
	ws.sorted = slices.Grow(ws.sorted, n)
}

// Get returns the write set's operation on key: its new value, or nil with known set when key is deleted.
func (ws *WriteSet) Get(key []byte) (value []byte, known bool) {
	value, known = ws.ops[string(key)]
	return value, known
}

// Len is the number of keys that are put or deleted.
func (ws *WriteSet) Len() int { return len(ws.ops) }

// Each calls fn for every operation in the order of keys, so that an engine writes each page once; value is nil for a
// deletion.
func (ws *WriteSet) Each(fn func(key string, value []byte) error) error {
	for _, key := range ws.keys() {
		if err := fn(key, ws.ops[key]); err != nil {
			return err
		}
	}
	return nil
}

// keys returns the keys in order, and keeps the sorted list: an engine calls Each more than once.
func (ws *WriteSet) keys() []string {
	if len(ws.later) == 0 {
		return ws.sorted
	}
	slices.Sort(ws.later)
	merged := make([]string, 0, len(ws.ops))
	first := ws.sorted
	for _, key := range ws.later {
		before, _ := slices.BinarySearch(first, key)
		merged = append(merged, first[:before]...)
		merged = append(merged, key)
		first = first[before:]
	}
	merged = append(merged, first...)
	ws.sorted = merged
	ws.later = nil
	return ws.sorted
}

// in returns the operations on the keys in r, in the order of r, as they are now.
func (ws *WriteSet) in(r Range) []operation {
	keys := ws.keys()
	from, _ := slices.BinarySearch(keys, string(r.From))
	to := len(keys)
	if r.To != nil {
		to, _ = slices.BinarySearch(keys, string(r.To))
	}
	if from >= to {
		return nil
	}
	ops := make([]operation, 0, to-from)
	for _, key := range keys[from:to] {
		ops = append(ops, operation{key, ws.ops[key]})
	}
	if r.Reverse {
		slices.Reverse(ops)
	}
	return ops
}

// operation is what a write set does to one key; value is nil for a deletion.
type operation struct {
	key   string
	value []byte
}

// Copier is an engine that can write a consistent copy of itself while it serves.
type Copier interface {
	// CopyTo writes one state of the store to w, in the form of the engine's own file, and returns its size.
	CopyTo(ctx context.Context, w io.Writer) (bytes int64, err error)
}

// Compacter is an engine whose file keeps removed bytes until it is rewritten.
type Compacter interface {
	// Compact rewrites the file while it serves: afterwards the file holds nothing that was removed before the
	// call.
	Compact(ctx context.Context) (Compaction, error)
}

// Compaction is the result of a Compact, in bytes of the file.
type Compaction struct {
	Before int64 `json:"before"`
	After  int64 `json:"after"`
}
