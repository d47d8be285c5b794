package login

import (
	"context"
	"errors"

	"tutela/device"
	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// RedeemOTP satisfies the login of an mfa_token with a one-time code of one of the user's authenticators. The first answer may be
// lost: so a repeat of the call, with the same code, gets the same outcome while the mfa_token lives and the authenticator is in
// service.
//
// While an association under the token is open, the code confirms that: by an enrolment token it confirms and does no more, with the
// outcome of the proof before.
//
// Errors: ErrMFATokenExpired; ErrBlocked; otp.ErrTypo, which counts nothing; recovery.ErrLimited, whatever the code;
// device.ErrWrongOTP (kept); device.ErrFactorOff; ErrGrant when the login is decided already; ErrDenied for a repeat when the authenticator is out of
// service; ErrWeakProof, which counts nothing; ErrEnrolment, when an enrolment token is over.
func (s *Service) RedeemOTP(ctx context.Context, g Grant, typed string) (Outcome, error) {
	if err := g.check(); err != nil {
		return Outcome{}, err
	}
	code, typo := otp.Parse(typed)
	var o Outcome
	err := s.store.Update(ctx, func(tx *storage.Tx) (err error) {
		if g.Pass.Enrols {
			o, err = s.confirmByOTP(tx, g, code, typo)
		} else {
			o, err = s.redeemByOTP(tx, g, code, typo)
		}
		return err
	})
	return o, err
}

// redeemByOTP is RedeemOTP by an mfa_token in the open transaction, for a code as otp.Parse returned it with its error typo.
func (s *Service) redeemByOTP(tx *storage.Tx, g Grant, code otp.Code, typo error) (o Outcome, err error) {
	l, err := s.byGrant(tx, g.Pass.Login)
	if err != nil {
		return o, err
	}
	if l.Record.State != Pending {
		if o, err = s.otpBefore(tx, l, code); err == nil {
			o.Remember, err = s.rememberAgain(tx, g, l)
		}
		return o, err
	}
	l.Record.Collected = tx.Now() // the grant itself collects it
	if err := s.letEnrolByOTP(tx, g, l); err != nil {
		return o, err
	}
	if err := s.tryOTP(tx, l, code, typo, g.Actor); err != nil {
		return o, err
	}
	if o, err = completed(tx, l); err != nil {
		return o, err
	}
	o.EnrolUntil = l.Record.EnrolUntil
	o.Remember, err = s.remember(tx, g, l)
	return o, err
}

// tryOTP satisfies a pending login by grant with a one-time code. While an enrolment that it was offered is open, the code confirms
// that: it is the first that the new app shows, and it is spent for the login as well.
func (s *Service) tryOTP(tx *storage.Tx, l row, code otp.Code, typo error, actor audit.Actor) error {
	open, err := hasOpenOffer(tx, l)
	if err != nil {
		return err
	}
	if !open {
		return s.redeemOTP(tx, l, code, typo, actor)
	}
	e, err := s.devices.ConfirmOffer(tx, l.UID, l.Key, code, typo, actor.WithClient(l.Record.Client))
	if err != nil {
		return err
	}
	return errors.Join(
		device.SawTaken(tx, l.UID, l.Key), // who has the secret has the answer that the recovery code was in
		s.satisfyByOTP(tx, l, e, code, actor))
}

// hasOpenOffer reports whether a login was offered an enrolment that nobody has confirmed.
func hasOpenOffer(tx *storage.Tx, l row) (bool, error) {
	taken, err := device.TakenOffer(tx, l.UID, l.Key)
	if errors.Is(err, device.ErrTicket) {
		return false, nil
	}
	return taken.Open, err
}

// redeemOTP spends the code and satisfies a pending login by grant. A wrong code leaves the login pending, and is an event.
//
// Errors: device.ErrFactorOff; those of device.SpendOTP.
func (s *Service) redeemOTP(tx *storage.Tx, l row, code otp.Code, typo error, actor audit.Actor) error {
	if err := device.RequireFactor(tx, device.FactorOTP); err != nil {
		return err
	}
	e, err := device.SpendOTP(tx, l.UID, code, typo, actor.WithClient(l.Record.Client))
	if errors.Is(err, device.ErrWrongOTP) {
		facts := audit.Facts{audit.FactMethod: audit.Word(ByOTP), audit.FactWhy: audit.WhyCode}
		return errors.Join(err, audit.Record(tx, actor, eventOf(l, audit.AuthFailed, facts), audit.Detail{}))
	}
	if err != nil {
		return err
	}
	return s.satisfyByOTP(tx, l, e, code, actor)
}

// satisfyByOTP satisfies a login by grant by a code that the enrollment showed and that is spent.
func (s *Service) satisfyByOTP(tx *storage.Tx, l row, e *device.Enrollment, code otp.Code, actor audit.Actor) error {
	d := decision{login: l, by: e, detail: e.Detail()}
	if err := d.approve(tx, actor, ByOTP); err != nil {
		return err
	}
	kept := recovery.Reply{Code: s.codes.HashForReply(l.UID, recovery.Code(code))}
	return recovery.KeepReply(tx, l.UID, replyKey(l), kept, l.Record.replyLife(tx.Now()))
}

// otpBefore returns the outcome of a login that this same code has satisfied.
//
// Errors: ErrGrant; ErrDenied.
func (s *Service) otpBefore(tx *storage.Tx, l row, code otp.Code) (Outcome, error) {
	if l.Record.Method != ByOTP {
		return Outcome{}, ErrGrant
	}
	return s.outcomeBefore(tx, l, recovery.Code(code))
}

// outcomeBefore returns the outcome of a login that was satisfied by what shown stands for.
//
// Errors: ErrGrant; ErrDenied.
func (s *Service) outcomeBefore(tx *storage.Tx, l row, shown recovery.Code) (Outcome, error) {
	kept, err := recovery.KeptReply(tx, l.UID, replyKey(l))
	if errors.Is(err, storage.ErrNotFound) || err == nil && !s.codes.RepliesTo(tx, kept, l.UID, shown) {
		return Outcome{}, ErrGrant
	}
	if err != nil {
		return Outcome{}, err
	}
	u, err := user.Get(tx, l.UID)
	if err != nil {
		return Outcome{}, err
	}
	return outcomeOf(u, l), l.Record.stands(tx, u)
}

// byGrant returns the login with the id in an mfa_token, which is not over and not of a blocked user.
//
// Errors: ErrGrant; ErrMFATokenExpired; ErrBlocked.
func (s *Service) byGrant(tx *storage.Tx, id string) (row, error) {
	l, err := s.find(tx, mfaPrefix, id)
	switch {
	case errors.Is(err, ErrExpired) || err == nil && !tx.Now().Before(l.Record.Expires):
		return row{}, ErrMFATokenExpired
	case err != nil:
		return row{}, err
	}
	blocked, err := isBlocked(tx, l.UID)
	if err == nil && blocked {
		err = ErrBlocked
	}
	return l, err
}
