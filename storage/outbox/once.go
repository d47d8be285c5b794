package outbox

import (
	"context"
	"errors"
	"time"

	"tutela/storage"
)

// mark remembers among a user's rows that an entry has done its work there.
type mark struct {
	Until time.Time `json:"until"`
}

// marks outlive a reset: what was done before it is not done again after it.
var marks = storage.Declare(storage.Spec[mark]{
	Name:    "outbox_mark",
	Class:   storage.Account,
	Most:    MostWaiting,
	Expires: func(m *mark) time.Time { return m.Until },
})

// markLife is how long a mark outlives its entry, which may just have begun an attempt when it expires.
const markLife = time.Minute

// Once runs fn in a transaction of uid's own, for an entry that acts on another user's rows than its owner's. It runs fn
// once, however often the entry is tried: the transaction leaves a mark among uid's rows, and while that is there fn is
// passed over. fn looks at the user again first, who may have been reset or deleted since the entry was added; with an
// error it writes nothing, and runs again with the next attempt.
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
