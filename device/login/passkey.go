package login

import (
	"context"
	"encoding/json"
	"errors"

	"tutela/device"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// WithPasskeys has logins take passkeys. It is called once, before the service is used.
func (s *Service) WithPasskeys(p *passkey.Service) *Service {
	s.passkeys = p
	return s
}

// usablePasskeys returns those of the user's enrollments whose passkeys let her in here.
func (s *Service) usablePasskeys(tx *storage.Tx, set device.Set) (device.Set, error) {
	if s.passkeys == nil {
		return nil, nil
	}
	return s.passkeys.Usable(tx, set)
}

// byPasskey challenges the user for a passkey, if one will do and she has one; asked is false when not.
func (c Challenge) byPasskey(tx *storage.Tx, s *Service, l row, set device.Set) (made Challenged, asked bool, err error) {
	if !c.Passkey {
		return made, false, nil
	}
	usable, err := s.usablePasskeys(tx, set.Only(c.Only))
	if err != nil || len(usable) == 0 {
		return made, false, err
	}
	made.By = WayPasskey
	made.Options, err = s.passkeys.Begin(tx, l.UID, l.Key, usable)
	return made, true, err
}

// addedBy returns by which proof a passkey is added that is associated under a pass.
func addedBy(p Pass, l *Login) device.AddedBy {
	if !p.Enrols {
		return device.AddedAtSetup
	}
	return map[Method]device.AddedBy{
		ByKey:          device.AddedByNumber,
		ByOTP:          device.AddedByOTP,
		ByRecoveryCode: device.AddedByRecovery,
		ByPasskey:      device.AddedByPasskey,
	}[l.Method]
}

// beginPasskey returns the creation options of a passkey that is to confirm an association.
//
// Errors: device.ErrFactor; those of passkey.Service.BeginRegistration.
func (s *Service) beginPasskey(tx *storage.Tx, l row, o device.Offer, t device.Type) (json.RawMessage, error) {
	if s.passkeys == nil {
		return nil, device.ErrFactor
	}
	return s.passkeys.BeginRegistration(tx, l.UID, o.Key, t)
}

// PasskeyConfirmation is what a client sends to confirm an association by a passkey.
type PasskeyConfirmation struct {
	Pass     Pass
	OOBCode  string           // of the association
	Response passkey.Response // to its creation options
	Actor    audit.Actor
}

// PasskeyConfirmed is an association that a passkey has confirmed.
type PasskeyConfirmed struct {
	Enrollment *device.Enrollment
	Code       recovery.Code // that the association has told; "" when the user keeps the one that she has, or for a repeat
}

// ConfirmPasskey confirms an association by a passkey. It logs nobody in: the oob_code is redeemed for that, as after a phone has
// enrolled. The answer may be lost: a repeat of the call gets the same enrollment.
//
// Errors: ErrGrant, for another login's oob_code; ErrMFATokenExpired; ErrEnrolment; ErrBlocked; device.ErrTicket, when the association is
// over; device.ErrRegistered; device.ErrTooMany; device.ErrFactorOff; those of passkey.Service.VerifyRegistration.
func (s *Service) ConfirmPasskey(ctx context.Context, c PasskeyConfirmation) (PasskeyConfirmed, error) {
	if s.passkeys == nil {
		return PasskeyConfirmed{}, ErrGrant
	}
	var uid storage.UID
	var key string
	var before *device.Enrollment
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		l, offer, err := s.associated(tx, c.Pass, c.OOBCode)
		if err != nil {
			return err
		}
		uid = l.UID
		key = offer
		before, err = device.ConfirmedBy(tx, uid, key, c.Response.CredentialID())
		if errors.Is(err, device.ErrTicket) {
			err = nil
		}
		return err
	})
	if err != nil || before != nil {
		return PasskeyConfirmed{Enrollment: before}, err
	}
	made, err := s.passkeys.VerifyRegistration(ctx, uid, key, c.Response)
	if err != nil {
		return PasskeyConfirmed{}, err
	}
	var confirmed PasskeyConfirmed
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		confirmed, err = s.confirmPasskey(tx, c, made)
		return err
	})
	return confirmed, err
}

