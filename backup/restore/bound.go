package restore

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"tutela/device/login"
	"tutela/storage"
)

// The bounds on a user's restores: a thief of a platform backup can start many.
const (
	mostOpen    = 24 // open restores
	mostOver    = 48 // ended restores, kept for an admin to see
	mostHandles = 16 // handles whose starts are counted
	mostKeys    = 64 // keys that the starts of one handle named within the hour
)

// makeRoom removes restores of the user until one more is within the bounds. Among restores that are over, the oldest go,
// and first those that led to nothing. Among the open ones, it removes the oldest of the network that has begun the most: so
// a flood evicts itself. A restore that the old installation has allowed stays, and so does the latest of each network from
// which the user has logged in before.
func makeRoom(tx *storage.Tx, uid storage.UID) error {
	rows, err := restores.All(tx, uid)
	if err != nil || len(rows) < mostOpen {
		return err
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(a.Record.Started.Compare(b.Record.Started), cmp.Compare(a.Key, b.Key))
	})
	// Restores that are over have a bound of their own, so they displace no open one.
	var open, over []row
	for _, r := range rows {
		if r.Record.over(tx) {
			over = append(over, r)
		} else {
			open = append(open, r)
		}
	}
	for len(over) > mostOver {
		least := slices.MinFunc(over, func(a, b row) int { return cmp.Compare(a.Record.weight(), b.Record.weight()) })
		err = errors.Join(err, restores.Delete(tx, uid, least.Key))
		over = without(over, least)
	}
	for err == nil && len(open) >= mostOpen {
		var victim row
		if victim, err = evictable(tx, uid, open); err == nil {
			err = restores.Delete(tx, uid, victim.Key)
			open = without(open, victim)
		}
	}
	return err
}

func without(rows []row, gone row) []row {
	return slices.DeleteFunc(rows, func(r row) bool { return r.Key == gone.Key })
}

// over reports whether the restore has ended.
func (r *restore) over(tx *storage.Tx) bool {
	return !r.Done.IsZero() || !r.Chosen.IsZero() || !tx.Now().Before(r.Expires)
}

// weight says how much a restore that is over is worth keeping: a done one repeats its answer for thirty days.
func (r *restore) weight() int {
	switch {
	case !r.Done.IsZero():
		return 2
	case !r.Vetoed.IsZero():
		return 1
	default:
		return 0
	}
}

// evictable returns the open restore that goes first. open is oldest first.
func evictable(tx *storage.Tx, uid storage.UID, open []row) (row, error) {
	hers, err := login.NetworksOf(tx, uid)
	if err != nil {
		return row{}, err
	}
	latest := make(map[string]string, len(open))
	for _, r := range open {
		latest[r.Record.Network] = r.Key
	}
	may := slices.DeleteFunc(slices.Clone(open), func(r row) bool {
		network := r.Record.Network
		return !r.Record.Allowed.IsZero() || latest[network] == r.Key && slices.Contains(hers, network)
	})
	if len(may) == 0 {
		return open[0], nil
	}
	begun := make(map[string]int, len(may))
	for _, r := range may {
		begun[r.Record.Network]++
	}
	return slices.MaxFunc(may, func(a, b row) int { // the first of equals
		return cmp.Compare(begun[a.Record.Network], begun[b.Record.Network])
	}), nil
}

// forgetHandles removes the counts of the handles that were used longest ago, until one more is within the bound.
// Handles exist only for the user's backups: a thief of a platform backup has one of them and cannot make others.
func forgetHandles(tx *storage.Tx, uid storage.UID) error {
	counts, err := startTable.All(tx, uid)
	if err != nil || len(counts) < mostHandles {
		return err
	}
	last := func(r storage.Row[starts]) time.Time { return r.Record.Times[len(r.Record.Times)-1] }
	slices.SortStableFunc(counts, func(a, b storage.Row[starts]) int { return last(a).Compare(last(b)) })
	for _, gone := range counts[:len(counts)-mostHandles+1] {
		keys, err := namedKeys.Prefixed(tx, uid, gone.Key)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := namedKeys.Delete(tx, uid, k.Key); err != nil {
				return err
			}
		}
		if err := startTable.Delete(tx, uid, gone.Key); err != nil {
			return err
		}
	}
	return nil
}

// forgetKeys removes the oldest keys that the starts of a handle named, until one more is within the bound. A caller may name
// a forgotten key again; that call still counts against his address.
func forgetKeys(tx *storage.Tx, uid storage.UID, handle string) error {
	keys, err := namedKeys.Prefixed(tx, uid, handle)
	if err != nil || len(keys) < mostKeys {
		return err
	}
	slices.SortFunc(keys, func(a, b storage.Row[namedKey]) int { return a.Record.At.Compare(b.Record.At) })
	for _, k := range keys[:len(keys)-mostKeys+1] {
		err = errors.Join(err, namedKeys.Delete(tx, uid, k.Key))
	}
	return err
}
