package outbox

import (
	"errors"
	"slices"

	"tutela/storage"
)

// MostWaiting is how many entries of a class may wait for one user. Without a bound, a push service that hangs for a
// day would let somebody pile up entries all day.
const MostWaiting = 256

// makeRoom removes entries when owner has MostWaiting: of the most frequent kind, those that expire first. The sender
// later drops their pointers, which then lead to nothing.
func makeRoom(tx *storage.Tx, in *storage.Table[stored], owner storage.UID) error {
	if owner.IsZero() {
		return nil
	}
	n := 0
	err := in.Keys(tx, owner, "", func(string) bool {
		n++
		return true
	})
	if err != nil || n < MostWaiting {
		return err
	}
	// Find the most frequent kind; of two, the first by name.
	rows, err := in.All(tx, owner)
	byKind := make(map[string][]*stored)
	most := ""
	for _, row := range rows {
		kind := row.Record.Kind
		byKind[kind] = append(byKind[kind], row.Record)
	}
	for kind, waiting := range byKind {
		if more := len(waiting) - len(byKind[most]); more > 0 || more == 0 && kind < most {
			most = kind
		}
	}
	waiting := byKind[most]
	slices.SortStableFunc(waiting, func(a, b *stored) int { return a.Expires.Compare(b.Expires) })
	for _, e := range waiting[:min(len(waiting), n-MostWaiting+1)] {
		err = errors.Join(err, in.Delete(tx, owner, e.ID))
	}
	return err
}
