package login

import (
	"errors"
	"slices"
	"time"

	"tutela/storage"
)

// PushesPerMinute is how many requests for a push a client can make about a user in any 60 seconds. Each of the user's own
// networks, as the push budget knows them, counts for itself, and all others count together. So a flood from elsewhere
// blocks none of her own logins.
const PushesPerMinute = 12

const pacePeriod = time.Minute

// pace holds the recent requests for a push about a user: those of the last minute, and those that have not expired. It bounds
// their number, and finds the pending ones without a scan.
type pace struct {
	Recent []recent `json:"recent"` // oldest first
}

// recent is a login in short. For a decided login it keeps only the time when it began. Times are Unix nanoseconds: every call
// about a login reads the row, and to parse a dozen RFC 3339 times would be most of that work.
type recent struct {
	Key     string `json:"key,omitempty"`
	Began   int64  `json:"began"`
	Expires int64  `json:"expires,omitempty"`
	Client  string `json:"client,omitempty"` // none in a row of an earlier release, which counts for nobody
	Place   string `json:"place,omitempty"`  // as budget.placeOf returns it
}

// countsWith reports whether two requests count together.
func (r recent) countsWith(other recent) bool {
	return r.Client == other.Client && r.Place == other.Place
}

func newRecent(key string, l *Login, place string) recent {
	return recent{
		Key:     key,
		Began:   l.Created.UnixNano(),
		Expires: l.Expires.UnixNano(),
		Client:  l.Client,
		Place:   place,
	}
}

var paces = storage.Declare(storage.Spec[pace]{Name: "pace", Class: storage.MFA, Most: 1})

// thePace is the key of a user's only row in the table.
const thePace = ""

func paceOf(tx *storage.Tx, uid storage.UID) (*pace, error) {
	p, err := paces.Get(tx, uid, thePace)
	if errors.Is(err, storage.ErrNotFound) {
		return &pace{}, nil
	}
	return p, err
}

// admit adds a request, unless its place has had too many in the last minute.
//
// Errors: ErrTooMany, with the time to wait.
func (p *pace) admit(now time.Time, added recent) error {
	at := now.UnixNano()
	periodAgo := now.Add(-pacePeriod).UnixNano()
	p.Recent = slices.DeleteFunc(p.Recent, func(r recent) bool {
		return r.Began <= periodAgo && r.Expires <= at
	})
	var within []recent
	for _, r := range p.Recent {
		if r.Began > periodAgo && r.countsWith(added) {
			within = append(within, r)
		}
	}
	if n := len(within); n >= PushesPerMinute {
		return ErrTooMany.After(time.Duration(within[n-PushesPerMinute].Began - periodAgo))
	}
	p.Recent = append(p.Recent, added)
	return nil
}

// pendingOf returns the approvals of the user that can still be decided, oldest first.
func pendingOf(tx *storage.Tx, uid storage.UID) ([]row, error) {
	p, err := paceOf(tx, uid)
	if err != nil {
		return nil, err
	}
	return p.pending(tx, uid)
}

func (p *pace) pending(tx *storage.Tx, uid storage.UID) ([]row, error) {
	var list []row
	for _, r := range p.Recent {
		if r.Expires <= tx.Now().UnixNano() { // or decided, and has none
			continue
		}
		l, err := read(tx, uid, r.Key)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if l.Record.pending(tx.Now()) && l.Record.Challenge != "" {
			list = append(list, l)
		}
	}
	return list, nil
}

// forget notes that the login under a key no longer counts as pending. What was asked still counts.
func (p *pace) forget(key string) {
	for i := range p.Recent {
		if p.Recent[i].Key == key {
			p.Recent[i].Key = ""
			p.Recent[i].Expires = 0
		}
	}
}

// settle notes that a login was decided and no longer counts as pending.
func settle(tx *storage.Tx, l row) error {
	if l.Record.Challenge == "" {
		return settleStart(tx, l)
	}
	p, err := paceOf(tx, l.UID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(p.Recent, func(r recent) bool { return r.Key == l.Key }) {
		return nil
	}
	p.forget(l.Key)
	return paces.Put(tx, l.UID, thePace, p)
}
