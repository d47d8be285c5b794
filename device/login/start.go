package login

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"tutela/storage"
)

// StartsPerMinute is how many logins by grant a client can start for a user from one network in any 60 seconds. A flood from
// one network blocks no other network. To spend a code is not counted at all.
const StartsPerMinute = 60

// startsKept bounds a user's logins by grant that are under way at a client. Beyond it the oldest login of the network with the
// most logins is forgotten: so a flood displaces its own logins.
const startsKept = 256

// starts holds the logins by grant that a client has started for a user and that may be under way, oldest first.
type starts struct {
	Recent []start `json:"recent"`
}

// start is a login by grant in short.
type start struct {
	Key     string `json:"key,omitempty"` // key of the login's row; empty when it is decided or forgotten
	Network string `json:"network,omitempty"`
	Began   int64  `json:"began"` // Unix nanoseconds
}

var startTable = storage.Declare(storage.Spec[starts]{Name: "mfa_start", Class: storage.MFA, Most: mostClients})

func startsOf(tx *storage.Tx, uid storage.UID, client string) (*starts, error) {
	s, err := startTable.Get(tx, uid, client)
	if errors.Is(err, storage.ErrNotFound) {
		return &starts{}, nil
	}
	return s, err
}

// startsRecorded is how many logins by grant of a network may be under way before their events are only counted.
const startsRecorded = 5

// admitStart adds a login by grant, unless its network has started too many in the last minute. It returns often when the
// network has more than startsRecorded under way.
//
// Errors: ErrTooManyStarts, with the time to wait.
func admitStart(tx *storage.Tx, uid storage.UID, key string, l *Login) (often bool, err error) {
	s, err := startsOf(tx, uid, l.Client)
	if err != nil {
		return false, err
	}
	from := Network(l.IP)
	err = s.count(tx.Now(), from)
	if err != nil {
		return false, err
	}
	often = s.from(from) >= startsRecorded
	s.Recent = append(s.Recent, start{Key: key, Network: from, Began: l.Created.UnixNano()})
	if len(s.Recent) > startsKept {
		forgotten := s.forget()
		if forgotten.Key != "" {
			err = logins.Delete(tx, uid, forgotten.Key)
		}
	}
	return often, errors.Join(err,
		forgetStarts(tx, uid, l.Client),
		startTable.Put(tx, uid, l.Client, s))
}

// from returns how many logins of a network are under way, or were started within the last minute.
func (s *starts) from(network string) (n int) {
	for _, r := range s.Recent {
		if r.Network == network {
			n++
		}
	}
	return n
}

// count drops logins that are over, and returns an error when a network may start no other.
//
// Errors: ErrTooManyStarts, with the time to wait.
func (s *starts) count(now time.Time, from string) error {
	over := now.Add(-mfaTokenLife).UnixNano()
	periodAgo := now.Add(-pacePeriod).UnixNano()
	s.Recent = slices.DeleteFunc(s.Recent, func(r start) bool {
		return r.Began <= over || r.Key == "" && r.Began <= periodAgo
	})
	var within []int64
	for _, r := range s.Recent {
		if r.Network == from && r.Began > periodAgo {
			within = append(within, r.Began)
		}
	}
	if n := len(within); n >= StartsPerMinute {
		return ErrTooManyStarts.After(time.Duration(within[n-StartsPerMinute] - periodAgo))
	}
	return nil
}

// forget removes the oldest login of the network that has the most. When several networks have as many, it takes the network
// whose oldest login is the oldest.
func (s *starts) forget() start {
	have := make(map[string]int, 1)
	for _, r := range s.Recent {
		have[r.Network]++
	}
	most := slices.MaxFunc(s.Recent, func(a, b start) int { return cmp.Compare(have[a.Network], have[b.Network]) }) // the first of them
	at := slices.IndexFunc(s.Recent, func(r start) bool { return r.Network == most.Network })
	forgotten := s.Recent[at]
	s.Recent = slices.Delete(s.Recent, at, at+1)
	return forgotten
}

// settleStart notes that a login by grant was decided. Its row stays, because the client may ask for the answer again.
func settleStart(tx *storage.Tx, l row) error {
	s, err := startsOf(tx, l.UID, l.Record.Client)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(s.Recent, func(r start) bool { return r.Key == l.Key })
	if at < 0 {
		return nil
	}
	s.Recent[at].Key = ""
	return startTable.Put(tx, l.UID, l.Record.Client, s)
}
