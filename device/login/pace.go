package login

import (
	"errors"
	"slices"
	"time"

	"tutela/storage"
)

// PushesPerMinute is how many requests for a push a client can make about a user in any 60 seconds: from each network of her
// own, as the push budget has them, and from all others together. So a flood from elsewhere closes nothing that is hers.
const PushesPerMinute = 12

const pacePeriod = time.Minute

// pace is the recent requests for a push about a user: those that were made within the last minute or are not past their
// expiry. It bounds how many there are, and finds the pending ones without a scan.
type pace struct {
	Recent []recent `json:"recent"` // oldest first
}

// recent is a login in short; of one that is decided only when it began. Times are Unix nanoseconds: the row is read
// at every call about a login, and a dozen RFC 3339 times would be most of what that costs.
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

// thePace is the key of the one row a user has in the table.
const thePace = ""

func paceOf(tx *storage.Tx, uid storage.UID) (*pace, error) {
	p, err := paces.Get(tx, uid, thePace)
	if errors.Is(err, storage.ErrNotFound) {
		return &pace{}, nil
	}
	return p, err
}

// admit adds a request, unless there were too many that count with it in the last minute.
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

// settle notes that a login was decided, so that it counts as pending no longer.
func settle(tx *storage.Tx, l row) error {
	if l.Record.Challenge == "" {
		return settleStart(tx, l)
	}
	p, err := paceOf(tx, l.UID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(p.Recent, func(r recent) bool { return r.Key == l.Key })
	if at < 0 {
		return nil
	}
	p.Recent[at].Key = ""
	p.Recent[at].Expires = 0
	return paces.Put(tx, l.UID, thePace, p)
}
