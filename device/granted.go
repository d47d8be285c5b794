package device

import (
	"errors"
	"slices"
	"time"

	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// OfferFor says what an enrolment is offered for.
type OfferFor struct {
	Key      string    // key of the offer among the user's tickets
	Root     string    // key of the ticket that the login system has given, as TicketKey returns it; "": none
	Replaces string    // id of the enrollment that the new one replaces; only with a proof
	Until    time.Time // when it is over
	Grant    GrantedBy
}

// GrantedBy lists what an enrolment that a login system allowed depends on. It can be confirmed only while all of that
// exists. An enrolment by an enrolment token depends on a proof and has a Cause; any other depends only on the client.
type GrantedBy struct {
	Client     string `json:"client,omitempty"`     // the login system, which must still be registered
	Cause      string `json:"cause,omitempty"`      // id of the enrolment token: phones that it retires dispute that by this id
	Enrollment string `json:"enrollment,omitempty"` // the authenticator that has proven the user; it must still answer
	CodeMark   string `json:"code_mark,omitempty"`  // of the recovery code that followed the one that has proven her; it must still be hers
}

type grantedBy = GrantedBy

// ErrLastFactor refuses to remove the authenticator without which a user could not log in.
var ErrLastFactor = storage.NewError(storage.Denied, "this is the user's last authenticator that opens a login, and no recovery code of hers does: enrol another first")

// Stands returns an error unless everything in g still exists.
//
// Errors: ErrTicket.
func (s *Service) Stands(tx *storage.Tx, uid storage.UID, g GrantedBy) error {
	if g.Client != "" {
		known, err := s.KnowsClient(tx, g.Client)
		if err != nil {
			return err
		}
		if !known {
			return ErrTicket.With("the login system that let this phone enrol is gone")
		}
	}
	if g.Enrollment != "" {
		e, err := Get(tx, uid, g.Enrollment)
		if errors.Is(err, ErrNoEnrollment) || err == nil && !e.Answers() {
			return ErrTicket.With("the authenticator is gone that has let another enrol: log in again")
		}
		if err != nil {
			return err
		}
	}
	if g.CodeMark == "" {
		return nil
	}
	mark, err := recovery.MarkOf(tx, uid)
	if err == nil && mark != g.CodeMark {
		err = ErrTicket.With("the recovery code was replaced since: log in again")
	}
	return err
}

// standsFor is Stands for the grant of a ticket.
func (s *Service) standsFor(tx *storage.Tx, t *foundTicket) error {
	return s.Stands(tx, t.UID, t.Record.Grant)
}

// association reports whether a login system allowed the ticket and no other ticket is its root.
func (t *ticket) association() bool { return (t.ofFlow() || t.ofHosted()) && t.Root == "" }

// endAssociations removes the user's other unconfirmed associations, since only the first to be confirmed counts.
func endAssociations(tx *storage.Tx, t *foundTicket) error {
	rows, err := tickets.All(tx, t.UID)
	for _, row := range rows {
		if row.Key != t.Key && row.Key != t.Record.Root && row.Record.association() && row.Record.SpentBy == nil {
			err = errors.Join(err, tickets.Delete(tx, t.UID, row.Key))
		}
	}
	return err
}

// succeedRemoved names the new enrollment as the successor of those that its enrolment token has removed before, so
// that their phones can dispute it.
func succeedRemoved(tx *storage.Tx, t *foundTicket, made *Enrollment) error {
	cause := t.Record.Grant.Cause
	if cause == "" {
		return nil
	}
	set, err := All(tx, t.UID)
	if err != nil {
		return err
	}
	for _, e := range set {
		if e.Status == Retired && e.Succession.Cause == cause && e.Succession.Successor == "" {
			e.Succession.Successor = made.ID
			err = errors.Join(err, Put(tx, t.UID, e))
		}
	}
	return err
}

// RemoveBy retires an enrollment by an enrolment token. cause is the token's id, and made the enrollment that it has
// made ("" for none). The retired phone is notified and may dispute it for a day. The last authenticator that opens a
// login cannot be removed, unless the user's recovery code opens one. passkeys are the user's passkeys that can be used
// here.
//
// Errors: ErrNoEnrollment; ErrLastFactor.
func RemoveBy(tx *storage.Tx, uid storage.UID, id, cause, made string, passkeys Set, actor audit.Actor) error {
	e, err := replaceable(tx, uid, id)
	if err != nil {
		return err
	}
	set, err := All(tx, uid)
	if err != nil {
		return err
	}
	if err := mayLose(tx, uid, set, id, passkeys); err != nil {
		return err
	}
	e.SucceededBy(ViaEnrolmentToken, made, cause)
	event := audit.Event{
		Type:  audit.Unenroll,
		UID:   uid,
		Facts: audit.Facts{audit.FactWhy: audit.WhyEnrolmentToken, audit.FactFactor: audit.Word(e.Type)},
	}
	return errors.Join(
		Retire(tx, uid, e, &recovery.NoticePayload{Notice: recovery.NoticeReplaced, Restore: cause}),
		recovery.Notify(tx, uid, recovery.NoticePayload{Notice: recovery.NoticeDeviceRemoved, About: id}),
		audit.Record(tx, actor, event, e.Detail()))
}

// mayLose returns an error unless the user can still log in without the enrollment: by another active one of a factor
// that is on, or by the recovery code. One that has left does not count, since its phone may never come back.
//
// Errors: ErrLastFactor.
func mayLose(tx *storage.Tx, uid storage.UID, set Set, id string, passkeys Set) error {
	enabled, err := FactorsOn(tx, FactorPush, FactorOTP, FactorCode)
	if err != nil {
		return err
	}
	isOn := func(f Factor) bool { return slices.Contains(enabled, f) }
	for _, other := range set.Active() {
		switch {
		case other.ID == id:
		case other.Type == TypePush && isOn(FactorPush),
			len(other.OTP.Secret) > 0 && isOn(FactorOTP),
			len(passkeys.Only(other.ID)) > 0:
			return nil
		}
	}
	holds, err := recovery.HasCode(tx, uid)
	if err == nil && (!holds || !isOn(FactorCode)) {
		err = ErrLastFactor
	}
	return err
}

// AssociationURI returns the text of an offer's QR code: for an app that enrols by itself, or for one that only shows
// one-time codes.
func (s *Service) AssociationURI(u *user.User, o Offer, t Type) string {
	if t == TypePush {
		return s.appURI(AccountLabel(u), o.TxID, o.ID, o.Secret)
	}
	return s.codesURI(AccountLabel(u), o.Secret)
}

// codesURI is the text of the QR code for an app that only shows one-time codes.
func (s *Service) codesURI(account, secret string) string {
	return s.labelled(account, [][2]string{
		{"secret", secret}, {"issuer", ""}, {"algorithm", otp.Algorithm}, {"digits", "6"}, {"period", "30"},
	})
}

// KnowsClient reports whether a client is registered.
func (s *Service) KnowsClient(tx *storage.Tx, id string) (bool, error) {
	if s.knowsClient == nil {
		return true, nil
	}
	return s.knowsClient(tx, id)
}