func (s *Service) confirmPasskey(tx *storage.Tx, c PasskeyConfirmation, made *passkey.Registration) (PasskeyConfirmed, error) {
	l, key, err := s.associated(tx, c.Pass, c.OOBCode)
	if err != nil {
		return PasskeyConfirmed{}, err
	}
	o, err := device.WaitingOffer(tx, l.UID, key)
	if err != nil {
		return PasskeyConfirmed{}, err
	}
	if err := s.passkeys.Registered(tx, made); err != nil {
		return PasskeyConfirmed{}, err
	}
	p := made.Passkey
	p.AddedBy = addedBy(c.Pass, l.Record)
	if p.AddedBy == device.AddedByPasskey {
		by, err := device.Get(tx, l.UID, l.Record.By)
		if err != nil {
			return PasskeyConfirmed{}, err
		}
		p.CountsFrom = by.WebAuthn.CountsFrom // a probation is not left by adding another
	}
	e, err := s.devices.ConfirmOfferByPasskey(tx, l.UID, key, device.NewPasskey{Type: made.Type, Passkey: p}, c.Actor.WithClient(l.Record.Client))
	return PasskeyConfirmed{Enrollment: e, Code: o.Code}, err
}

// associated reads the login of an association, and the key of its offer, which the pass has made and no other.
//
// Errors: ErrGrant; ErrMFATokenExpired; ErrEnrolment; ErrBlocked.
func (s *Service) associated(tx *storage.Tx, p Pass, oobCode string) (l row, key string, err error) {
	prefix := setUpPrefix
	if p.Enrols {
		prefix = enrolmentPrefix
		l, _, err = s.enrolling(tx, p)
		key = enrolmentKey(l)
	} else {
		l, err = s.byGrant(tx, p.Login)
		key = l.Key
	}
	if err != nil {
		return l, "", err
	}
	uid, named, ok := s.ring.ParseID(prefix, oobCode)
	if !ok || uid != l.UID || named != l.Key {
		return l, "", ErrGrant
	}
	return l, key, nil
}

// RedeemPasskey satisfies the login of an mfa_token by what one of the user's passkeys has signed for the challenge that was asked
// under it. The first answer may be lost: so a repeat of the call gets the same outcome while the mfa_token lives and the passkey is in
// service.
//
// Errors: ErrMFAToken; ErrMFATokenExpired; ErrBlocked; ErrGrant, when the login is decided already; ErrDenied for a repeat when the passkey
// is out of service; passkey.ErrResponse; passkey.ErrCeremony; passkey.ErrRefused; passkey.ErrCopied (kept); passkey.ErrBound (kept); ErrWeakProof, which spends nothing.
func (s *Service) RedeemPasskey(ctx context.Context, g Grant, r passkey.Response) (Outcome, error) {
	if err := g.check(); err != nil || g.Pass.Enrols || s.passkeys == nil {
		return Outcome{}, ErrMFAToken
	}
	var l row
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		l, err = s.byGrant(tx, g.Pass.Login)
		return err
	})
	if err != nil {
		return Outcome{}, err
	}
	var o Outcome
	if l.Record.State != Pending {
		err = s.store.Update(ctx, func(tx *storage.Tx) error {
			now, err := s.byGrant(tx, g.Pass.Login)
			if err == nil {
				o, err = s.passkeyAgain(tx, g, now, r)
			}
			return err
		})
		return o, err
	}
	signed, err := s.passkeys.Verify(ctx, l.UID, l.Key, r)
	if err != nil {
		return Outcome{}, err
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		o, err = s.redeemPasskey(tx, g, signed, r)
		return err
	})
	return o, err
}

