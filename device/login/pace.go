package login

import (
	"errors"
	"slices"
	"time"

	"tutela/storage"
)

// PerMinute is how many logins of a user can begin in any 60 seconds.
const PerMinute = 12

const pacePeriod = time.Minute

// pace is a user's recent logins: those that began within the last minute or are not past their expiry. It bounds
// how many there are, and finds the pending ones without a scan.
type pace struct {
	Recent []recent `json:"recent"` // oldest first
}

type recent struct {
	Key     string    `json:"key"`
	Began   time.Time `json:"began"`
	Expires time.Time `json:"expires"`
}

var paces = storage.Declare(storage.Spec[pace]{Name: "pace", Class: storage.MFA})

// thePace is the key of the one row a user has in the table.
const thePace = ""

func paceOf(tx *storage.Tx, uid storage.UID) (*pace, error) {
	p, err := paces.Get(tx, uid, thePace)
	if errors.Is(err, storage.ErrNotFound) {
		return &pace{}, nil
	}
	return p, err
}

// admit adds a login, unless there were too many in the last minute.
//
// Errors: ErrTooMany, with the time to wait.
func (p *pace) admit(now time.Time, added recent) error {
	p.Recent = slices.DeleteFunc(p.Recent, func(r recent) bool {
		return now.Sub(r.Began) >= pacePeriod && !now.Before(r.Expires)
	})
	var within []recent
	for _, r := range p.Recent {
		if now.Sub(r.Began) < pacePeriod {
			within = append(within, r)
		}
	}
	if n := len(within); n >= PerMinute {
		return ErrTooMany.After(within[n-PerMinute].Began.Add(pacePeriod).Sub(now))
	}
	p.Recent = append(p.Recent, added)
	return nil
}

// keyed is a login with its key.
type keyed struct {
	key string
	*Login
}

// pendingOf returns the approvals of the user that can still be decided, oldest first.
func pendingOf(tx *storage.Tx, uid storage.UID) ([]keyed, error) {
	p, err := paceOf(tx, uid)
	if err != nil {
		return nil, err
	}
	return p.pending(tx, uid)
}

func (p *pace) pending(tx *storage.Tx, uid storage.UID) ([]keyed, error) {
	var list []keyed
	for _, r := range p.Recent {
		if !tx.Now().Before(r.Expires) {
			continue
		}
		l, err := logins.Get(tx, uid, r.Key)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if l.pending(tx.Now()) && l.Challenge != "" {
			list = append(list, keyed{r.Key, l})
		}
	}
	return list, nil
}
