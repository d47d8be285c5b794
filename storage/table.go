package storage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	json "github.com/go-json-experiment/json/v1"
)

// Class says what removes a user's row.
type Class string

// The classes.
const (
	MFA      Class = "mfa"      // a reset removes it
	Account  Class = "account"  // only the deletion of the user does
	Evidence Class = "evidence" // it stays, and holds no personal data but the uid
	Settings Class = "settings" // it is the house's: no user has it
)

// Spec declares a table of records of type T.
type Spec[T any] struct {
	Name  string // unique; part of every key; never changed once released
	Class Class  // Settings makes it a table of the house, any other class a table of users

	// Most is how many rows of a user there are at most, those past their expiry that the sweeper has passed left out. Whoever
	// writes them sees to it. The house's tables have none.
	Most int

	// Expires tells when a record is over; the zero time, or no function, is never.
	Expires func(*T) time.Time

	// Swept removes what belongs to a record that is past its expiry, in the transaction that removes its row.
	Swept func(tx *Tx, uid UID, key string) error

	// Lapsed is told of a record that is past its expiry, before its row is removed for that. It may count, and nothing else.
	Lapsed func(tx *Tx, record *T)

	// Changed is told of each change of a row, in the transaction that makes it: before is nil for one that is new, after for
	// one that is deleted. What is sealed in before is sealed. A purge and the sweeper tell it nothing.
	Changed func(tx *Tx, uid UID, key string, before, after *T) error

	// Purged is told of each record that a purge is about to remove, in the purge's transaction. It may write rows of the house. One
	// that cannot be read, or is past its expiry, is not told of.
	Purged func(tx *Tx, uid UID, record *T) error

	// Sealed names the fields that are kept encrypted. They lie in the record itself, not behind a pointer, and
	// are []byte, which hold the plain value in memory. In a raw table the one field is the record.
	Sealed func(*T) []Field

	// Upgrade completes a record that was stored in an earlier shape: stored is its JSON, and record what of it the
	// present T reads. It runs before the sealed fields are opened, whose names and row must be those they were sealed
	// with. The row gets the present shape when it is written next. Without Upgrade, T has had one shape only.
	Upgrade func(record *T, stored []byte) error

	// Raw keeps a T of []byte as it is, instead of as JSON: for large opaque values.
	Raw bool
}

// Field is a sealed field of a record. Name is bound into the seal.
type Field struct {
	Name  string
	Value *[]byte
}

// Sealer seals fields. ad, the associated data, names the table, the row and the field: a sealed value that was moved
// elsewhere does not open.
type Sealer interface {
	Seal(plain, ad []byte) ([]byte, error)

	// Unseal opens what Seal made with the same ad. Keys that it does not know yet it reads through tx, in which sealed
	// was read: it must not call the store, whose engine may have no second connection to give.
	//
	// Errors: ErrDamaged for what does not open.
	Unseal(tx *Tx, sealed, ad []byte) ([]byte, error)
}

// Table is where records of type T are kept. A record is JSON, unless the table is raw: text in it is UTF-8, and what is
// not would be another text when it is read, so its owner checks what comes from outside. A method that takes a uid wants House for a table of the house, and
// somebody for any other. Records are returned as copies of what is stored. Safe for concurrent use.
type Table[T any] struct {
	spec    Spec[T]
	indexes []index[T]
}

type index[T any] struct {
	name   string
	unique bool
	values func(*T) []string
}

// Row is a record with its key in the table.
type Row[T any] struct {
	UID    UID
	Key    string
	Record *T
}

// Declare makes a table. It is called once for each, from a package-level variable. What is wrong with a declaration
// (a name that is declared twice, no class, a raw table of more than bytes) is an error of [Open].
func Declare[T any](spec Spec[T]) *Table[T] {
	t := &Table[T]{spec: spec}
	if !isName(spec.Name) {
		tables.fault("%q is no name for a table", spec.Name)
	}
	switch spec.Class {
	case MFA, Account, Evidence, Settings:
	default:
		tables.fault("table %s has no class", spec.Name)
	}
	if _, bytes := any(new(T)).(*[]byte); spec.Raw && !bytes {
		tables.fault("table %s is raw, and holds more than plain bytes", spec.Name)
	}
	tables.add(spec.Name, t)
	return t
}

