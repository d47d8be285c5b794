package audit

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"tutela/storage"
)

// MostEvents is how many events about one user are kept. Beyond it, the oldest events of the most frequent type are
// replaced by one event that says how many they were, from when to when. So a flood of one type displaces only events
// of that type.
const MostEvents = 2000

// foldAtOnce is how many events are replaced at a time. More would hold the writer for longer; fewer would mean to read
// the user's events more often.
const foldAtOnce = 64

// counts holds how many events a user has, which is the number of rows of ofUser.
var counts = storage.Declare(storage.Spec[[]byte]{
	Name:  "event_count",
	Class: storage.Evidence,
	Most:  1,
	Raw:   true,
})

// theCount is the key of the one row a user has in the table.
const theCount = ""

// count counts an event that was just written, and folds old events when there are too many. nobodys says that uid
// belongs to no user: such a uid has no earlier events to count, and must cost no more than a known one.
func count(tx *storage.Tx, uid storage.UID, nobodys bool) error {
	n, known, err := counted(tx, uid)
	if err == nil && !known && !nobodys {
		n, err = recount(tx, uid)
	} else {
		n++
	}
	if err == nil && n > MostEvents {
		n, err = foldOldest(tx, uid)
	}
	if err != nil {
		return err
	}
	return setCount(tx, uid, n)
}

// uncount counts an event that was removed.
func uncount(tx *storage.Tx, uid storage.UID) error {
	n, known, err := counted(tx, uid)
	if err != nil || !known {
		return err
	}
	return setCount(tx, uid, n-1)
}

// counted returns the stored count. It drops a count that cannot be read; known is false then.
func counted(tx *storage.Tx, uid storage.UID) (n int, known bool, err error) {
	row, err := counts.Get(tx, uid, theCount)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return 0, false, nil
	case errors.Is(err, storage.ErrDamaged):
		_, err = counts.Uproot(tx, uid, theCount)
		return 0, false, err
	case err != nil:
		return 0, false, err
	}
	written, size := binary.Uvarint(*row)
	return int(written), size > 0, nil
}

// recount counts the user's events from the rows: for a user without a stored count, such as one of an earlier release.
func recount(tx *storage.Tx, uid storage.UID) (n int, err error) {
	err = ofUser.Keys(tx, uid, "", func(string) bool {
		n++
		return true
	})
	return n, err
}

func setCount(tx *storage.Tx, uid storage.UID, n int) error {
	if n <= 0 {
		return counts.Delete(tx, uid, theCount)
	}
	row := binary.AppendUvarint(nil, uint64(n))
	return counts.Put(tx, uid, theCount, &row)
}

// foldOldest replaces the oldest events of the most frequent type by one event, and returns how many events are left.
func foldOldest(tx *storage.Tx, uid storage.UID) (left int, err error) {
	all, err := ofUser.All(tx, uid)
	if err != nil {
		return 0, err
	}
	// Find the most frequent type; of two, the first by name.
	byType := make(map[Type][]string)
	most := Type("")
	for _, row := range all {
		t := Type(*row.Record)
		byType[t] = append(byType[t], row.Key)
	}
	for t, ids := range byType {
		if more := len(ids) - len(byType[most]); more > 0 || more == 0 && t < most {
			most = t
		}
	}
	// Remove its oldest events and count them. Pointers of an earlier release carry no type, so there may be several.
	ids := byType[most]
	ids = ids[:min(len(ids), foldAtOnce)]
	folded := make(map[Type]Folded)
	for _, id := range ids {
		if err := foldOne(tx, uid, id, folded); err != nil {
			return 0, err
		}
	}
	// Write one event for each type in their place.
	left = len(all) - len(ids)
	for _, t := range sortedTypes(folded) {
		e := Event{
			ID:     newID(tx),
			Time:   tx.Now(),
			Type:   t,
			UID:    uid,
			Facts:  Facts{FactFolded: FoldedOlder},
			Folded: folded[t],
		}
		if err := writeUncounted(tx, events, e, Detail{}, details); err != nil {
			return 0, err
		}
		left++
	}
	return left, nil
}

// foldOne removes an event with its detail and pointer, and counts it in into. The pointers of an earlier release have
// no type, so it takes the type from the event.
func foldOne(tx *storage.Tx, uid storage.UID, id string, into map[Type]Folded) error {
	value, err := events.Get(tx, uid, id)
	if err != nil {
		return err
	}
	if value == nil {
		return remove(tx, ofUser, uid, id)
	}
	found := decode(uid, id, value)
	if found.Type == Damaged { // it stays in the log, for an operator to see
		return errors.Join(
			remove(tx, ofUser, uid, id),
			remove(tx, details, uid, id),
			remove(tx, accountDetails, uid, id))
	}
	sum := into[found.Type]
	one := found.Folded
	if one.Count == 0 {
		one = Folded{Count: 1, First: found.Time, Last: found.Time}
	}
	sum.Count += one.Count
	sum.First = earlier(sum.First, one.First)
	if one.Last.After(sum.Last) {
		sum.Last = one.Last
	}
	into[found.Type] = sum
	return found.remove(tx)
}

// earlier returns the earlier of two times; b when a is zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func sortedTypes(of map[Type]Folded) (list []Type) {
	for t := range of {
		list = append(list, t)
	}
	slices.Sort(list)
	return list
}
