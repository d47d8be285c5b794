package login

import (
	"errors"
	"time"

	"tutela/recovery"
	"tutela/storage"
)

// Waits is until when the ways wait that were tried too often, in the store's time; zero: they do not wait.
type Waits struct {
	Asks time.Time // until then the phones are not asked again
	OTP  time.Time // until then no one-time code counts
	Code time.Time // until then wrong recovery codes are not looked at; a right one counts at any time
}

// CodeWaits returns until when the codes of a user wait that are typed to prove her.
func CodeWaits(tx *storage.Tx, uid storage.UID) (w Waits, err error) {
	blocks, err := recovery.Blocks(tx, uid)
	for _, b := range blocks {
		switch b.Channel {
		case recovery.OTPChannel:
			w.OTP = b.Until
		case recovery.LoginChannel:
			w.Code = b.Until
		}
	}
	return w, err
}

// waits returns until when the ways of a page wait.
func (s *Service) waits(tx *storage.Tx, l row) (Waits, error) {
	w, err := CodeWaits(tx, l.UID)
	if err != nil {
		return w, err
	}
	b, err := budgetOf(tx, l.UID, l.Record.Client)
	if err != nil {
		return w, err
	}
	p, err := paceOf(tx, l.UID)
	if err != nil {
		return w, err
	}
	// What is admitted here is not kept.
	err = p.admit(tx.Now(), newRecent("", l.Record, b.placeOf(tx.Now(), Network(l.Record.IP))))
	if errors.Is(err, ErrTooMany) {
		w.Asks = tx.Now().Add(storage.RetryAfter(err))
		err = nil
	}
	return w, err
}