func (t *Table[T]) class() Class { return t.spec.Class }

func (t *Table[T]) most() int { return t.spec.Most }

func (t *Table[T]) sealed() bool { return t.spec.Sealed != nil }

// lapsed tells the table's owner of a row that is removed because it is past its expiry. One that cannot be read is not told of.
func (t *Table[T]) lapsed(tx *Tx, uid UID, key string, r row) {
	if t.spec.Lapsed == nil {
		return
	}
	if record, err := t.decode(tx, uid, key, r); err == nil {
		t.spec.Lapsed(tx, record)
	}
}

func (t *Table[T]) purged(tx *Tx, uid UID, key string) error {
	if t.spec.Purged == nil {
		return nil
	}
	record, err := t.Get(tx, uid, key)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.spec.Purged(tx, uid, record)
}

func (t *Table[T]) swept(tx *Tx, uid UID, key string) error {
	if t.spec.Swept == nil {
		return nil
	}
	return t.spec.Swept(tx, uid, key)
}

// Get returns the record.
//
// Errors: ErrNotFound; ErrKeyTooLong.
func (t *Table[T]) Get(tx *Tx, uid UID, key string) (*T, error) {
	r, err := t.stored(tx, uid, key)
	if err != nil {
		return nil, err
	}
	return t.decode(tx, uid, key, r)
}

