// Package outbox keeps work to do after a commit: pushes, notices, webhooks. An entry is added in the transaction
// that wants it done, so it is done if and only if that was committed, also when the server dies in between; it may
// be done twice.
//
// An entry is a payload among the user's rows and a pointer in a log. A purge takes the payload; the sender drops a
// pointer to nothing.
package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tutela/storage"
)

// Kind names what is to be done; the package that adds entries of a kind handles them.
type Kind string

// Entry is one piece of work.
type Entry struct {
	ID       string          `json:"id"`
	UID      storage.UID     `json:"uid"` // whose it is; a reset takes it away
	Kind     Kind            `json:"kind"`
	Payload  json.RawMessage `json:"payload"`
	Expires  time.Time       `json:"expires"`  // not worth doing after it
	Attempts int             `json:"attempts"` // that failed
}

// pointer is what the log holds of an entry. Its key is the time at which it is due, then the id.
type pointer struct {
	UID storage.UID `json:"uid"`
	ID  string      `json:"id"`
}

var (
	payloads = storage.Declare(storage.Spec[Entry]{Name: "outbox", Class: storage.MFA})
	pointers = storage.DeclareLog("outbox")
)

// Add adds an entry for uid, due at once. payload is encoded as JSON.
func Add(tx *storage.Tx, uid storage.UID, kind Kind, payload any, expires time.Time) error {
	body, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("outbox entry %s: %w", kind, err)
	}
	e := &Entry{ID: storage.NewID("", 16), UID: uid, Kind: kind, Payload: body, Expires: expires}
	tx.Wake(storage.House) // the sender watches the house
	return errors.Join(payloads.Put(tx, uid, e.ID, e), e.point(tx, tx.Now()))
}

// point makes the entry due at a time.
func (e *Entry) point(tx *storage.Tx, due time.Time) error {
	value, err := json.Marshal(pointer{UID: e.UID, ID: e.ID})
	if err != nil {
		return err
	}
	return pointers.Append(tx, e.UID, dueKey(due, e.ID), value)
}

func dueKey(due time.Time, id string) string { return fmt.Sprintf("%019d%s", due.UnixNano(), id) }
