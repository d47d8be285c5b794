package login

import (
	"context"
	"errors"
	"time"

	"tutela/device"
	"tutela/device/otp"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Proof is what a login has proven of its user, as her own page keeps it.
type Proof struct {
	Login    string    `json:"login"` // key of the login
	Client   string    `json:"client"`
	Method   Method    `json:"method"`
	By       string    `json:"by,omitempty"`        // the enrollment; "" for the recovery code
	CodeMark string    `json:"code_mark,omitempty"` // of the recovery code that followed the one that has proven her
	Since    time.Time `json:"since"`               // since when she has had the factor
	At       time.Time `json:"at"`
	Until    time.Time `json:"until,omitzero"` // until then it lets her add and remove authenticators; zero: it does not
}

// StandsOn returns what a proof stands on.
func (p Proof) StandsOn() device.GrantedBy {
	return device.GrantedBy{Client: p.Client, Enrollment: p.By, CodeMark: p.CodeMark}
}

// ErrTapped refuses a proof that was only tapped.
var ErrTapped = storage.NewError(storage.Denied, "an approval that is tapped opens no page of one's own: match the number, or use another factor")

// ProofOf returns what a satisfied login by grant has proven about its user. If the proof is strong enough for an
// enrolment token, the login allows the same as such a token.
//
// Errors: ErrUndecided; ErrExpired; ErrTapped, also when nobody knows any more how it was approved.
func (s *Service) ProofOf(tx *storage.Tx, uid storage.UID, key string) (Proof, error) {
	l, err := read(tx, uid, key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return Proof{}, ErrExpired
	case err != nil:
		return Proof{}, err
	case l.Record.State != Approved:
		return Proof{}, ErrUndecided
	}
	setUp, err := setUpBy(tx, l)
	if err != nil {
		return Proof{}, err
	}
	// An approval must have matched a number: a mere tap is too weak.
	if l.Record.Method == ByKey && !setUp {
		a, known, err := approvalOf(tx, l)
		if err != nil {
			return Proof{}, err
		}
		if !known || a.Record.Number == "" {
			return Proof{}, ErrTapped
		}
	}
	p := Proof{
		Login:    key,
		Client:   l.Record.Client,
		Method:   l.Record.Method,
		By:       l.Record.By,
		CodeMark: l.Record.CodeMark,
		Since:    l.Record.CodeSince,
		At:       l.Record.Decided,
	}
	// Since when the user has had the factor that has proven her.
	if p.By != "" {
		e, err := device.Get(tx, uid, p.By)
		if err != nil {
			return Proof{}, err
		}
		p.Since = e.Enrolled
	}
	if !setUp {
		p.Until, err = s.letManage(tx, l)
	}
	return p, err
}

// setUpBy reports whether a login was satisfied by the enrolment that it was offered.
func setUpBy(tx *storage.Tx, l row) (bool, error) {
	taken, err := device.TakenOffer(tx, l.UID, l.Key)
	if errors.Is(err, device.ErrTicket) {
		return false, nil
	}
	return err == nil && !taken.Open, err
}

// letManage has a satisfied login let what an enrolment token lets, if what has satisfied it is enough for one, and returns until when;
// zero when it is not.
func (s *Service) letManage(tx *storage.Tx, l row) (time.Time, error) {
	if !l.Record.EnrolUntil.IsZero() {
		return l.Record.EnrolUntil, nil
	}
	var err error
	switch l.Record.Method {
	case ByRecoveryCode:
	case ByPasskey:
		e, gone := device.Get(tx, l.UID, l.Record.By)
		if gone != nil {
			return time.Time{}, gone
		}
		err = s.mayEnrolByPasskey(tx, l.UID, e.WebAuthn)
	case ByKey:
		var a row
		var known bool
		if a, known, err = approvalOf(tx, l); err != nil || !known || a.Record.Purpose != ToAddDevice && a.Record.Purpose != ToManage {
			return time.Time{}, err // the phone has not said that this is what it is for
		}
		err = s.mayEnrolBy(tx, l.UID, ByKey)
	default:
		err = s.mayEnrolBy(tx, l.UID, ByOTP)
	}
	if errors.Is(err, ErrWeakProof) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	l.Record.EnrolUntil = l.Record.Decided.Add(enrolFor)
	return l.Record.EnrolUntil, logins.Put(tx, l.UID, l.Key, l.Record)
}

// PassOf returns the enrolment token that a proof is.
func (s *Service) PassOf(uid storage.UID, p Proof) Pass {
	return Pass{Login: s.idOf(mfaPrefix, uid, p.Login), Client: p.Client, Enrols: true}
}

// FollowCode has what a login lets stand on the user's present recovery code, since whoever may has just replaced it.
func FollowCode(tx *storage.Tx, uid storage.UID, key, mark string) error {
	l, err := read(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil || l.Record.CodeMark == "" {
		return err
	}
	l.Record.CodeMark = mark
	return logins.Put(tx, uid, key, l.Record)
}

// BeginStepUp begins a login by grant by which a user who is on her own page proves more. key is drawn for it. It logs her in nowhere.
//
// Errors: ErrTooManyStarts.
func (s *Service) BeginStepUp(tx *storage.Tx, uid, key storage.UID, start MFAStart) error {
	l := start.login(tx.Now(), "")
	l.StepUp = true
	return startMFA(tx, row{UID: uid, Key: key.String(), Record: l}, start)
}

// StepUp is a login that BeginStepUp has begun.
type StepUp struct {
	UID    storage.UID
	Key    string
	Client string
	Actor  audit.Actor
}

// stepUpGrant returns the grant that satisfies a step-up, which always asks for an enrolment token.
func (s *Service) stepUpGrant(up StepUp) Grant {
	return Grant{
		Client: up.Client,
		Pass:   Pass{Login: s.idOf(mfaPrefix, up.UID, up.Key), Client: up.Client},
		Enrols: true,
		Actor:  up.Actor,
	}
}

// StepUpWays are the ways by which a user can step up now.
type StepUpWays struct {
	Number  bool // by a number, on a phone of hers
	OTP     bool
	Passkey bool
	Code    bool
}

// StepUpWays returns by what a user can prove enough to add and remove authenticators.
func (s *Service) StepUpWays(tx *storage.Tx, uid storage.UID) (w StepUpWays, err error) {
	set, err := device.All(tx, uid)
	if err != nil {
		return w, err
	}
	var m MFAStarted
	if err := m.requirements(tx, uid, set); err != nil && !errors.Is(err, ErrNoFactor) {
		return w, err
	}
	usable, err := s.usablePasskeys(tx, set)
	if err != nil {
		return w, err
	}
	w.Code = m.Codes
	for _, e := range usable {
		err := s.mayEnrolByPasskey(tx, uid, e.WebAuthn)
		if err != nil && !errors.Is(err, ErrWeakProof) {
			return w, err
		}
		w.Passkey = w.Passkey || err == nil
	}
	if m.Phones {
		_, matching, err := choose(tx, set.Phones(), false)
		if err != nil && !errors.Is(err, ErrPresence) {
			return w, err
		}
		w.Number, err = may(s.mayEnrolBy(tx, uid, ByKey))
		if err != nil {
			return w, err
		}
		w.Number = w.Number && matching
	}
	if m.OTP {
		w.OTP, err = may(s.mayEnrolBy(tx, uid, ByOTP))
	}
	return w, err
}

// may tells a refusal from a failure.
func may(err error) (bool, error) {
	if errors.Is(err, ErrWeakProof) {
		return false, nil
	}
	return err == nil, err
}

// RingForStepUp asks the user's phones for a number. Once more rings again, for the same number. random and nonce are drawn for it.
//
// Errors: those of Challenge.
func (s *Service) RingForStepUp(tx *storage.Tx, up StepUp, random storage.UID, nonce string) (Challenged, error) {
	return s.challenge(tx, Challenge{Pass: s.stepUpGrant(up).Pass, Push: true, ToEnroll: true}, random, nonce)
}

// StepsUp reports whether a login that BeginStepUp has begun can still be satisfied.
func StepsUp(tx *storage.Tx, uid storage.UID, key string) (bool, error) {
	l, err := read(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil && l.Record.pending(tx.Now()), err
}

// Ringing is how an approval stands that phones are asked for a step-up.
type Ringing struct {
	Number   string
	Delivery Delivery
	Expires  time.Time
	State    State // pending, also when it is over
}

// Ringing returns how the approval stands that a step-up has asked for last.
//
// Errors: ErrExpired, when there is none.
func (s *Service) Ringing(tx *storage.Tx, uid storage.UID, key string) (Ringing, error) {
	l, err := read(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return Ringing{}, ErrExpired
	}
	if err != nil {
		return Ringing{}, err
	}
	a, known, err := approvalOf(tx, l)
	if err == nil && !known {
		err = ErrExpired
	}
	if err != nil {
		return Ringing{}, err
	}
	return Ringing{
		Number:   a.Record.Number,
		Delivery: a.Record.Delivery,
		Expires:  a.Record.Expires,
		State:    a.Record.State,
	}, nil
}

// NewNonce draws what RingForStepUp has phones sign.
func NewNonce() string { return newChallenge() }

// CollectStepUp steps up by an approval, whose oob_code is given, once it is there. It has no interval: its caller waits for it.
//
// Errors: those of RedeemOOB, but for ErrSlowDown.
func (s *Service) CollectStepUp(tx *storage.Tx, up StepUp, oobCode string) error {
	_, err := s.redeemOOB(tx, s.stepUpGrant(up), oobCode)
	return err
}

// StepUpByCode steps up by the recovery code, as RedeemCode does, and returns the next one. typo is the error of recovery.ParseCode.
//
// Errors: those of RedeemCode.
func (s *Service) StepUpByCode(tx *storage.Tx, up StepUp, code recovery.Code, typo error) (recovery.Code, error) {
	o, err := s.redeemCode(tx, s.stepUpGrant(up), code, typo)
	return o.Next, err
}

// StepUpByOTP steps up by a one-time code, as RedeemOTP does. typo is the error of otp.Parse.
//
// Errors: those of RedeemOTP.
func (s *Service) StepUpByOTP(tx *storage.Tx, up StepUp, code otp.Code, typo error) error {
	_, err := s.redeemByOTP(tx, s.stepUpGrant(up), code, typo)
	return err
}

// AskPasskey returns the request options for the passkeys that let the user step up.
//
// Errors: ErrNoChallenge; those of passkey.Service.Begin.
func (s *Service) AskPasskey(tx *storage.Tx, up StepUp) (Challenged, error) {
	return s.challenge(tx, Challenge{Pass: s.stepUpGrant(up).Pass, Passkey: true}, storage.UID{}, "")
}

// VerifyStepUp checks what a browser has sent for the challenge of AskPasskey. It writes nothing.
//
// Errors: those of passkey.Service.Verify.
func (s *Service) VerifyStepUp(ctx context.Context, up StepUp, r passkey.Response) (*passkey.Assertion, error) {
	if s.passkeys == nil {
		return nil, ErrNoChallenge
	}
	return s.passkeys.Verify(ctx, up.UID, up.Key, r)
}

// StepUpByPasskey steps up by what VerifyStepUp has checked.
//
// Errors: those of RedeemPasskey.
func (s *Service) StepUpByPasskey(tx *storage.Tx, up StepUp, signed *passkey.Assertion, r passkey.Response) error {
	_, err := s.redeemPasskey(tx, s.stepUpGrant(up), signed, r)
	return err
}

// ConfirmByOTP confirms the association of a pass by the first code that the new app shows.
//
// Errors: those of RedeemOTP for an enrolment token.
func (s *Service) ConfirmByOTP(tx *storage.Tx, p Pass, typed string, actor audit.Actor) error {
	code, typo := otp.Parse(typed)
	_, err := s.confirmByOTP(tx, Grant{Client: p.Client, Pass: p, Actor: actor}, code, typo)
	return err
}

// VerifyNewPasskey checks what a browser has made for an association of an enrolment token. It writes nothing.
//
// Errors: ErrEnrolment; ErrBlocked; those of passkey.Service.VerifyRegistration.
func (s *Service) VerifyNewPasskey(ctx context.Context, c PasskeyConfirmation) (*passkey.Registration, error) {
	if s.passkeys == nil {
		return nil, device.ErrFactor
	}
	var uid storage.UID
	var key string
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		l, offer, err := s.associated(tx, c.Pass, c.OOBCode)
		uid = l.UID
		key = offer
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.passkeys.VerifyRegistration(ctx, uid, key, c.Response)
}

// AddPasskey confirms an association by what VerifyNewPasskey has checked.
//
// Errors: those of ConfirmPasskey.
func (s *Service) AddPasskey(tx *storage.Tx, c PasskeyConfirmation, made *passkey.Registration) (*device.Enrollment, error) {
	confirmed, err := s.confirmPasskey(tx, c, made)
	return confirmed.Enrollment, err
}

// AssociatedBy returns the authenticator that an association of a pass has enrolled.
//
// Errors: ErrUndecided; ErrExpired; ErrDenied; ErrEnrolment; ErrBlocked.
func (s *Service) AssociatedBy(tx *storage.Tx, p Pass) (*device.Enrollment, error) {
	l, _, err := s.enrolment(tx, p)
	if err != nil {
		return nil, err
	}
	return enrolledBy(tx, l.UID, enrolmentKey(l))
}

// AssociationOf returns what a page shows of the association of an enrolment token that nobody has confirmed: the text of its QR code,
// and the offer.
//
// Errors: device.ErrTicket.
func (s *Service) AssociationOf(tx *storage.Tx, uid storage.UID, key string, t device.Type) (uri string, o device.Offer, err error) {
	l, err := read(tx, uid, key)
	if err != nil {
		return "", o, err
	}
	u, err := user.Get(tx, uid)
	if err != nil {
		return "", o, err
	}
	o, err = device.WaitingOffer(tx, uid, enrolmentKey(l))
	if err != nil || t.IsPasskey() {
		return "", o, err
	}
	return s.devices.AssociationURI(u, o, t), o, nil
}

// HasEnrolled reports whether the enrolment token of a login has enrolled an authenticator: it enrols one.
func HasEnrolled(tx *storage.Tx, uid storage.UID, key string) (bool, error) {
	taken, err := device.TakenOffer(tx, uid, enrolmentKey(row{Key: key}))
	if errors.Is(err, device.ErrTicket) {
		return false, nil
	}
	return err == nil && !taken.Open, err
}
