package outbox

import (
	"errors"
	"slices"

	"tutela/storage"
)

// MostWaiting is how many entries of a class wait for one user: a push service that hangs for a day would else gather what
// somebody causes in that day.
const MostWaiting = 256

// makeRoom removes an entry of the kind that has most, the one that ends first, when owner has MostWaiting. Its pointer points
// at nothing then, and the sender drops it.
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
