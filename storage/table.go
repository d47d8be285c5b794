package storage

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	json "github.com/go-json-experiment/json/v1"
)

// Class says which operation removes a user's rows.
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

	// Most is how many rows a user has at most, not counting expired rows that are not swept yet. The code that
	// writes the rows keeps this bound. Tables of the house have none.
	Most int

	// Expires returns when a record expires; the zero time, or no function, means never.
	Expires func(*T) time.Time

	// Swept removes what belongs to an expired record, in the transaction that removes its row.
	Swept func(tx *Tx, uid UID, key string) error

	// Lapsed is called with an expired record before its row is removed. It may only count.
	Lapsed func(tx *Tx, record *T)

	// Changed is called for each change of a row, in the same transaction: before is nil for a new row, after is
	// nil for a deleted one. Sealed fields of before are still sealed. A purge and the sweeper do not call it.
	Changed func(tx *Tx, uid UID, key string, before, after *T) error

	// Purged is called for each record that a purge is about to remove, in the purge's transaction. It may write
	// rows of the house. It is not called for records that cannot be read or are past their expiry.
	Purged func(tx *Tx, uid UID, record *T) error

	// Sealed names the fields that are kept encrypted. They lie in the record itself, not behind a pointer, and
	// are []byte, which hold the plain value in memory. In a raw table the one field is the record.
	Sealed func(*T) []Field

	// Upgrade converts a record that was stored in an earlier shape: stored is its JSON, and record holds what the
	// present T reads from it. It runs before the sealed fields are opened; their names and row must be the same as
	// when they were sealed. The row gets the present shape the next time it is written. Without Upgrade, T has had
	// one shape only.
	Upgrade func(record *T, stored []byte) error

	// Raw stores a T of []byte unchanged instead of as JSON: for large opaque values.
	Raw bool
}

// Field is a sealed field of a record. Name is bound into the seal.
type Field struct {
	Name  string
	Value *[]byte
}

// Sealer encrypts fields. ad, the associated data, names the table, the row and the field: a sealed value that was
// moved elsewhere does not open.
type Sealer interface {
	Seal(plain, ad []byte) ([]byte, error)

	// Unseal opens what Seal made with the same ad. It reads keys that it does not know yet through tx, the
	// transaction in which sealed was read. It must not call the store, whose engine may have no second connection
	// to give.
	//
	// Errors: ErrDamaged for what does not open.
	Unseal(tx *Tx, sealed, ad []byte) ([]byte, error)
}

// Table stores records of type T. A record is JSON, unless the table is raw. JSON changes text that is not UTF-8, so
// the owner of the table checks text that comes from outside. A method that takes a uid wants House for a table of the
// house, and a user's uid for any other table. Returned records are copies. Safe for concurrent use.
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

// Declare makes a table. Call it once for each table, from a package-level variable. A wrong declaration (a name
// declared twice, no class, a raw table whose T is not []byte) becomes an error of [Open].
func Declare[T any](spec Spec[T]) *Table[T] {
	t := &Table[T]{spec: spec}
	if !isName(spec.Name) {
		tables.fault("%q is not a valid name for a table", spec.Name)
	}
	switch spec.Class {
	case MFA, Account, Evidence, Settings:
	default:
		tables.fault("table %s has no class", spec.Name)
	}
	if _, bytes := any(new(T)).(*[]byte); spec.Raw && !bytes {
		tables.fault("table %s is raw, but its records are not plain bytes", spec.Name)
	}
	tables.add(spec.Name, t)
	return t
}

func (t *Table[T]) class() Class { return t.spec.Class }

func (t *Table[T]) most() int { return t.spec.Most }

func (t *Table[T]) sealed() bool { return t.spec.Sealed != nil }

// lapsed calls Spec.Lapsed for a row that is removed because it is past its expiry, unless it cannot be read.
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

// GetMany returns the records under several keys of uid, in the order of the keys, with nil for a record that is not
// there. It asks the engine once: separate Gets would cost one round trip each to an engine on another machine.
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

// Put writes the record, replacing any record under the key. After an error it has written nothing.
//
// Errors: ErrUnique when another row already has a value of a unique index; ErrKeyTooLong when the key or a value of an
// index makes a whole key of more than [MaxKeyBytes].
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

// Add is Put for a key that was never used, such as a fresh random id. It does not look whether a row is there.
//
// Errors: ErrUnique; ErrKeyTooLong.
func (t *Table[T]) Add(tx *Tx, uid UID, key string, record *T) error {
	k, err := t.key(uid, key)
	if err != nil {
		return err
	}
	return t.write(tx, uid, key, k, nil, record)
}

// Insert writes a record under a key that is not in use.
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

// DeletePrefixed removes the records of uid whose keys begin with prefix. It decodes none of them, so it also removes
// damaged ones.
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

// Keys calls fn for the keys of uid that begin with prefix, in order, until fn returns false. It decodes no record: it
// includes the keys of damaged rows, but not those of rows past their expiry.
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

// stored returns the row under key in its stored form.
//
// Errors: ErrNotFound, also for a row past its expiry; ErrKeyTooLong.
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

// write puts the row and updates its index and expiry entries. k is the row's whole key; old is its value so far, or
// nil.
func (t *Table[T]) write(tx *Tx, uid UID, key string, k, old []byte, record *T) error {
	r := row{expires: t.expiry(record)}
	// Encode first: after an error nothing may have been written.
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

// changed calls Spec.Changed. A previous row that cannot be read counts as no row.
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

// expiry returns when the record expires, in the precision of a stored row.
func (t *Table[T]) expiry(record *T) time.Time {
	if t.spec.Expires == nil {
		return time.Time{}
	}
	return fromUnixNano(unixNano(t.spec.Expires(record)))
}

// moveEntries removes the entries of the old row that the new row r lacks, and adds those that are new. unique lists
// the entries of r that no other row may hold. It checks them all before it writes anything, since a closure may
// continue after ErrUnique.
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

// without returns the entries of a that are not in b. A row has few, so no set is needed.
func without(a, b [][]byte) (rest [][]byte) {
	for _, entry := range a {
		if !slices.ContainsFunc(b, func(other []byte) bool { return bytes.Equal(entry, other) }) {
			rest = append(rest, entry)
		}
	}
	return rest
}

// claim reports whether the row k already holds the index entry. If not, and without an error, k may take it: the entry
// is free, or its row is past its expiry. Such a row may be another user's, so it is left to the sweeper, which does
// not touch the entry.
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
		return false, err // a damaged row: who owns the entry, and until when, is not known
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

// marshal returns a record's bytes: JSON, or the raw bytes. The JSON is the same as encoding/json's, written by its
// coming implementation (v2), which takes less than half the time.
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

// associated returns the associated data of a sealed field: its table, the row's owner and key, and the field.
func (t *Table[T]) associated(uid UID, key, field string) []byte {
	ad := rowKey(uid, t.spec.Name, key)
	ad = append(ad, 0)
	return append(ad, field...)
}

// reseal rewrites a row, so that the newest key seals its fields.
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
