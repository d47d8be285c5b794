package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"tutela/storage"
)

// ErrNotFound reports an event that is not there.
var ErrNotFound = storage.NewError(storage.NotFound, "no such event")

// Query says which events are wanted. The zero value is all, newest first.
type Query struct {
	UID    storage.UID // of this user only
	Types  []Type      // of these types only
	Not    []Type      // of none of these types
	Client string      // of this client only
	Since  time.Time   // not older
	Until  time.Time   // not newer

	After  string // only events after this id; implies oldest first
	Before string // only those before this id
	Oldest bool   // oldest first
	Skip   int    // skip this many
	Take   int    // return at most this many; 0: all
	Within int    // read at most this many events; 0: all
}

// matches reports whether an event fits the query's types, client and times. An empty field of the query admits every
// event.
func (q Query) matches(e Event) bool {
	return (len(q.Types) == 0 || slices.Contains(q.Types, e.Type)) && !slices.Contains(q.Not, e.Type) &&
		(q.Client == "" || e.Client == q.Client) &&
		(q.Since.IsZero() || !e.Time.Before(q.Since)) &&
		(q.Until.IsZero() || !e.Time.After(q.Until))
}

// List returns the events that match the query, with their details. With total it also counts all matches, which reads
// all events. A damaged event is included and says so; its type is [Damaged] when it cannot be read. It is no
// transaction: events that are recorded meanwhile may be missing.
func List(ctx context.Context, s *storage.Store, q Query, total bool) (entries []Entry, count int, err error) {
	var found []stored
	q.Oldest = q.Oldest || q.After != ""
	seen := 0
	see := func(e stored) bool {
		if seen++; q.Within > 0 && seen > q.Within {
			return false
		}
		if q.matches(e.Event) {
			if count >= q.Skip && (q.Take == 0 || len(found) < q.Take) {
				found = append(found, e)
			}
			count++
		}
		return total || q.Take == 0 || len(found) < q.Take
	}
	if q.UID.IsZero() {
		err = peekAll(ctx, s, q, see)
	} else {
		err = peekUser(ctx, s, q, see)
	}
	if err == nil {
		entries, err = join(ctx, s, found)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list events: %w", err)
	}
	return entries, count, nil
}

// Newest returns the id of the newest event and when it was recorded; "" when there is none. It reads no details, and so
// needs no keys.
func Newest(ctx context.Context, s *storage.Store) (id string, at time.Time, err error) {
	err = events.Peek(ctx, s, "", "", true, func(key string, _ []byte) bool {
		id = key
		return false
	})
	if err != nil || id == "" {
		return "", time.Time{}, err
	}
	// An id begins with its time; see idAt.
	nanoseconds, err := strconv.ParseInt(id[:min(len(id), len(idAt(time.Time{})))], 10, 64)
	return id, time.Unix(0, nanoseconds).UTC(), err
}

// CountAfter returns how many events have an id after id; "": all. It is no transaction.
func CountAfter(ctx context.Context, s *storage.Store, id string) (n int, err error) {
	from := ""
	if id != "" {
		from = justAfter(id)
	}
	err = events.Peek(ctx, s, from, "", false, func(string, []byte) bool {
		n++
		return true
	})
	if err != nil {
		return 0, fmt.Errorf("count events: %w", err)
	}
	return n, nil
}

func peekAll(ctx context.Context, s *storage.Store, q Query, see func(stored) bool) error {
	from := ""
	to, err := settledFor(ctx, s, q)
	if err != nil {
		return err
	}
	if !q.Since.IsZero() {
		from = idAt(q.Since)
	}
	if !q.Until.IsZero() {
		to = lesser(to, idAt(q.Until.Add(stampSlack)))
	}
	if q.After != "" {
		from = max(from, justAfter(q.After))
	}
	if q.Before != "" && (to == "" || q.Before < to) {
		to = q.Before
	}
	return events.Peek(ctx, s, from, to, !q.Oldest, func(id string, value []byte) bool {
		return see(decode(storage.House, id, value))
	})
}

// settledFor returns the id up to which events are returned to a reader that follows the log (After), so that no event
// with a smaller id can appear later; "" for no limit.
func settledFor(ctx context.Context, s *storage.Store, q Query) (to string, err error) {
	if q.After == "" {
		return "", nil
	}
	at, err := s.Settled(ctx)
	if err != nil || at.IsZero() {
		return "", err
	}
	return idAt(at), nil
}

