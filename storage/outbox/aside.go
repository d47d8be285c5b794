package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

// Aside is an entry that could not be read. It was taken out of the outbox, so that the others go on, and lies aside
// for a person to look at.
type Aside struct {
	ID          string      `json:"id"`
	Owner       storage.UID `json:"uid,omitzero"`          // none: the House, or it was the pointer that could not be read
	Destination string      `json:"destination,omitempty"` // as far as it is known
	Why         string      `json:"why"`
	At          time.Time   `json:"at"`
	Key         string      `json:"key"`           // of the pointer in the log, quoted
	Pointer     []byte      `json:"pointer"`       // as it was stored
	Row         []byte      `json:"row,omitempty"` // of the payload, as it was stored
}

// An aside of a user may hold the payload, so a reset removes it. A log lists where the asides lie: its keys are their
// ids and its values their owners.
var (
	asides      = storage.Declare(storage.Spec[Aside]{Name: "outbox_aside", Class: storage.MFA, Most: MostWaiting})
	houseAsides = storage.Declare(storage.Spec[Aside]{Name: "outbox_aside_house", Class: storage.Settings})
	asideLog    = storage.DeclareLog("outbox_aside")
)

func asideTable(owner storage.UID) *storage.Table[Aside] {
	if owner.IsZero() {
		return houseAsides
	}
	return asides
}

// put stores the aside and its entry in the log.
func (a *Aside) put(tx *storage.Tx) error {
	where, err := json.Marshal(a.Owner)
	if err != nil {
		return err
	}
	a.ID = storage.NewID("obx_", idLength)
	a.At = tx.Now()
	return errors.Join(asideTable(a.Owner).Put(tx, a.Owner, a.ID, a), asideLog.Append(tx, a.Owner, a.ID, where))
}

// setAside moves an entry whose payload cannot be read from the outbox to the asides. It returns again when the entry
// is still in the outbox.
func (s *Sender) setAside(p pointer, why error) (again bool) {
	done := false
	err := s.insist("set an entry aside", func() error {
		return s.store.Update(s.work, func(tx *storage.Tx) error {
			done = false
			there, err := p.there(tx)
			if err != nil || !there {
				return err
			}
			row, err := p.table().Uproot(tx, p.Owner, p.ID)
			if err != nil {
				return err
			}
			a := &Aside{
				Owner:       p.Owner,
				Destination: p.destination,
				Why:         why.Error(),
				Row:         row,
			}
			done = true
			return errors.Join(a.take(tx, p.key()), a.put(tx))
		})
	})
	if err == nil && done {
		s.log.Error(setAsideMessage, "destination", p.destination, "entry", p.ID, "err", why)
	}
	return err != nil
}

const setAsideMessage = "outbox: an entry cannot be read and was set aside"

// take moves the pointer's bytes from the log into the aside.
func (a *Aside) take(tx *storage.Tx, key string) (err error) {
	a.Key = fmt.Sprintf("%q", key)
	a.Pointer, err = pointers.Uproot(tx, key)
	return err
}

// damagedPointer is a pointer that a look could not read.
type damagedPointer struct {
	key string
	why error
}

// setAsidePointers moves pointers that cannot be read to the asides.
func (s *Sender) setAsidePointers(ctx context.Context, damaged []damagedPointer) error {
	if len(damaged) == 0 {
		return nil
	}
	err := s.store.UpdateEach(ctx, len(damaged), func(tx *storage.Tx, i int) error {
		a := &Aside{Why: damaged[i].why.Error()}
		if err := a.take(tx, damaged[i].key); err != nil || a.Pointer == nil {
			return err
		}
		return a.put(tx)
	})
	if err == nil {
		s.log.Error(setAsideMessage, "pointers", len(damaged), "first", damaged[0].key, "err", damaged[0].why)
	}
	return err
}

// Asides returns the entries that lie aside, in no order.
func Asides(ctx context.Context, store *storage.Store) ([]Aside, error) {
	list := []Aside{}
	err := eachAside(ctx, store, func(id string, owner storage.UID) error {
		return store.View(ctx, func(tx *storage.Tx) error {
			a, err := asideTable(owner).Get(tx, owner, id)
			if err == nil {
				list = append(list, *a)
			}
			return ignoreNotFound(err) // a reset has removed it
		})
	})
	return list, err
}

// Forget removes an entry that lies aside.
//
// Errors: storage.ErrNotFound.
func Forget(ctx context.Context, store *storage.Store, id string) error {
	failed := error(storage.ErrNotFound)
	err := eachAside(ctx, store, func(found string, owner storage.UID) error {
		if found != id {
			return nil
		}
		failed = store.Update(ctx, func(tx *storage.Tx) error {
			return errors.Join(asideTable(owner).Delete(tx, owner, id), asideLog.Delete(tx, owner, id))
		})
		return failed
	})
	return errors.Join(err, failed)
}

// eachAside calls fn for every aside in the log, including those that a purge of their owner has removed.
func eachAside(ctx context.Context, store *storage.Store, fn func(id string, owner storage.UID) error) error {
	var failed error
	err := asideLog.Peek(ctx, store, "", "", false, func(id string, value []byte) bool {
		var owner storage.UID
		if failed = json.Unmarshal(value, &owner); failed == nil {
			failed = fn(id, owner)
		}
		return failed == nil
	})
	return errors.Join(err, failed)
}

// countAside counts the entries that lie aside.
func countAside(ctx context.Context, store *storage.Store) (n int, err error) {
	err = eachAside(ctx, store, func(string, storage.UID) error {
		n++
		return nil
	})
	return n, err
}

// tidyAside removes the log's entries for asides that a purge has removed.
func (s *Sender) tidyAside(ctx context.Context) error {
	return eachAside(ctx, s.store, func(id string, owner storage.UID) error {
		var has bool
		err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
			has, err = asideTable(owner).Has(tx, owner, id)
			return err
		})
		if err != nil || has {
			return err
		}
		return s.store.Update(ctx, func(tx *storage.Tx) error { return asideLog.Delete(tx, owner, id) })
	})
}

func ignoreNotFound(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}
