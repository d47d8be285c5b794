package login

import (
	"errors"
	"maps"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/audit"
)

// decision is what ends a login: which login, and what its event says. A login is decided here and nowhere else,
// whatever satisfied it.
type decision struct {
	uid    storage.UID
	key    string // of the login
	login  *Login
	by     *device.Enrollment // the authenticator that decided; nil for a recovery code
	facts  audit.Facts
	detail audit.Detail
}

// approve satisfies the login by a method: once, with its event, its client's push budget whole again, and whoever waits
// for it woken. It writes the login as it then is; what is particular to a method is its caller's, in the same transaction.
//
// Errors: ErrNoLogin, when the login is decided or over.
func (d decision) approve(tx *storage.Tx, actor audit.Actor, method Method) error {
	if err := d.take(tx, Approved); err != nil {
		return err
	}
	d.login.Method = method
	facts := audit.Facts{audit.FactMethod: audit.Word(method)}
	maps.Copy(facts, d.facts)
	return errors.Join(
		d.write(tx),
		succeeded(tx, d.uid, d.login.Client),
		audit.Record(tx, actor, d.login.event(audit.AuthSucceed, d.uid, facts), d.detail))
}

// deny refuses the login, with an event of the given kind. It costs the client's push budget; notMe also mutes the address
// that the login came from.
//
// Errors: ErrNoLogin, when the login is decided or over.
func (d decision) deny(tx *storage.Tx, actor audit.Actor, kind audit.Type, notMe bool) error {
	if err := d.take(tx, Denied); err != nil {
		return err
	}
	return errors.Join(
		d.write(tx),
		denied(tx, d.uid, d.login, notMe),
		audit.Record(tx, actor, d.login.event(kind, d.uid, d.facts), d.detail))
}

// take decides the login, which must be pending.
func (d decision) take(tx *storage.Tx, state State) error {
	if !d.login.pending(tx.Now()) {
		return ErrNoLogin.With("the login is decided already, or over")
	}
	d.login.State = state
	d.login.Decided = tx.Now()
	if d.by != nil {
		d.login.By = d.by.ID
	}
	tx.Wake(d.uid)
	return nil
}

// write writes the decided login, and what its authenticator has shown by deciding it.
func (d decision) write(tx *storage.Tx) error {
	err := errors.Join(
		logins.Put(tx, d.uid, d.key, d.login),
		settle(tx, d.uid, d.key))
	if d.by != nil {
		err = errors.Join(err, device.Authenticated(tx, d.uid, d.by, d.login.State == Approved))
	}
	return err
}
