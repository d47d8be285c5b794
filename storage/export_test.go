package storage

import "context"

// What the tests of package storage_test need of the inside: they are outside, so that they can use the engines.

// The inside of a transaction, of keys and of rows.
var (
	TxScan   = (*Tx).scan
	TxPut    = (*Tx).put
	TxDelete = (*Tx).delete
	TxGet    = (*Tx).get

	RowKey         = rowKey
	SplitRowKey    = splitRowKey
	IndexKey       = indexKey
	ExpiryKey      = expiryKey
	SplitExpiryKey = splitExpiryKey
	Escape         = escape
	Unescape       = unescape
	MetaKey        = metaKey

	MarkTime = (*Store).markTime

	MaxStepAhead = maxStepAhead
	MaxStepBack  = maxStepBack
)

// StoredRow is a decoded row.
type StoredRow = row

// Parts returns what a row holds.
func (r row) Parts() (expires uint64, indexes [][]byte, record []byte) {
	return unixNano(r.expires), r.indexes, r.record
}

// DecodeRow reads a stored row.
func DecodeRow(b []byte) (StoredRow, error) { return decodeRow(b) }

// EncodeRow writes a row as it is stored.
func EncodeRow(r StoredRow) []byte { return r.encode() }

// Marshal writes a record as a row holds it.
func (t *Table[T]) Marshal(record *T) ([]byte, error) { return t.marshal(record) }

// Unmarshal reads a record as a row holds it.
func (t *Table[T]) Unmarshal(b []byte, record *T) error { return t.unmarshal(b, record) }

// IsKept reports whether err was marked by Kept.
func IsKept(err error) bool {
	counts, _ := counted(err)
	return counts
}

// SchemaVersion is the schema that this program writes.
const SchemaVersion = schemaVersion

// Migration is a step to a schema.
type Migration struct {
	To  int
	Run func(*Tx) error
}

// WithMigrations makes options of a program that writes a schema, with its steps.
func (o Options) WithMigrations(version int, steps ...Migration) Options {
	o.schema = version
	o.migrations = []migration{}
	for _, m := range steps {
		o.migrations = append(o.migrations, migration{m.To, m.Run})
	}
	return o
}

// Faults runs declare as if nothing had been declared yet, and returns what Open would say of it. Not for tests that
// run in parallel.
func Faults(declare func()) error {
	byName := tables.byName
	logs := tables.logs
	faults := tables.faults
	tables.byName = map[string]declared{}
	tables.logs = map[string]bool{}
	tables.faults = nil
	defer func() {
		tables.byName = byName
		tables.logs = logs
		tables.faults = faults
	}()
	declare()
	return tables.check()
}

// SweepWhenLeading is a round of RunSweeper.
func (s *Store) SweepWhenLeading(ctx context.Context) (int, error) {
	return s.sweepWhenLeading(ctx, sweepBatch)
}
