package login

import (
	"errors"
	"maps"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/audit"
)

// decision ends a login. It holds the login and what its event says. All logins are decided here, whatever satisfies them.
type decision struct {
	login  row
	by     *device.Enrollment // the authenticator that decided; nil for a recovery code
	facts  audit.Facts
	detail audit.Detail
}

// approve satisfies the login with a method, once. It writes the login, records the event, refills the push budget and wakes
// the callers that wait. The caller does what only its method needs, in the same transaction.
//
// Errors: ErrNoLogin, when the login is decided or over.
func (d decision) approve(tx *storage.Tx, actor audit.Actor, method Method) error {
	if err := d.take(tx, Approved); err != nil {
		return err
	}
	d.login.Record.Method = method
	d.login.Record.count(tx, string(Approved), string(method))
	facts := audit.Facts{audit.FactMethod: audit.Word(method)}
	maps.Copy(facts, d.facts)
	return errors.Join(
		d.write(tx),
		succeeded(tx, d.login.UID, d.login.Record),
		audit.Record(tx, actor, eventOf(d.login, audit.AuthSucceed, facts), d.detail))
}

// deny refuses the login, with an event of the given kind. It costs the client's push budget; notMe also mutes the address
// that the login came from.
//
// Errors: ErrNoLogin, when the login is decided or over.
func (d decision) deny(tx *storage.Tx, actor audit.Actor, kind audit.Type, notMe bool) error {
	if err := d.take(tx, Denied); err != nil {
		return err
	}
	outcome := string(Denied)
	if d.login.Record.Wrong {
		outcome = OutcomeWrong
	}
	d.login.Record.count(tx, outcome, string(ByKey)) // only a phone's signature can deny
	return errors.Join(
		d.write(tx),
		denied(tx, d.login.UID, d.login.Record, notMe),
		audit.Record(tx, actor, eventOf(d.login, kind, d.facts), d.detail))
}

// take decides the login, which must be pending.
func (d decision) take(tx *storage.Tx, state State) error {
	l := d.login.Record
	if !l.pending(tx.Now()) {
		return ErrNoLogin.With("the login is decided already, or over")
	}
	l.State = state
	l.Decided = tx.Now()
	if d.by != nil {
		l.By = d.by.ID
	}
	tx.Wake(d.login.UID)
	return nil
}

// write writes the decided login, and what its authenticator has shown by deciding it.
func (d decision) write(tx *storage.Tx) error {
	l := d.login
	err := errors.Join(
		logins.Put(tx, l.UID, l.Key, l.Record),
		settle(tx, l),
		queuePing(tx, l),
		passOn(tx, l))
	if d.by != nil {
		err = errors.Join(err, device.Authenticated(tx, l.UID, d.by, device.Showing{
			Signed:    l.Record.Challenge != "", // an approval is decided by a signature, and by nothing else
			Satisfied: l.Record.State == Approved,
		}))
	}
	return err
}
