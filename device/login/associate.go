package login

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"tutela/device"
	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Association is what a client asks for to enrol an authenticator.
type Association struct {
	Pass     Pass        // an mfa_token of a new user, or an enrolment token
	Type     device.Type // of the enrollment
	Replaces string      // id of the enrollment that the new one replaces; only with an enrolment token
	Actor    audit.Actor
}

// Associated is an authenticator that is to be confirmed.
type Associated struct {
	ID      string          // oob_code
	Secret  string          // of one-time codes, in base32
	URI     string          // the text of the QR code
	Options json.RawMessage // of a passkey: the creation options for the browser
	Code    recovery.Code   // the user's recovery code from the moment of the confirmation; "" when she keeps the one that she has
}

// Associate offers the enrolment of an authenticator to the holder of a pass. The same pass gets the same offer again,
// whatever the type: the app that confirms it first is enrolled. The recovery code is not valid before that.
//
// Errors: ErrMFATokenExpired; ErrGrant, when the login is decided; ErrBlocked; ErrEnrolled; ErrTicketRequired; ErrFlow, when the offer was
// used; ErrEnrolment; device.ErrNoEnrollment, for a Replaces that is not the user's; device.ErrFactor; device.ErrFactorOff.
func (s *Service) Associate(ctx context.Context, a Association) (Associated, error) {
	var made Associated
	err := s.store.Update(ctx, func(tx *storage.Tx) (err error) {
		made, err = s.AssociateIn(tx, a)
		return err
	})
	return made, err
}

// AssociateIn is Associate in the open transaction.
//
// Errors: those of Associate.
func (s *Service) AssociateIn(tx *storage.Tx, a Association) (made Associated, err error) {
	if err := device.RequireFactor(tx, device.FactorOf(a.Type)); err != nil {
		return made, err
	}
	l, u, o, err := s.offerBy(tx, a)
	if err != nil {
		return made, err
	}
	if !device.TicketTakes(o.Factor, device.FactorOf(a.Type)) {
		return made, device.ErrFactor.With("the ticket is for %s alone", o.Factor)
	}
	prefix := setUpPrefix
	if a.Pass.Enrols {
		prefix = enrolmentPrefix
	}
	made = Associated{ID: s.idOf(prefix, l.UID, l.Key), Code: o.Code}
	if a.Type.IsPasskey() {
		made.Options, err = s.beginPasskey(tx, l, o, a.Type)
		return made, err
	}
	made.Secret = o.Secret
	made.URI = s.devices.AssociationURI(u, o, a.Type)
	return made, nil
}

// offerBy offers an enrolment by a pass.
func (s *Service) offerBy(tx *storage.Tx, a Association) (l row, u *user.User, o device.Offer, err error) {
	if a.Pass.Enrols {
		return s.associateMore(tx, a)
	}
	l, err = s.byGrant(tx, a.Pass.Login)
	if err == nil && l.Record.State != Pending {
		err = ErrGrant
	}
	if err != nil {
		return l, nil, o, err
	}
	if u, err = user.Get(tx, l.UID); err != nil {
		return l, u, o, err
	}
	state, err := device.State(tx, l.UID)
	if err == nil && (state != user.New || a.Replaces != "") {
		err = ErrEnrolled
	}
	if err != nil {
		return l, u, o, err
	}
	offered, err := s.offer(tx, l, u)
	if err == nil {
		o = *offered
	}
	return l, u, o, err
}

// associateMore offers an enrolment by an enrolment token.
func (s *Service) associateMore(tx *storage.Tx, a Association) (l row, u *user.User, o device.Offer, err error) {
	l, u, err = s.enrolling(tx, a.Pass)
	if err != nil {
		return l, u, o, err
	}
	// The answer with the token also held the next recovery code. So that code has arrived, and no new one is
	// drawn.
	if l.Record.CodeMark != "" {
		if err := recovery.Arrived(tx, l.UID); err != nil {
			return l, u, o, err
		}
	}
	o, err = s.devices.Offer(tx, l.UID, device.OfferFor{
		Key:      enrolmentKey(l),
		Replaces: a.Replaces,
		Until:    l.Record.EnrolUntil,
		Grant:    s.proofOf(l),
	})
	if errors.Is(err, device.ErrTicket) {
		err = ErrEnrolment.With("the enrolment token has enrolled already: log in again for another")
	}
	return l, u, o, err
}

