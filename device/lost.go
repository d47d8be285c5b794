package device

import (
	"errors"
	"fmt"
	"time"

	"tutela/device/push"
	"tutela/storage"
	"tutela/storage/audit"
)

// lostKept is how long a lost address is kept, since services sometimes report live addresses as gone.
const lostKept = 30 * 24 * time.Hour

// PushState says whether pushes reach a phone.
type PushState string

// The states.
const (
	PushOK   PushState = "ok"
	PushLost PushState = "lost" // the push service has said that the address is gone
	PushNone PushState = "none" // the app has named no address
)

// Reach is how a phone is reached by pushes.
type Reach struct {
	State PushState
	Since time.Time // with PushLost: since when; zero when not known
	Why   string    // with PushLost: the push service's own word; "" when it gave none
}

// Reach returns whether pushes reach the phone. A lost address that is to be tried again stays lost until a push reaches it.
func (e *Enrollment) Reach() Reach {
	reach := Reach{State: PushNone}
	for _, unproven := range []bool{false, true} {
		kept := e.slot(unproven)
		switch {
		case kept.IsZero():
		case !kept.Lost:
			return Reach{State: PushOK}
		case reach.State == PushNone || kept.Since.After(reach.Since):
			reach = Reach{State: PushLost, Since: kept.Since, Why: kept.Why}
		}
	}
	return reach
}

// PushState returns whether pushes reach the phone, as Reach does.
func (e *Enrollment) PushState() PushState { return e.Reach().State }

// Said is what a push service has said about an address.
type Said struct {
	Gone    bool      // false: it has accepted a message
	AsOf    time.Time // with Gone: the time for which it says so; an address that the app has named later is kept
	Why     string    // with Gone: its own word
	Counted bool      // with Gone: it counts towards a wave; false at the other enrollments with the same address
}

// NotePush stores what the push service has said about an address. A gone address becomes lost: it is not used until
// the app calls again, and is erased after 30 days. An address that the app has named since then stays as it is.
func NotePush(tx *storage.Tx, uid storage.UID, id string, to push.Address, said Said) error {
	e, err := Get(tx, uid, id)
	if err != nil {
		return ignoreGone(err)
	}
	if e.Status == Retired {
		return nil
	}
	before := *e
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); kept.Open() == to {
			*kept = kept.Note(said.Gone, said.AsOf, tx.Now(), said.Why)
		}
	}
	if e.sameAddresses(&before) {
		return nil
	}
	return errors.Join(followAddresses(tx, uid, &before, e, said.Counted), Put(tx, uid, e))
}

// sameAddresses reports whether two states of an enrollment have the same addresses, in the same states.
func (e *Enrollment) sameAddresses(other *Enrollment) bool {
	return e.slot(false).Same(*other.slot(false)) && e.slot(true).Same(*other.slot(true))
}

// loss is the row of a lost address. When it expires, the address is erased.
type loss struct {
	Through string    `json:"through"` // as push.Address.Through names the service
	Since   time.Time `json:"since"`
	Counted bool      `json:"counted,omitempty"` // towards a wave
}

var losses = storage.Declare(storage.Spec[loss]{
	Name:    "push_lost",
	Class:   storage.MFA,
	Most:    2 * (MostEnrollments + MostRetired),
	Expires: func(l *loss) time.Time { return l.Since.Add(lostKept) },
	Swept:   eraseLost,
})

// lossesByTime finds the losses of a service in the order of their times.
var lossesByTime = losses.Plain("at", func(l *loss) []string {
	if !l.Counted {
		return nil
	}
	return []string{lossAt(l.Through, l.Since)}
})

func lossAt(through string, at time.Time) string {
	return fmt.Sprintf("%s %019d", through, at.UnixNano())
}

// lossKey is the key of the row of an enrollment's lost address.
func lossKey(id string, unproven bool) string {
	if unproven {
		return id + "/" + routeUnproven
	}
	return id + "/" + routeProven
}

// eraseLost erases an address that was lost too long ago. It runs when the row of its loss is swept.
func eraseLost(tx *storage.Tx, uid storage.UID, key string) error {
	e, err := Get(tx, uid, key[:min(len(key), IDCharacters)])
	if err != nil {
		return ignoreGone(err)
	}
	return Put(tx, uid, e) // Get has left the address out
}

// lapseLost erases the addresses that were lost too long ago. When and why they were lost stays.
func (e *Enrollment) lapseLost(now time.Time) {
	for _, unproven := range []bool{false, true} {
		kept := e.slot(unproven)
		if kept.Lost && !kept.Since.IsZero() && !now.Before(kept.Since.Add(lostKept)) {
			kept.Token = nil
			kept.Retry = false
		}
	}
}

// followAddresses updates the rows of losses after a change of an enrollment's addresses, and records when pushes stop
// or start to reach its phone.
func followAddresses(tx *storage.Tx, uid storage.UID, before, e *Enrollment, counted bool) error {
	var err error
	for _, unproven := range []bool{false, true} {
		was := before.slot(unproven)
		is := e.slot(unproven)
		key := lossKey(e.ID, unproven)
		switch {
		case is.Lost && (!was.Lost || !is.Since.Equal(was.Since)):
			err = errors.Join(err, losses.Put(tx, uid, key, &loss{
				Through: is.Open().Through(),
				Since:   is.Since,
				Counted: counted,
			}))
		case was.Lost && !is.Lost:
			err = errors.Join(err, losses.Delete(tx, uid, key))
		}
	}
	return errors.Join(err, recordReach(tx, uid, before, e))
}

// recordReach records that an address of the phone was lost, or that pushes reach the phone again.
func recordReach(tx *storage.Tx, uid storage.UID, before, e *Enrollment) error {
	facts := audit.Facts{}
	for _, unproven := range []bool{false, true} {
		was := before.slot(unproven)
		is := e.slot(unproven)
		if !is.Lost || was.Lost || is.Service != was.Service {
			continue
		}
		facts[audit.FactService] = audit.Word(is.Service.Provider())
		facts[audit.FactStatus] = audit.AddressLost
		if is.Why != "" {
			facts[audit.FactReason] = audit.Word(is.Why)
		}
	}
	if len(facts) == 0 && before.PushState() == PushLost && e.PushState() == PushOK {
		facts[audit.FactService] = audit.Word(e.reachedBy().Provider())
		facts[audit.FactStatus] = audit.AddressOK
	}
	if len(facts) == 0 {
		return nil
	}
	return audit.Record(tx, audit.Actor{}, audit.Event{Type: audit.PushLost, UID: uid, Facts: facts}, e.Detail())
}

// reachedBy returns the push service of an address of the phone that is not lost.
func (e *Enrollment) reachedBy() push.Service {
	for _, unproven := range []bool{false, true} {
		if kept := e.slot(unproven); !kept.IsZero() && !kept.Lost {
			return kept.Service
		}
	}
	return ""
}
