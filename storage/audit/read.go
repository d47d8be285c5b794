package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"tutela/storage"
)

// ErrNotFound is that of an event which is not there.
var ErrNotFound = storage.NewError(storage.NotFound, "no such event")

// Query says which events are wanted. The zero value is all, newest first.
type Query struct {
	UID    storage.UID // of this user only
	Types  []Type      // of these types only
	Not    []Type      // of none of these types
	Client string      // of this client only
	Since  time.Time   // not older
	Until  time.Time   // not newer

	After  string // only those after this id; then oldest first
	Oldest bool   // oldest first
	Skip   int    // pass over so many
	Take   int    // at most so many; 0: all
	Within int    // look at no more than so many events; 0: at all
}

func (q Query) matches(e Event) bool {
	return (len(q.Types) == 0 || slices.Contains(q.Types, e.Type)) && !slices.Contains(q.Not, e.Type) &&
		(q.Client == "" || e.Client == q.Client) &&
		(q.Since.IsZero() || !e.Time.Before(q.Since)) &&
		(q.Until.IsZero() || !e.Time.After(q.Until))
}

// List returns the events that the query wants, with their details, and how many match in all when total is true
// (which reads them all). It is no transaction: events that are recorded meanwhile may or may not be among them.
func List(ctx context.Context, s *storage.Store, q Query, total bool) (entries []Entry, count int, err error) {
	var found []Event
	var failed error
	q.Oldest = q.Oldest || q.After != ""
	seen := 0
	see := func(value []byte) bool {
		var e Event
		if seen++; q.Within > 0 && seen > q.Within {
			return false
		}
		if failed = json.Unmarshal(value, &e); failed != nil {
			return false
		}
		if q.matches(e) {
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
	if err = errors.Join(err, failed); err != nil {
		return nil, 0, fmt.Errorf("list events: %w", err)
	}
	err = s.View(ctx, func(tx *storage.Tx) error {
		entries = make([]Entry, 0, len(found))
		for _, e := range found {
			entry, err := join(tx, e)
			if err != nil {
				return err
			}
			entries = append(entries, entry)
		}
		return nil
	})
	return entries, count, err
}

func peekAll(ctx context.Context, s *storage.Store, q Query, see func([]byte) bool) error {
	from, to := "", ""
	if !q.Since.IsZero() {
		from = idAt(q.Since)
	}
	if !q.Until.IsZero() {
		to = idAt(q.Until.Add(stampSlack))
	}
	if q.After != "" {
		from = max(from, justAfter(q.After))
	}
	return events.Peek(ctx, s, from, to, !q.Oldest, func(_ string, value []byte) bool { return see(value) })
}

// justAfter is less than every id after id: none has more than 25 digits.
func justAfter(id string) string { return id + "0" }

// peekUser goes by the user's own pointers. They are read in one view: a user has thousands, not millions.
func peekUser(ctx context.Context, s *storage.Store, q Query, see func([]byte) bool) error {
	return s.View(ctx, func(tx *storage.Tx) error {
		rows, err := ofUser.All(tx, q.UID)
		if err != nil {
			return err
		}
		if !q.Oldest {
			slices.Reverse(rows)
		}
		for _, row := range rows {
			if row.Key <= q.After {
				continue
			}
			value, err := events.Get(tx, q.UID, row.Key)
			if err != nil {
				return err
			}
			if value != nil && !see(value) {
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
	var found *Event
	var failed error
	err := events.Peek(ctx, s, id, justAfter(id), false, func(_ string, value []byte) bool {
		found = &Event{}
		failed = json.Unmarshal(value, found)
		return false
	})
	if err = errors.Join(err, failed); err != nil {
		return Entry{}, err
	}
	if found == nil {
		return Entry{}, ErrNotFound
	}
	var entry Entry
	err = s.View(ctx, func(tx *storage.Tx) (err error) {
		entry, err = join(tx, *found)
		return err
	})
	return entry, err
}

// Trim removes events older than before, with their pointers and details, up to limit of them, and returns how many
// it removed; after an error it may have removed some. Ids sort as time, so they are the first of the log. While the
// clock may be wrong it removes nothing.
func Trim(ctx context.Context, s *storage.Store, before time.Time, limit int) (int, error) {
	if !s.MayRemove() {
		return 0, nil
	}
	var old []Event
	var failed error
	err := events.Peek(ctx, s, "", idAt(before), false, func(_ string, value []byte) bool {
		var e Event
		failed = json.Unmarshal(value, &e)
		old = append(old, e)
		return failed == nil && len(old) < limit
	})
	if err = errors.Join(err, failed); err != nil {
		return 0, err
	}
	err = s.UpdateEach(ctx, len(old), func(tx *storage.Tx, i int) error {
		e := old[i]
		if err := events.Delete(tx, e.UID, e.ID); err != nil || e.UID.IsZero() {
			return err
		}
		return errors.Join(ofUser.Delete(tx, e.UID, e.ID), details.Delete(tx, e.UID, e.ID),
			accountDetails.Delete(tx, e.UID, e.ID))
	})
	if err != nil {
		return 0, fmt.Errorf("trim events: %w", err)
	}
	return len(old), nil
}