// confirmByOTP confirms the association of an enrolment token by the first code that the new app shows. It does not log
// in: it returns the outcome of the earlier proof. The first answer may be lost: a repeat with the same code gets the
// same.
//
// Errors: ErrEnrolment; ErrBlocked; ErrGrant, when nothing is associated; otp.ErrTypo; device.ErrWrongOTP; device.ErrTooMany.
func (s *Service) confirmByOTP(tx *storage.Tx, g Grant, code otp.Code, typo error) (Outcome, error) {
	l, u, err := s.enrolment(tx, g.Pass)
	if err != nil {
		return Outcome{}, err
	}
	key := enrolmentKey(l)
	_, err = s.devices.ConfirmOffer(tx, l.UID, key, code, typo, g.Actor.WithClient(l.Record.Client))
	if errors.Is(err, device.ErrTicket) {
		err = ErrGrant.With("nothing was associated with this token that the code could confirm")
	}
	if err != nil {
		return Outcome{}, err
	}
	return outcomeOf(u, l), device.SawTaken(tx, l.UID, key)
}

// Authenticator is one of a user's factors, as the holder of a pass sees it.
type Authenticator struct {
	ID     string // of the enrollment; of the recovery code a hash
	Kind   Way
	Active bool // false while an admin has suspended it, or the factor is switched off
	Name   string
}

// Authenticators returns the user's factors: her enrollments that are not retired, oldest first, and her recovery code. A phone that
// shows one-time codes is there twice.
//
// Errors: ErrMFATokenExpired; ErrGrant; ErrEnrolment; ErrBlocked.
func (s *Service) Authenticators(ctx context.Context, p Pass) (list []Authenticator, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		uid, err := s.holder(tx, p)
		if err != nil {
			return err
		}
		set, err := device.All(tx, uid)
		if err != nil {
			return err
		}
		for _, e := range set.Kept() {
			ways, err := factorsOf(tx, e)
			if err != nil {
				return err
			}
			list = append(list, ways...)
		}
		enabled, err := device.FactorOn(tx, device.FactorCode)
		if err != nil || !enabled {
			return err
		}
		holds, err := recovery.HasCode(tx, uid)
		if holds {
			list = append(list, Authenticator{ID: "code", Kind: WayRecovery, Active: true})
		}
		return err
	})
	return list, err
}

// factorsOf returns an enrollment as factors.
func factorsOf(tx *storage.Tx, e *device.Enrollment) (list []Authenticator, err error) {
	enabled, err := device.FactorsOn(tx, device.FactorPush, device.FactorOTP, device.FactorRoaming, device.FactorPlatform)
	if err != nil {
		return nil, err
	}
	add := func(f device.Factor) {
		list = append(list, Authenticator{
			ID:     e.ID,
			Kind:   waysOf[f],
			Active: e.Answers() && slices.Contains(enabled, f),
			Name:   e.Name,
		})
	}
	if e.Type == device.TypePush || e.Type.IsPasskey() {
		add(device.FactorOf(e.Type))
	}
	if len(e.OTP.Secret) > 0 {
		add(device.FactorOTP)
	}
	return list, nil
}

// holder returns the user of a valid pass.
func (s *Service) holder(tx *storage.Tx, p Pass) (storage.UID, error) {
	if p.Enrols {
		l, _, err := s.enrolling(tx, p)
		return l.UID, err
	}
	l, err := s.byGrant(tx, p.Login)
	return l.UID, err
}

// RemoveAuthenticator retires an enrollment by an enrolment token. Its phone is told, and may dispute that for a day.
//
// Errors: ErrEnrolment, also for an mfa_token; ErrBlocked; device.ErrNoEnrollment; device.ErrLastFactor.
func (s *Service) RemoveAuthenticator(ctx context.Context, p Pass, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error { return s.RemoveAuthenticatorIn(tx, p, id, actor) })
}

// RemoveAuthenticatorIn is RemoveAuthenticator in the open transaction.
//
// Errors: those of RemoveAuthenticator.
func (s *Service) RemoveAuthenticatorIn(tx *storage.Tx, p Pass, id string, actor audit.Actor) error {
	if !p.Enrols {
		return ErrEnrolment.With("an mfa_token cannot remove an authenticator: use an enrolment token")
	}
	l, _, err := s.enrolling(tx, p)
	if err != nil {
		return err
	}
	made := ""
	taken, err := device.TakenOffer(tx, l.UID, enrolmentKey(l))
	if err != nil && !errors.Is(err, device.ErrTicket) {
		return err
	}
	if taken.Enrollment != nil {
		made = taken.Enrollment.ID
	}
	set, err := device.All(tx, l.UID)
	if err != nil {
		return err
	}
	usable, err := s.usablePasskeys(tx, set)
	if err != nil {
		return err
	}
	cause := s.idOf(enrolmentPrefix, l.UID, l.Key)
	return device.RemoveBy(tx, l.UID, id, cause, made, usable, actor.WithClient(l.Record.Client))
}
