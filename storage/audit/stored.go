package audit

import (
	"context"
	"errors"
	"strings"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// stored is an event as it was found in the log.
type stored struct {
	Event
	key    string // under which it lies; the event's id, unless it is damaged
	format byte   // storedOpen or storedShut
	leaf   hash
	bytes  []byte // of the event
	damage string
}

// What can be wrong with an event in the store, for people.
const (
	damageEvent  = "the event cannot be read"
	damageLeaf   = "the event does not match its leaf"
	damageDetail = "the detail does not match the event"
	damageKey    = "the user's log key cannot be read, so the event cannot be checked"
)

// decode reads the stored bytes under an id. If they cannot be read it returns an event of type [Damaged], with the
// time of the id, about uid, whose pointer led here.
func decode(uid storage.UID, id string, value []byte) stored {
	found := stored{key: id}
	var err error
	found.format, found.leaf, found.bytes, err = unseal(value)
	if err == nil {
		err = json.Unmarshal(found.bytes, &found.Event)
	}
	if err != nil || found.ID != id {
		found.Event = Event{
			ID:   strings.ToValidUTF8(id, "?"),
			Type: Damaged,
			Time: timeOf(id),
			UID:  uid,
		}
		found.damage = damageEvent
	}
	return found
}

// join adds the details that still exist to the events, in one View, and checks the events against their leaves.
func join(ctx context.Context, s *storage.Store, found []stored) (entries []Entry, err error) {
	err = s.View(ctx, func(tx *storage.Tx) error {
		keys := map[storage.UID]foundKey{}
		entries = make([]Entry, 0, len(found))
		for _, e := range found {
			entry, err := e.join(tx, keys)
			if err != nil {
				return err
			}
			entries = append(entries, entry)
		}
		return nil
	})
	return entries, err
}

// join returns the event with its detail. keys caches the users' log keys that were read so far.
func (e *stored) join(tx *storage.Tx, keys map[storage.UID]foundKey) (Entry, error) {
	entry := Entry{Event: e.Event, Damage: e.damage}
	if e.damage != "" {
		return entry, nil
	}
	key, known := keys[e.UID]
	if !known && !e.UID.IsZero() {
		var err error
		if key, err = keyOf(tx, e.UID); err != nil {
			return entry, err
		}
		keys[e.UID] = key
	}
	entry.Damage = e.check(key)
	detail, intact, err := e.detail(tx)
	if err != nil {
		return entry, err
	}
	if !intact && entry.Damage == "" {
		entry.Damage = damageDetail
	}
	entry.Detail = detail
	return entry, nil
}

// check compares the event with its leaf and says what is wrong; "" when nothing is, or when the opening is lost.
func (e *stored) check(key foundKey) (damage string) {
	opening := openToAll
	switch {
	case e.format == storedShut:
		return ""
	case hidesNothing(e.Event):
	case key.damaged:
		return damageKey
	case key.bytes == nil:
		return ""
	default:
		opening = openingOf(key.bytes, e.ID)
	}
	if _, leaf, _, err := unseal(seal(e.format, opening, e.bytes)); err != nil || leaf != e.leaf {
		return damageLeaf
	}
	return ""
}

// detail reads the detail if it still exists. A detail that does not match its digest is not returned: intact is false.
func (e *stored) detail(tx *storage.Tx) (d Detail, intact bool, err error) {
	for _, in := range e.detailTables() {
		kept, err := in.Get(tx, e.UID, e.ID)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			continue
		case errors.Is(err, storage.ErrDamaged):
			return Detail{}, false, nil
		case err != nil:
			return Detail{}, false, err
		}
		if e.V > 0 && digestOf(*kept) != e.Digest || json.Unmarshal(*kept, &d) != nil {
			return Detail{}, false, nil //nolint:nilerr // that it is damaged is the answer
		}
		return d, true, nil
	}
	return Detail{}, true, nil
}

// detailTables are the tables of which one may hold the event's detail.
func (e *stored) detailTables() []*storage.Table[[]byte] {
	switch {
	case !e.UID.IsZero():
		return []*storage.Table[[]byte]{details, accountDetails}
	case e.Digest != "":
		return []*storage.Table[[]byte]{houseDetails}
	default: // as most of the installation's are: none is looked for
		return nil
	}
}
