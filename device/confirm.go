package device

import (
	"context"
	"encoding/json"
	"errors"

	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// otpName is the name that people read for an app that only shows one-time codes: such an app tells no name.
const otpName = "One-time code app"

// ConfirmOTP spends a ticket by a one-time code of the ticket's reserved secret, and binds an app that only shows such
// codes. The first reply may be lost, so a repeat with the same ticket and code gets the same reply while that is kept,
// but without the recovery code: six digits are too weak a proof for it. A wrong code writes and counts nothing, since
// whoever has the ticket can enrol anyway.
//
// Errors: otp.ErrTypo; ErrTicket; ErrFactorOff; ErrWrongOTP; ErrTooMany.
func (s *Service) ConfirmOTP(ctx context.Context, ticket, typed string, actor audit.Actor) (enrolled *Enrolled, err error) {
	code, typo := otp.Parse(typed)
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		_, enrolled, err = s.ConfirmOTPIn(tx, ticket, code, typo, actor)
		return err
	})
	return enrolled, err
}

// ConfirmOTPIn is ConfirmOTP in an open transaction. code and typo are the results of [otp.Parse]. It also returns the
// enrollment, whose code is spent.
//
// Errors: those of ConfirmOTP.
func (s *Service) ConfirmOTPIn(tx *storage.Tx, ticket string, code otp.Code, typo error, actor audit.Actor) (*Enrollment, *Enrolled, error) {
	t, err := s.findTicket(tx, ticket)
	if err != nil {
		return nil, nil, err
	}
	return s.confirmOTP(tx, t, code, typo, actor)
}

func (s *Service) confirmOTP(tx *storage.Tx, t *foundTicket, code otp.Code, typo error, actor audit.Actor) (*Enrollment, *Enrolled, error) {
	if t.spent() {
		return s.confirmedBefore(tx, t, code)
	}
	if err := s.takes(tx, t, FactorOTP); err != nil {
		return nil, nil, err
	}
	if typo != nil {
		return nil, nil, typo
	}
	codes := OneTimeCodes{Secret: t.Record.Secret}
	if !codes.accept(code, otpTime(tx)) {
		return nil, nil, ErrWrongOTP
	}
	return s.confirm(tx, t, codes, code, actor)
}

// confirm enrols with a valid ticket and a right code.
func (s *Service) confirm(tx *storage.Tx, t *foundTicket, codes OneTimeCodes, code otp.Code, actor audit.Actor) (*Enrollment, *Enrolled, error) {
	before, err := All(tx, t.UID)
	if err != nil {
		return nil, nil, err
	}
	b := Binding{Reserved: t.reserved(), Retiring: t.root.Replaces, Via: t.via()}
	e, enrolled, err := s.bindOTP(tx, t.UID, codes, b, actor)
	if err != nil {
		return nil, nil, err
	}
	if b.Retiring != "" {
		if err := takePlace(tx, t.UID, b.Retiring, e, Installation{}, actor); err != nil {
			return nil, nil, err
		}
	}
	return e, enrolled, s.complete(tx, t, enrolment{
		before: before,
		made:   e,
		reply:  enrolled,
		code:   s.hashConfirmed(t, code),
	})
}

// hashConfirmed returns the keyed hash of a code that a kept reply holds, to recognise the code that spent the ticket.
func (s *Service) hashConfirmed(t *foundTicket, code otp.Code) string {
	return s.recovery.HashForReply(t.UID, recovery.Code(code))
}

// bindOTP makes an enrollment of an app that shows one-time codes. Its caller has checked that the user may have another.
//
// Errors: ErrTooMany.
func (s *Service) bindOTP(tx *storage.Tx, uid storage.UID, codes OneTimeCodes, b Binding, actor audit.Actor) (*Enrollment, *Enrolled, error) {
	u, err := user.Get(tx, uid)
	if err != nil {
		return nil, nil, err
	}
	tx.Count(Enrollments, string(b.Via))
	// It has no key and names no phone, so it replaces no other enrollment; replace only checks the bound.
	if err := replace(tx, uid, Installation{}, b, b.ID, actor); err != nil {
		return nil, nil, err
	}
	e := &Enrollment{
		ID:       b.ID,
		Type:     TypeOTP,
		Name:     otpName,
		Status:   Active,
		Enrolled: tx.Now(),
		Changed:  tx.Now(),
		Via:      b.Via,
		OTP:      codes,
	}
	enrolled := &Enrolled{
		ID:     e.ID,
		URL:    s.bases.API(),
		Issuer: s.issuer,
		UserID: u.ID,
	}
	tx.Wake(uid) // a page may wait for its phone
	return e, enrolled, errors.Join(
		enrollments.Insert(tx, uid, e.ID, e),
		audit.Record(tx, actor, audit.Event{Type: audit.EnrollComplete, UID: uid, Facts: audit.Facts{audit.FactFactor: audit.Word(e.Type)}}, e.Detail()))
}

// confirmedBefore returns the kept reply of a spent ticket, for the code that spent it.
//
// Errors: ErrTicket.
func (s *Service) confirmedBefore(tx *storage.Tx, t *foundTicket, code otp.Code) (*Enrollment, *Enrolled, error) {
	if t.Record.SpentBy == nil {
		return nil, nil, ErrTicket // another ticket of the same root was spent
	}
	kept, err := keptFor(tx, t)
	if err != nil {
		return nil, nil, err
	}
	if kept.Code == "" || !s.recovery.RepliesTo(tx, kept, t.UID, recovery.Code(code)) {
		return nil, nil, ErrTicket
	}
	e, err := Get(tx, t.UID, kept.Enrollment)
	if err != nil {
		return nil, nil, err
	}
	var enrolled Enrolled
	return e, &enrolled, json.Unmarshal(kept.Body, &enrolled)
}
