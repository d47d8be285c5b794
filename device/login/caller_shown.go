package login

import (
	"errors"
	"time"

	"tutela/storage"
)

// CallerShown is a caller check as a page shows it to the actor who has asked.
type CallerShown struct {
	CallerAsked // Expires is from now on, and zero once it is over
	State       CallerState
	Asked       time.Time
	Until       time.Time // when nobody can answer any more
	Note        string
	Counts      bool // a reset may name it
}

// LatestCaller returns the latest caller check that an actor has asked of a user. A check is kept while it can be
// answered and, when approved, while it counts. there is false when there is none.
func (s *Service) LatestCaller(tx *storage.Tx, by string, uid storage.UID) (shown CallerShown, there bool, err error) {
	c, err := callersOf(tx, uid)
	if err != nil {
		return shown, false, err
	}
	for i := len(c.Asked) - 1; i >= 0; i-- {
		l, err := read(tx, uid, c.Asked[i].Key)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return shown, false, err
		}
		if l.Record.Purpose != purposeCaller || l.Record.Client != by {
			continue
		}
		shown = CallerShown{
			CallerAsked: CallerAsked{
				ID:      s.idOf(callerPrefix, l.UID, l.Key),
				Number:  l.Record.Number,
				Expires: max(l.Record.Expires.Sub(tx.Now()), 0),
			},
			State: l.Record.callerState(tx.Now()),
			Asked: l.Record.Created,
			Until: l.Record.Expires,
			Note:  l.Record.Message,
		}
		shown.Counts = shown.State == CallerApproved && tx.Now().Before(l.Record.Decided.Add(callerCounts))
		return shown, true, nil
	}
	return shown, false, nil
}