func (s *Service) redeemPasskey(tx *storage.Tx, g Grant, signed *passkey.Assertion, r passkey.Response) (Outcome, error) {
	l, err := s.byGrant(tx, g.Pass.Login)
	if err != nil {
		return Outcome{}, err
	}
	if l.Record.State != Pending {
		return s.passkeyAgain(tx, g, l, r)
	}
	actor := g.Actor.WithClient(l.Record.Client)
	e, err := s.passkeys.Accept(tx, signed, actor)
	if errors.Is(err, passkey.ErrCopied) || errors.Is(err, passkey.ErrBound) {
		facts := audit.Facts{audit.FactMethod: audit.Word(ByPasskey), audit.FactWhy: audit.WhyPasskey}
		return Outcome{}, errors.Join(err, audit.Record(tx, g.Actor, eventOf(l, audit.AuthFailed, facts), audit.Detail{}))
	}
	if err != nil {
		return Outcome{}, err
	}
	l.Record.Collected = tx.Now() // the grant itself collects it
	if g.Enrols {
		if err := s.mayEnrolByPasskey(tx, l.UID, e.WebAuthn); err != nil {
			return Outcome{}, err
		}
		l.Record.EnrolUntil = tx.Now().Add(enrolFor)
	}
	d := decision{login: l, by: e, detail: e.Detail()}
	if err := d.approve(tx, g.Actor, ByPasskey); err != nil {
		return Outcome{}, err
	}
	kept := recovery.Reply{Code: s.hashOf(l.UID, r)}
	if err := recovery.KeepReply(tx, l.UID, replyKey(l), kept, l.Record.replyLife(tx.Now())); err != nil {
		return Outcome{}, err
	}
	o, err := completed(tx, l)
	if err != nil {
		return o, err
	}
	o.EnrolUntil = l.Record.EnrolUntil
	o.Remember, err = s.remember(tx, g, l)
	return o, err
}

// passkeyAgain is passkeyBefore with the browser's next token, if it is remembered.
//
// Errors: ErrGrant; ErrDenied.
func (s *Service) passkeyAgain(tx *storage.Tx, g Grant, l row, r passkey.Response) (Outcome, error) {
	o, err := s.passkeyBefore(tx, l, r)
	if err == nil {
		o.Remember, err = s.rememberAgain(tx, g, l)
	}
	return o, err
}

// hashOf returns the keyed hash of a response, by which its repeat is known.
func (s *Service) hashOf(uid storage.UID, r passkey.Response) string {
	return s.codes.HashForReply(uid, recovery.Code(device.CredentialKey(r)))
}

// passkeyBefore returns the outcome of a login that this same response has satisfied.
//
// Errors: ErrGrant; ErrDenied.
func (s *Service) passkeyBefore(tx *storage.Tx, l row, r passkey.Response) (Outcome, error) {
	if l.Record.Method != ByPasskey {
		return Outcome{}, ErrGrant
	}
	return s.outcomeBefore(tx, l, recovery.Code(device.CredentialKey(r)))
}

// CheckPasskeys returns an error unless browsers can make passkeys for this installation.
//
// Errors: passkey.ErrNoDomain.
func (s *Service) CheckPasskeys(tx *storage.Tx) error {
	if s.passkeys == nil {
		return passkey.ErrNoDomain
	}
	_, err := s.passkeys.RelyingParty(tx)
	return err
}

// RelatedOrigins returns the origins whose pages may use the installation's passkeys, of the public URLs and of registered ones.
//
// Errors: passkey.ErrNoDomain.
func (s *Service) RelatedOrigins(ctx context.Context, registered []string) (origins []string, err error) {
	if s.passkeys == nil {
		return nil, passkey.ErrNoDomain
	}
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		origins, err = s.passkeys.RelatedOrigins(tx, registered)
		return err
	})
	return origins, err
}