// GetMany returns the records under several keys of uid, in the order of the keys, and nil for one that is not there. It
// asks the engine once, where a Get for each key would cost a journey each to an engine on another machine.
//
// Errors: ErrKeyTooLong.
func (t *Table[T]) GetMany(tx *Tx, uid UID, keys []string) ([]*T, error) {
	whole := make([][]byte, len(keys))
	for i, key := range keys {
		var err error
		if whole[i], err = t.key(uid, key); err != nil {
			return nil, err
		}
	}
	values, err := tx.getMany(whole)
	if err != nil {
		return nil, err
	}
	records := make([]*T, len(keys))
	for i, value := range values {
		r, err := t.present(tx, keys[i], value)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if records[i], err = t.decode(tx, uid, keys[i], r); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// Has reports whether there is a record.
func (t *Table[T]) Has(tx *Tx, uid UID, key string) (bool, error) {
	_, err := t.stored(tx, uid, key)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Put writes the record over what may be there. After an error it has written nothing.
//
// Errors: ErrUnique when another row has a value that a unique index holds; ErrKeyTooLong when the key, or a value of an
// index, makes a whole key of more than [MaxKeyBytes].
func (t *Table[T]) Put(tx *Tx, uid UID, key string, record *T) error {
	k, err := t.key(uid, key)
	if err != nil {
		return err
	}
	old, err := tx.get(k)
	if err != nil {
		return err
	}
	return t.write(tx, uid, key, k, old, record)
}

// Add is Put for a key that was never used, since the caller has drawn it: what may lie there is not looked at.
//
// Errors: ErrUnique; ErrKeyTooLong.
func (t *Table[T]) Add(tx *Tx, uid UID, key string, record *T) error {
	k, err := t.key(uid, key)
	if err != nil {
		return err
	}
	return t.write(tx, uid, key, k, nil, record)
}

// Insert writes a record that is not there yet.
//
// Errors: ErrExists; ErrUnique; ErrKeyTooLong.
func (t *Table[T]) Insert(tx *Tx, uid UID, key string, record *T) error {
	k, err := t.key(uid, key)
	if err != nil {
		return err
	}
	old, err := tx.get(k)
	if err != nil {
		return err
	}
	if old != nil {
		r, err := decodeRow(old)
		if err != nil {
			return fmt.Errorf("%s %q: %w", t.spec.Name, key, err)
		}
		if !r.expired(tx.now) {
			return ErrExists
		}
	}
	return t.write(tx, uid, key, k, old, record)
}

// Delete removes the record; one that is not there is no error.
func (t *Table[T]) Delete(tx *Tx, uid UID, key string) error {
	k, err := t.key(uid, key)
	if err != nil {
		return err
	}
	stored, err := tx.get(k)
	if err != nil || stored == nil {
		return err
	}
	if err := tx.removeRow(k, stored); err != nil {
		return err
	}
	return t.changed(tx, uid, key, stored, nil)
}

// DeletePrefixed removes the records of uid whose keys begin with prefix. It reads none of them: one that is damaged goes as
// well.
func (t *Table[T]) DeletePrefixed(tx *Tx, uid UID, prefix string) error {
	k, err := t.key(uid, prefix)
	if err != nil {
		return err
	}
	var rows []purged
	err = tx.scan(Prefix(k), func(rk, value []byte) bool {
		rows = append(rows, found(rk, value))
		return true
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	return tx.removeAll(rows)
}

// All returns the records of uid in the order of their keys.
func (t *Table[T]) All(tx *Tx, uid UID) ([]Row[T], error) { return t.Prefixed(tx, uid, "") }

// Prefixed returns the records of uid whose keys begin with prefix, in the order of their keys.
func (t *Table[T]) Prefixed(tx *Tx, uid UID, prefix string) ([]Row[T], error) {
	k, err := t.key(uid, prefix)
	if err != nil {
		return nil, err
	}
	var rows []Row[T]
	var failed error
	err = tx.scan(Prefix(k), func(rk, value []byte) bool {
		key := string(rk[len(k)-len(prefix):])
		r, err := decodeRow(value)
		if err == nil && r.expired(tx.now) {
			return true
		}
		var record *T
		if err == nil {
			record, err = t.decode(tx, uid, key, r)
		}
		if err != nil {
			failed = fmt.Errorf("%s %q: %w", t.spec.Name, key, err)
			return false
		}
		rows = append(rows, Row[T]{UID: uid, Key: key, Record: record})
		return true
	})
	return rows, errors.Join(err, failed)
}

// Keys calls fn for the keys of uid that begin with prefix, in their order, until it returns false. It reads no record:
// a damaged row has its key too, while one past its expiry has none.
func (t *Table[T]) Keys(tx *Tx, uid UID, prefix string, fn func(key string) bool) error {
	k, err := t.key(uid, prefix)
	if err != nil {
		return err
	}
	return tx.scan(Prefix(k), func(rk, value []byte) bool {
		if r, err := decodeRow(value); err == nil && r.expired(tx.now) {
			return true
		}
		return fn(string(rk[len(k)-len(prefix):]))
	})
}

// stored returns the row under key as it is stored, when it is there and not past its expiry.
func (t *Table[T]) stored(tx *Tx, uid UID, key string) (row, error) {
	k, err := t.key(uid, key)
	if err != nil {
		return row{}, err
	}
	value, err := tx.get(k)
	if err != nil {
		return row{}, err
	}
	return t.present(tx, key, value)
}

// present reads the bytes of the row under key.
//
// Errors: ErrNotFound when there are none, or the row is past its expiry.
func (t *Table[T]) present(tx *Tx, key string, value []byte) (row, error) {
	if value == nil {
		return row{}, ErrNotFound
	}
	r, err := decodeRow(value)
	if err != nil {
		return row{}, fmt.Errorf("%s %q: %w", t.spec.Name, key, err)
	}
	if r.expired(tx.now) {
		return row{}, ErrNotFound
	}
	return r, nil
}

// key checks the owner and returns the row's key in the store.
//
// Errors: ErrKeyTooLong.
func (t *Table[T]) key(uid UID, key string) ([]byte, error) {
	if uid.IsZero() != (t.spec.Class == Settings) {
		return nil, fmt.Errorf("table %s: the owner %s does not fit class %s", t.spec.Name, uid, t.spec.Class)
	}
	k := rowKey(uid, t.spec.Name, key)
	return k, fits(k, maxRowKeyBytes, "table", t.spec.Name)
}

// write puts the row and brings its index and expiry entries in step with it.
func (t *Table[T]) write(tx *Tx, uid UID, key string, k, old []byte, record *T) error {
	r := row{expires: t.expiry(record)}
	var unique [][]byte
	var err error
	if r.record, err = t.encode(tx, uid, key, record); err != nil {
		return fmt.Errorf("%s: %w", t.spec.Name, err)
	}
	for _, ix := range t.indexes {
		for _, value := range ix.values(record) {
			entry := ix.key(value, k)
			if err := fits(entry, MaxKeyBytes, "index", ix.name); err != nil {
				return err
			}
			r.indexes = append(r.indexes, entry)
			if ix.unique {
				unique = append(unique, entry)
			}
		}
	}
	if err := tx.moveEntries(k, old, r, unique); err != nil {
		return err
	}
	if err := tx.put(k, r.encode()); err != nil {
		return err
	}
	return t.changed(tx, uid, key, old, record)
}

// changed tells the table's owner of a change. A row before that cannot be read is none.
func (t *Table[T]) changed(tx *Tx, uid UID, key string, old []byte, after *T) error {
	if t.spec.Changed == nil {
		return nil
	}
	var before *T
	if r, err := decodeRow(old); err == nil && !r.expired(tx.now) {
		before = new(T)
		if t.unmarshal(r.record, before) != nil || t.spec.Upgrade != nil && t.spec.Upgrade(before, r.record) != nil {
			before = nil
		}
	}
	return t.spec.Changed(tx, uid, key, before, after)
}

// expiry is when the record is over, as a row holds it.
func (t *Table[T]) expiry(record *T) time.Time {
	if t.spec.Expires == nil {
		return time.Time{}
	}
	return fromUnixNano(unixNano(t.spec.Expires(record)))
}

// moveEntries removes the entries of the old row that the new one has not, and adds those that are new; unique are the
// new row's that no other row may have. Whether they are free is known before anything is written: a closure may go on
// after ErrUnique.
func (tx *Tx) moveEntries(k, old []byte, r row, unique [][]byte) error {
	if err := tx.writable(); err != nil {
		return err
	}
	var was row
	if old != nil {
		var err error
		if was, err = decodeRow(old); err != nil {
			return err
		}
	}
	added := without(r.indexes, was.indexes)
	gone := row{indexes: without(was.indexes, r.indexes)}
	for _, entry := range unique {
		held, err := tx.claim(entry, k)
		if err != nil {
			return err
		}
		if !held { // new, or taken by another row while the old one was past its expiry
			added = append(without(added, [][]byte{entry}), entry)
		}
	}
	moved := !was.expires.Equal(r.expires)
	if moved {
		gone.expires = was.expires
	}
	if err := tx.removeEntries(k, gone); err != nil {
		return err
	}
	for _, entry := range added {
		if err := tx.put(entry, k); err != nil {
			return err
		}
	}
	if moved && !r.expires.IsZero() {
		tx.expiring++
		return tx.put(expiryKey(tx.shardOf(k), r.expires, k), nil)
	}
	return nil
}

// without returns the entries of a that b has not. A row has few.
func without(a, b [][]byte) (rest [][]byte) {
	for _, entry := range a {
		if !slices.ContainsFunc(b, func(other []byte) bool { return bytes.Equal(entry, other) }) {
			rest = append(rest, entry)
		}
	}
	return rest
}

// claim reports whether the row k holds an index entry already; else it may take it. An entry may be taken from a row
// that is past its expiry: that row is another user's, so it is left to the sweeper, which leaves the entry alone.
//
// Errors: ErrUnique.
func (tx *Tx) claim(entry, k []byte) (held bool, err error) {
	holder, err := tx.get(entry)
	if err != nil || holder == nil {
		return false, err
	}
	if bytes.Equal(holder, k) {
		return true, nil
	}
	stored, err := tx.get(holder)
	if err != nil || stored == nil { // the entry of a row that was damaged, and is gone
		return false, err
	}
	r, err := decodeRow(stored)
	if err != nil {
		return false, err // whose it is, and until when, is not known
	}
	if !r.expired(tx.now) {
		return false, ErrUnique
	}
	return false, nil
}

func (t *Table[T]) encode(tx *Tx, uid UID, key string, record *T) ([]byte, error) {
	if t.spec.Sealed == nil {
		return t.marshal(record)
	}
	copied := *record
	callers := t.spec.Sealed(record)
	for i, f := range t.spec.Sealed(&copied) {
		if f.Value == callers[i].Value {
			return nil, fmt.Errorf("the sealed field %s lies behind a pointer: sealing it would change the caller's record", f.Name)
		}
		if err := t.seal(tx, uid, key, f); err != nil {
			return nil, err
		}
	}
	return t.marshal(&copied)
}

// marshal returns a record's bytes: JSON, or as they are. The JSON is that of encoding/json, written and read by the
// implementation that it will have, which takes less than half the time.
func (t *Table[T]) marshal(record *T) ([]byte, error) {
	if !t.spec.Raw {
		return json.Marshal(record)
	}
	raw, ok := any(record).(*[]byte)
	if !ok {
		return nil, errRaw
	}
	return *raw, nil
}

// unmarshal is the reverse of marshal.
func (t *Table[T]) unmarshal(b []byte, record *T) error {
	if !t.spec.Raw {
		if err := json.Unmarshal(b, record); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return nil
	}
	raw, ok := any(record).(*[]byte)
	if !ok {
		return errRaw
	}
	*raw = append([]byte(nil), b...)
	return nil
}

var errRaw = errors.New("a raw table holds []byte")

func (t *Table[T]) decode(tx *Tx, uid UID, key string, r row) (*T, error) {
	record := new(T)
	if err := t.unmarshal(r.record, record); err != nil {
		return nil, fmt.Errorf("%s %q: %w", t.spec.Name, key, err)
	}
	if t.spec.Upgrade != nil {
		if err := t.spec.Upgrade(record, r.record); err != nil {
			return nil, fmt.Errorf("%s %q: %w: %w", t.spec.Name, key, ErrDamaged, err)
		}
	}
	if t.spec.Sealed != nil {
		for _, f := range t.spec.Sealed(record) {
			if err := t.unseal(tx, uid, key, f); err != nil {
				return nil, err
			}
		}
	}
	return record, nil
}

func (t *Table[T]) seal(tx *Tx, uid UID, key string, f Field) error {
	if len(*f.Value) == 0 {
		*f.Value = nil
		return nil
	}
	sealer := tx.store.sealer.Load()
	if sealer == nil {
		return errNoSealer
	}
	sealed, err := (*sealer).Seal(*f.Value, t.associated(uid, key, f.Name))
	*f.Value = sealed
	return err
}

func (t *Table[T]) unseal(tx *Tx, uid UID, key string, f Field) error {
	if len(*f.Value) == 0 {
		return nil
	}
	sealer := tx.store.sealer.Load()
	if sealer == nil {
		return errNoSealer
	}
	plain, err := (*sealer).Unseal(tx, *f.Value, t.associated(uid, key, f.Name))
	if err != nil {
		return fmt.Errorf("unseal %s.%s: %w", t.spec.Name, f.Name, err)
	}
	*f.Value = plain
	return nil
}

var errNoSealer = errors.New("the store has no keys for sealed fields yet")

// associated is the associated data of a sealed field: which table, whose row, which field.
func (t *Table[T]) associated(uid UID, key, field string) []byte {
	ad := rowKey(uid, t.spec.Name, key)
	ad = append(ad, 0)
	return append(ad, field...)
}

// reseal writes a row again, so that its sealed fields are under the newest key.
func (t *Table[T]) reseal(tx *Tx, uid UID, key string) error {
	record, err := t.Get(tx, uid, key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.Put(tx, uid, key, record)
}
