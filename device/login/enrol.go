package login

import (
	"errors"
	"slices"
	"time"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
)

// enrolFor is how long after a proof an enrolment token counts.
const enrolFor = 20 * time.Minute

// Pass lets its holder satisfy a login or manage a user's authenticators. It is an mfa_token, or an enrolment token (a
// JWT that the edge has verified).
type Pass struct {
	Login  string // id of the login that it is for
	Client string // the client that it was given to
	Enrols bool   // it is an enrolment token
}

// Grant is what a client redeems at the token endpoint.
type Grant struct {
	Client   string // that redeems it
	Pass     Pass
	Enrols   bool // it asks for an enrolment token
	Remember bool // it asks to remember the browser
	Actor    audit.Actor
}

// check returns an error unless the pass is the client's own.
//
// Errors: ErrMFAToken.
func (g Grant) check() error {
	if g.Client != g.Pass.Client {
		return ErrMFAToken
	}
	return nil
}

// Errors of enrolment tokens.
var (
	ErrEnrolment = storage.NewError(storage.Denied, "the enrolment token is over: log in again")
	ErrWeakProof = storage.NewError(storage.Denied, "what was proven does not let another phone enrol: use a stronger factor, or the recovery code")
	ErrUnnamed   = storage.NewError(storage.Invalid, "for an enrolment token the audience is named at /mfa/challenge too, so that the phone can say what it is for")
	ErrEnrolled  = storage.NewError(storage.Denied, "the user is enrolled already: only an enrolment token adds another authenticator")
)

// ReadMFAToken returns the pass that an mfa_token is.
//
// Errors: ErrMFAToken.
func (s *Service) ReadMFAToken(token string) (Pass, error) {
	var t mfaClaims
	if err := s.ring.VerifyToken(keyring.MFAToken, token, &t); err != nil {
		return Pass{}, ErrMFAToken
	}
	return Pass{Login: t.ID, Client: t.Client}, nil
}

// mayEnrolBy returns an error unless a proof by the method gives an enrolment token. A page in the middle can relay a
// number or a one-time code, so they give none when the user has a factor that cannot be relayed.
//
// Errors: ErrWeakProof.
func (s *Service) mayEnrolBy(tx *storage.Tx, uid storage.UID, method Method) error {
	if method == ByRecoveryCode {
		return nil
	}
	set, err := device.All(tx, uid)
	if err != nil {
		return err
	}
	usable, err := s.usablePasskeys(tx, set)
	if err != nil {
		return err
	}
	counting, err := usable.CountingPasskeys(tx)
	if err != nil {
		return err
	}
	if len(counting) > 0 {
		return ErrWeakProof.With("the user has a passkey: only that, or the recovery code, lets another authenticator enrol")
	}
	if method != ByOTP {
		return nil
	}
	matches, err := matchesNumbers(tx, set)
	if err == nil && matches {
		err = ErrWeakProof.With("the user has a phone that matches numbers: only that, or the recovery code, lets another authenticator enrol")
	}
	return err
}

// mayEnrolByPasskey returns an error unless a passkey that has just signed gives an enrolment token. During its
// probation it counts only as much as the proof by which it was added.
//
// Errors: ErrWeakProof.
func (s *Service) mayEnrolByPasskey(tx *storage.Tx, uid storage.UID, p device.Passkey) error {
	if !tx.Now().Before(p.CountsFrom) {
		return nil
	}
	if p.AddedBy == device.AddedByNumber {
		return s.mayEnrolBy(tx, uid, ByKey)
	}
	return s.mayEnrolBy(tx, uid, ByOTP)
}

// matchesNumbers reports whether the user has a phone that matches numbers here, and that is in use.
func matchesNumbers(tx *storage.Tx, set device.Set) (bool, error) {
	enabled, err := device.FactorOn(tx, device.FactorPush)
	if err != nil || !enabled {
		return false, err
	}
	policy, err := device.ReadPresencePolicy(tx)
	if err != nil || policy == device.AlwaysTap {
		return false, err
	}
	stale, err := device.Stale(tx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(set.Phones(), func(e *device.Enrollment) bool {
		return e.Push.Can(device.NumberMatching) && e.SignedWithin(tx.Now(), stale)
	}), nil
}

// letEnrolByOTP makes a pending login give an enrolment token when a one-time code satisfies it, if the grant asks for
// one. A code that confirms an association gives none.
//
// Errors: ErrWeakProof.
func (s *Service) letEnrolByOTP(tx *storage.Tx, g Grant, l row) error {
	if !g.Enrols {
		return nil
	}
	confirms, err := hasOpenOffer(tx, l)
	if err != nil || confirms {
		return err
	}
	l.Record.EnrolUntil = tx.Now().Add(enrolFor)
	return s.mayEnrolBy(tx, l.UID, ByOTP)
}

// enrolling reads the login and the user of a valid enrolment token. A token ends when its client is removed, its user
// is blocked, or the factor that has proven her is gone.
//
// Errors: ErrEnrolment; ErrBlocked.
func (s *Service) enrolling(tx *storage.Tx, p Pass) (row, *user.User, error) {
	l, u, err := s.enrolment(tx, p)
	if err != nil {
		return row{}, nil, err
	}
	err = s.devices.Stands(tx, l.UID, s.proofOf(l))
	if errors.Is(err, device.ErrTicket) {
		err = ErrEnrolment
	}
	return l, u, err
}

// enrolment reads the login of an enrolment token that is not too old.
//
// Errors: ErrEnrolment; ErrBlocked.
func (s *Service) enrolment(tx *storage.Tx, p Pass) (row, *user.User, error) {
	l, err := s.find(tx, mfaPrefix, p.Login)
	switch {
	case errors.Is(err, ErrGrant), errors.Is(err, ErrExpired):
		return row{}, nil, ErrEnrolment
	case err != nil:
		return row{}, nil, err
	case l.Record.Client != p.Client || !tx.Now().Before(l.Record.EnrolUntil):
		return row{}, nil, ErrEnrolment
	}
	u, err := user.Get(tx, l.UID)
	if err == nil && u.Blocked {
		err = ErrBlocked
	}
	return l, u, err
}

// proofOf returns what the enrolment token of a login depends on.
func (s *Service) proofOf(l row) device.GrantedBy {
	return device.GrantedBy{
		Client:     l.Record.Client,
		Cause:      s.idOf(enrolmentPrefix, l.UID, l.Key),
		Enrollment: l.Record.By,
		CodeMark:   l.Record.CodeMark,
	}
}

// enrolmentKey returns the key of the one offer that an enrolment token can make.
func enrolmentKey(l row) string { return "enrol:" + l.Key }
