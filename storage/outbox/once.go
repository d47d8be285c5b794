package outbox

import (
	"context"
	"errors"
	"time"

	"tutela/storage"
)

// mark is a row of a user that says that an entry has done its work on that user.
type mark struct {
	Until time.Time `json:"until"`
}

// marks outlive a reset, so that work done before it is not done again after it.
var marks = storage.Declare(storage.Spec[mark]{
	Name:    "outbox_mark",
	Class:   storage.Account,
	Most:    MostWaiting,
	Expires: func(m *mark) time.Time { return m.Until },
})

// markLife is how long a mark outlives its entry: an attempt may have begun just before the entry expired.
const markLife = time.Minute

// Once runs fn in a transaction of its own on the rows of uid, for an entry that acts on another user than its owner.
// fn takes effect once, however often the entry is tried: the transaction leaves a mark among uid's rows, and later
// attempts that find the mark skip fn. fn must first read the user again, who may have been reset or deleted since the
// entry was added. When fn fails, nothing is written, and it runs again with the next attempt.
//
// Errors: those of fn; those of the store.
func (e Entry[P]) Once(ctx context.Context, store *storage.Store, uid storage.UID, fn func(tx *storage.Tx) error) error {
	return store.Update(ctx, func(tx *storage.Tx) error {
		done, err := marks.Has(tx, uid, e.ID)
		if err != nil || done {
			return err
		}
		return errors.Join(marks.Put(tx, uid, e.ID, &mark{Until: e.Expires.Add(markLife)}), fn(tx))
	})
}
