package login

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tutela/storage"
)

// Mute is a place whose logins ring none of the user's phones, because she said that it was not her.
type Mute struct {
	Client  string    // that asked
	Network string    // a /24 or, of IPv6, a /48; empty: logins that came without an address
	Until   time.Time // then they ring again
}

// Mutes returns the user's current mutes. The one that ends last comes first.
func Mutes(tx *storage.Tx, uid storage.UID) ([]Mute, error) {
	rows, err := budgets.All(tx, uid)
	if err != nil {
		return nil, err
	}
	var list []Mute
	for _, row := range rows {
		for place, until := range row.Record.Muted {
			if tx.Now().Before(until) {
				list = append(list, Mute{Client: row.Key, Network: place, Until: until})
			}
		}
	}
	slices.SortFunc(list, func(a, b Mute) int {
		return cmp.Or(b.Until.Compare(a.Until), strings.Compare(a.Client, b.Client), strings.Compare(a.Network, b.Network))
	})
	return list, nil
}
