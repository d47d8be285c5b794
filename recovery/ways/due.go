package ways

import (
	"time"

	"tutela/storage"
)

// due says when time alone changes how a user stands. The sweeper removes it then, and so has her judged again: nobody looks for those
// who are due.
type due struct {
	At time.Time `json:"at"`
}

var dues = storage.Declare(storage.Spec[due]{
	Name:    "recoverability_due",
	Class:   storage.MFA,
	Most:    1,
	Expires: func(d *due) time.Time { return d.At },
	Swept:   func(tx *storage.Tx, uid storage.UID, _ string) error { return judgeAgain(tx, uid) },
})

// judgeAgain is again, which writes to the table that is declared with it.
var judgeAgain func(tx *storage.Tx, uid storage.UID) error

func init() { judgeAgain = again }

// again judges a user again, for time has passed.
func again(tx *storage.Tx, uid storage.UID) error {
	f, isNew, err := read(tx, uid)
	if err != nil || isNew {
		return err
	}
	return settle(tx, uid, f, false)
}

// setDue writes down when a user is to be judged again; zero: never.
func setDue(tx *storage.Tx, uid storage.UID, at time.Time) error {
	if at.IsZero() {
		return dues.Delete(tx, uid, record)
	}
	return dues.Put(tx, uid, record, &due{At: at})
}
