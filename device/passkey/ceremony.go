package passkey

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"tutela/device"
	"tutela/storage"
)

// step is what a ceremony is for.
type step string

const (
	registers      step = "register:"
	asserts        step = "assert:"
	registersAdmin step = "admin:"
	spent          step = "spent:" // what is left of one that the browser kept: nobody answers it again
)

// ceremony is what is kept between the halves of a ceremony. It can be answered once.
type ceremony struct {
	Session []byte      `json:"session"`        // the library's, whole; sealed
	Type    device.Type `json:"type,omitempty"` // of the passkey that is to be registered
	Expires time.Time   `json:"expires"`
}

// mostCeremonies bounds the ceremonies of a user that are under way. Each belongs to something of its own, so a second one under the
// same key takes the place of the first.
const mostCeremonies = 128

var ceremonies = storage.Declare(storage.Spec[ceremony]{
	Name:    "passkey_ceremony",
	Class:   storage.MFA,
	Most:    mostCeremonies,
	Expires: func(c *ceremony) time.Time { return c.Expires },
	Sealed:  func(c *ceremony) []storage.Field { return []storage.Field{{Name: "session", Value: &c.Session}} },
})

// keep keeps the session of a ceremony until it is answered. key names what the ceremony belongs to.
//
// Errors: ErrTooOften.
func keep(tx *storage.Tx, uid storage.UID, of step, key string, session *webauthn.SessionData, typ device.Type) error {
	whole, err := json.Marshal(session)
	if err != nil {
		return err
	}
	return put(tx, uid, of, key, &ceremony{Session: whole, Type: typ, Expires: tx.Now().Add(life)})
}

func put(tx *storage.Tx, uid storage.UID, of step, key string, c *ceremony) error {
	rows, err := ceremonies.All(tx, uid)
	if err != nil {
		return err
	}
	isSpent := func(row storage.Row[ceremony]) bool { return len(row.Record.Session) == 0 }
	if len(rows) >= mostCeremonies {
		// What was spent stays: without it, it could be answered again.
		rows = slices.DeleteFunc(rows, isSpent)
		if len(rows) == 0 {
			return ErrTooOften.After(life)
		}
		oldest := slices.MinFunc(rows, func(a, b storage.Row[ceremony]) int { return a.Record.Expires.Compare(b.Record.Expires) })
		err = ceremonies.Delete(tx, uid, oldest.Key)
	}
	return errors.Join(err, ceremonies.Put(tx, uid, string(of)+key, c))
}

// find returns the ceremony under a key.
//
// Errors: ErrCeremony.
func find(tx *storage.Tx, uid storage.UID, of step, key string) (*ceremony, *webauthn.SessionData, error) {
	c, err := ceremonies.Get(tx, uid, string(of)+key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil, ErrCeremony
	}
	if err != nil {
		return nil, nil, err
	}
	session := new(webauthn.SessionData)
	return c, session, json.Unmarshal(c.Session, session)
}

// spend takes the ceremony under a key, if it is still the one whose challenge was answered.
//
// Errors: ErrCeremony.
func spend(tx *storage.Tx, uid storage.UID, of step, key, challenge string) error {
	_, session, err := find(tx, uid, of, key)
	if err != nil {
		return err
	}
	if session.Challenge != challenge {
		return ErrCeremony
	}
	return ceremonies.Delete(tx, uid, string(of)+key)
}
