package audit

import (
	"errors"
	"slices"
	"sync"

	"tutela/storage"
)

// Follower is called with each event that it follows, id and time included, in the transaction that records the event.
// Its writes are committed with the event or not at all. It must not record events.
type Follower func(tx *storage.Tx, e Event) error

// followed lists the types of events that each follower wants, by the follower's name.
type followed struct {
	Types map[string][]Type `json:"types"`
}

// following has one row, or none while nobody follows. Then an event costs one read of a missing row.
var following = storage.Declare(storage.Spec[followed]{Name: "event_follower", Class: storage.Settings})

var followers = struct {
	sync.RWMutex
	byName map[string]Follower
}{byName: make(map[string]Follower)}

// OnRecord registers f as the follower with the given name. Call it once for each name, from the init of the declaring
// package. f is not called until [SetFollowed] says which events it wants.
func OnRecord(name string, f Follower) {
	followers.Lock()
	defer followers.Unlock()
	followers.byName[name] = f
}

// SetFollowed sets which types of events a follower is called for from now on; with none it is not called.
func SetFollowed(tx *storage.Tx, name string, types []Type) error {
	row, err := following.Get(tx, storage.House, "")
	if errors.Is(err, storage.ErrNotFound) {
		row = &followed{}
		err = nil
	}
	if err != nil {
		return err
	}
	if row.Types == nil {
		row.Types = map[string][]Type{}
	}
	delete(row.Types, name)
	if len(types) > 0 {
		row.Types[name] = types
	}
	if len(row.Types) == 0 {
		return following.Delete(tx, storage.House, "")
	}
	return following.Put(tx, storage.House, "", row)
}

// tellFollowers calls the followers of this type of event. When the row is damaged it calls nobody: a login must not
// fail for it.
func tellFollowers(tx *storage.Tx, e Event) error {
	row, err := following.Get(tx, storage.House, "")
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	followers.RLock()
	defer followers.RUnlock()
	for name, types := range row.Types {
		f := followers.byName[name]
		if f == nil || !slices.Contains(types, e.Type) && !slices.Contains(types, EveryType) {
			continue
		}
		if err := f(tx, e); err != nil {
			return err
		}
	}
	return nil
}

// ReadRecorded returns an event about uid, or the house, as it was recorded, without its detail.
//
// Errors: ErrNotFound, also for one that cannot be read.
func ReadRecorded(tx *storage.Tx, uid storage.UID, id string) (Event, error) {
	if !validID(id) {
		return Event{}, ErrNotFound
	}
	value, err := events.Get(tx, uid, id)
	if err != nil {
		return Event{}, err
	}
	if value == nil {
		return Event{}, ErrNotFound
	}
	found := decode(uid, id, value)
	if found.Type == Damaged {
		return Event{}, ErrNotFound
	}
	return found.Event, nil
}
