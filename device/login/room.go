package login

import (
	"cmp"
	"errors"
	"slices"

	"tutela/storage"
)

// mostLogins bounds the logins of a user that are there at a time: that wait, or whose outcome can be asked for. A person has a
// few. Somebody who has her password can ask through many clients and from many networks, and each login is there for up to ten
// minutes.
const mostLogins = 256

// add writes a new login, and makes room for it.
func add(tx *storage.Tx, uid storage.UID, key string, l *Login) error {
	return errors.Join(makeRoom(tx, uid), logins.Insert(tx, uid, key, l))
}

// makeRoom removes logins of the user until one more is within the bound: the oldest of the network that has most, through whichever
// client. So a flood forgets its own. What comes from a network from which she has logged in before goes late, and what she has decided
// goes last: nobody else decides anything, and its client may ask for the answer again.
func makeRoom(tx *storage.Tx, uid storage.UID) error {
	n := 0
	err := logins.Keys(tx, uid, "", func(string) bool {
		n++
		return true
	})
	if err != nil || n < mostLogins {
		return err
	}
	rows, err := logins.All(tx, uid)
	if err != nil {
		return err
	}
	hers, err := NetworksOf(tx, uid)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(a.Record.Created.Compare(b.Record.Created), cmp.Compare(a.Key, b.Key))
	})
	for len(rows) >= mostLogins {
		at := leastMissed(rows, hers)
		err = errors.Join(err, logins.Delete(tx, uid, rows[at].Key))
		rows = slices.Delete(rows, at, at+1)
	}
	return err
}

// leastMissed is the place among logins, oldest first, of the one that goes first. hers are the networks from which the user has
// logged in before.
func leastMissed(rows []row, hers []string) int {
	begun := make(map[string]int, len(rows))
	for _, r := range rows {
		if r.Record.State == Pending {
			begun[Network(r.Record.IP)]++
		}
	}
	for _, network := range hers {
		delete(begun, network)
	}
	// When none that waits is of a stranger's network, it is the oldest that waits, or else the oldest.
	at := max(0, slices.IndexFunc(rows, func(r row) bool { return r.Record.State == Pending }))
	most := 0
	for i, r := range rows {
		if n := begun[Network(r.Record.IP)]; r.Record.State == Pending && n > most {
			at = i
			most = n
		}
	}
	return at
}