// lesser returns the smaller of two ids; "" counts as no limit.
func lesser(one, other string) string {
	if one == "" {
		return other
	}
	return min(one, other)
}

// justAfter returns a key right after id and before the next possible id, since an id has at most 25 digits.
func justAfter(id string) string { return id + "0" }

// peekUser reads the user's pointers, and the events they name. One View is enough: a user has thousands, not millions.
func peekUser(ctx context.Context, s *storage.Store, q Query, see func(stored) bool) error {
	return s.View(ctx, func(tx *storage.Tx) error {
		var ids []string
		err := ofUser.Keys(tx, q.UID, "", func(id string) bool {
			if id > q.After && (q.Before == "" || id < q.Before) {
				ids = append(ids, id)
			}
			return true
		})
		if err != nil {
			return err
		}
		if !q.Oldest {
			slices.Reverse(ids)
		}
		for _, id := range ids {
			value, err := events.Get(tx, q.UID, id)
			if err != nil {
				return err
			}
			if value != nil && !see(decode(q.UID, id, value)) {
				return nil
			}
		}
		return nil
	})
}

// Get returns one event.
//
// Errors: ErrNotFound.
func Get(ctx context.Context, s *storage.Store, id string) (Entry, error) {
	if !validID(id) {
		return Entry{}, ErrNotFound
	}
	var found []stored
	err := events.Peek(ctx, s, id, justAfter(id), false, func(id string, value []byte) bool {
		found = append(found, decode(storage.House, id, value))
		return false
	})
	if err != nil {
		return Entry{}, fmt.Errorf("read event %s: %w", id, err)
	}
	if len(found) == 0 {
		return Entry{}, ErrNotFound
	}
	entries, err := join(ctx, s, found)
	if err != nil {
		return Entry{}, fmt.Errorf("read event %s: %w", id, err)
	}
	return entries[0], nil
}

// Trim removes events older than before, with their pointers and details, up to limit of them, and returns how many
// it removed; after an error it may have removed some. Ids sort as time, so they are the first of the log. While the
// clock may be wrong it removes nothing.
func Trim(ctx context.Context, s *storage.Store, before time.Time, limit int) (int, error) {
	if !s.MayRemove() {
		return 0, nil
	}
	var old []stored
	err := events.Peek(ctx, s, "", idAt(before), false, func(id string, value []byte) bool {
		old = append(old, decode(storage.House, id, value))
		return len(old) < limit
	})
	if err != nil {
		return 0, err
	}
	err = s.UpdateEach(ctx, len(old), func(tx *storage.Tx, i int) error { return old[i].forget(tx) })
	if err != nil {
		return 0, fmt.Errorf("trim events: %w", err)
	}
	return len(old), nil
}

// forget removes an event with its pointer and detail. When the event cannot be read, its owner is not known: the
// pointer stays and leads nowhere. It may be the installation's, whose details no purge removes, so the detail of that
// id is removed here.
func (e stored) forget(tx *storage.Tx) error {
	if e.Type == Damaged {
		_, err := events.Uproot(tx, e.key)
		return errors.Join(err, remove(tx, houseDetails, storage.House, e.key))
	}
	if !e.UID.IsZero() {
		counts, err := ofUser.Has(tx, e.UID, e.key)
		if errors.Is(err, storage.ErrDamaged) {
			counts = true
			err = nil
		}
		if err == nil && counts {
			err = uncount(tx, e.UID)
		}
		if err != nil {
			return err
		}
	}
	return e.remove(tx)
}

// remove removes a readable event, with its pointer and detail.
func (e stored) remove(tx *storage.Tx) error {
	rows := e.detailTables()
	if !e.UID.IsZero() {
		rows = append(rows, ofUser)
	}
	err := events.Delete(tx, e.UID, e.key)
	for _, in := range rows {
		err = errors.Join(err, remove(tx, in, e.UID, e.key))
	}
	return err
}

// remove deletes a row, damaged or not.
func remove(tx *storage.Tx, in *storage.Table[[]byte], uid storage.UID, key string) error {
	err := in.Delete(tx, uid, key)
	if errors.Is(err, storage.ErrDamaged) {
		_, err = in.Uproot(tx, uid, key)
	}
	return err
}
