package login

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tutela/storage"
)

// Spent is an empty bucket of a user's pushes. Logins that take from it ring no phone; only the app's own list shows them.
type Spent struct {
	Client  string    // that asks
	Network string    // one of the user's own; Others for all that are not; empty for her own logins that come without an address
	Until   time.Time // when a push comes back
}

// Others stands for all networks that are not the user's own.
const Others = "*"

// SpentBuckets returns the user's empty buckets, grouped by client.
func SpentBuckets(tx *storage.Tx, uid storage.UID) ([]Spent, error) {
	most, err := pushBudget.Get(tx)
	if err != nil {
		return nil, err
	}
	rows, err := budgets.All(tx, uid)
	if err != nil {
		return nil, err
	}
	var list []Spent
	for _, row := range rows {
		for place, b := range row.Record.buckets(tx.Now()) {
			if until := b.emptyUntil(tx.Now(), most); !until.IsZero() {
				list = append(list, Spent{Client: row.Key, Network: place, Until: until})
			}
		}
	}
	slices.SortFunc(list, func(a, b Spent) int {
		return cmp.Or(strings.Compare(a.Client, b.Client), strings.Compare(a.Network, b.Network))
	})
	return list, nil
}

// buckets returns the budget's buckets, by place.
func (b *budget) buckets(now time.Time) map[string]bucket {
	all := map[string]bucket{Others: b.bucket}
	for network, o := range b.Own {
		if b.owns(now, network) {
			all[network] = o.bucket
		}
	}
	return all
}

// emptyUntil returns when a push comes back to a bucket that holds most pushes; zero when it has one now.
func (b bucket) emptyUntil(now time.Time, most int) (until time.Time) {
	b.refill(now)
	for next := b.Since; b.Used >= most; b.Used-- {
		next = next.Add(returnAfter(b.Returned))
		b.Returned++
		until = next
	}
	return until
}
