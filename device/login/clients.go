package login

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"tutela/storage"
)

// mostClients bounds the clients with which a user has push budgets. Beyond it, the budget that holds back the least is
// dropped, since a new one differs least from it.
const mostClients = 64

// put writes the budget of a client, and makes room when it is a new one.
func (b *budget) put(tx *storage.Tx, uid storage.UID, client string) error {
	known, err := budgets.Has(tx, uid, client)
	if err == nil && !known {
		err = forgetBudgets(tx, uid)
	}
	return errors.Join(err, budgets.Put(tx, uid, client, b))
}

func forgetBudgets(tx *storage.Tx, uid storage.UID) error {
	rows, err := budgets.All(tx, uid)
	if err != nil || len(rows) < mostClients {
		return err
	}
	now := tx.Now()
	slices.SortStableFunc(rows, func(a, b storage.Row[budget]) int { return a.Record.worth(now) - b.Record.worth(now) })
	for _, row := range rows[:len(rows)-mostClients+1] {
		err = errors.Join(err, budgets.Delete(tx, uid, row.Key))
	}
	return err
}

// worth grows with what the budget holds back: muted networks count most, then used pushes.
func (b *budget) worth(now time.Time) int {
	for _, until := range b.Muted {
		if now.Before(until) {
			return 1000 + b.Used
		}
	}
	return b.Used
}

// forgetStarts makes room for the starts of a client that has none: those go whose last one is oldest.
func forgetStarts(tx *storage.Tx, uid storage.UID, client string) error {
	known, err := startTable.Has(tx, uid, client)
	if err != nil || known {
		return err
	}
	rows, err := startTable.All(tx, uid)
	if err != nil || len(rows) < mostClients {
		return err
	}
	slices.SortStableFunc(rows, func(a, b storage.Row[starts]) int { return cmp.Compare(a.Record.last(), b.Record.last()) })
	for _, row := range rows[:len(rows)-mostClients+1] {
		err = errors.Join(err, startTable.Delete(tx, uid, row.Key))
	}
	return err
}

// last is when the last login of these began, in Unix nanoseconds.
func (s *starts) last() int64 {
	if len(s.Recent) == 0 {
		return 0
	}
	return s.Recent[len(s.Recent)-1].Began
}
