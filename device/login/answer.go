package login

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"time"

	json "github.com/go-json-experiment/json/v1"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/legible"
)

// maxAnswerLife is how long after iat the exp of an answer may lie. The SDKs use 30 s; they read the clock twice, so we allow
// more.
const maxAnswerLife = 60 * time.Second

// maxReasonBytes bounds the reason of a denial; it is only for the event log.
const maxReasonBytes = 256

// answerClaims are the claims of a signed answer.
//
// Source: guardian-wire.md §4.2; tutela_number is ours.
type answerClaims struct {
	device.Claims
	Method   string `json:"auth0_guardian_method"`
	Accepted *bool  `json:"auth0_guardian_accepted"`
	Reason   string `json:"auth0_guardian_reason"`
	Number   string `json:"tutela_number"`
}

// signedAnswer is an answer with a valid signature.
type signedAnswer struct {
	uid        storage.UID
	key        string // key of the login's row
	enrollment string
	signedBy   device.Key
	claims     answerClaims
}

// Answer decides a login by the answer that a phone has signed. A repeat of the same decision by the same key gets the same
// outcome, also in a new JWT: apps sign one when the first reply was lost. The server's nonce and clock decide freshness;
// the times in the claims are compared only with each other.
//
// Errors: keyring.ErrToken, for a txtkn that this server did not make; ErrAnswer, device.ErrSignature, device.ErrClaims;
// ErrNoLogin; ErrNumberMissing, which decides nothing; ErrNumber, which denies (kept); device.ErrFactorOff.
func (s *Service) Answer(ctx context.Context, txtkn, challengeResponse string, actor audit.Actor) error {
	a, err := s.verify(ctx, txtkn, challengeResponse)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		l, e, err := s.decidable(tx, a)
		if err != nil {
			return err
		}
		if l.Record.State != Pending {
			return l.Record.outcomeOf(a)
		}
		return s.decide(tx, a, l, e, actor)
	})
}

// CheckTransaction returns an error unless this server made the txtkn. It does not read the store. [Service.Answer] does the
// rest.
//
// Errors: keyring.ErrToken.
func (s *Service) CheckTransaction(txtkn string) error {
	var t transactionClaims
	return s.ring.VerifyToken(keyring.TransactionToken, txtkn, &t)
}

// verify checks everything that needs no transaction: the token, the signature and the claims.
func (s *Service) verify(ctx context.Context, txtkn, response string) (signedAnswer, error) {
	var a signedAnswer
	var t transactionClaims
	if err := s.ring.VerifyToken(keyring.TransactionToken, txtkn, &t); err != nil {
		return a, err
	}
	// Read the login, and the key of the phone that the token was made for.
	var challenge string
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		l, err := s.find(tx, transactionPrefix, t.ID)
		if errors.Is(err, ErrGrant) || errors.Is(err, ErrExpired) {
			return ErrNoLogin
		}
		if err != nil {
			return err
		}
		e, err := device.Get(tx, l.UID, t.Enrollment)
		if errors.Is(err, device.ErrNoEnrollment) {
			return ErrNoLogin
		}
		if err != nil {
			return err
		}
		a.uid = l.UID
		a.key = l.Key
		a.enrollment = e.ID
		a.signedBy = e.Push.Key
		challenge = l.Record.Challenge
		return nil
	})
	if err != nil {
		return a, err
	}
	// Check the signature and the claims outside of a transaction.
	payload, err := a.signedBy.Verify(response)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(payload, &a.claims); err != nil {
		return a, ErrAnswer
	}
	err = a.check(challenge, s.bases)
	return a, err
}

// check checks the claims. It accepts any iss under a good signature, because iOS changes its identifier after a restore.
func (a *signedAnswer) check(challenge string, bases device.Bases) error {
	c := &a.claims
	if subtle.ConstantTimeCompare([]byte(c.Subject), []byte(challenge)) != 1 {
		return ErrAnswer.With("the answer is not to this challenge")
	}
	if !bases.Names(c.Audience, "/api/resolve-transaction") {
		return ErrAnswer.With("the answer's aud is not this server")
	}
	if c.Method != "push" || c.Accepted == nil {
		return ErrAnswer.With("the answer lacks auth0_guardian_method or auth0_guardian_accepted")
	}
	_, _, err := c.Life(maxAnswerLife)
	return err
}

// decidable checks again, inside the transaction, what the answer relies on: the login exists, its enrollment is in use,
// was asked and still has the key, and the user is not blocked.
func (s *Service) decidable(tx *storage.Tx, a signedAnswer) (row, *device.Enrollment, error) {
	l, err := read(tx, a.uid, a.key)
	if errors.Is(err, storage.ErrNotFound) {
		return row{}, nil, ErrNoLogin
	}
	if err != nil {
		return row{}, nil, err
	}
	blocked, err := isBlocked(tx, a.uid)
	if err != nil {
		return row{}, nil, err
	}
	e, err := device.Get(tx, a.uid, a.enrollment)
	if errors.Is(err, device.ErrNoEnrollment) || blocked {
		return row{}, nil, ErrNoLogin
	}
	if err != nil {
		return row{}, nil, err
	}
	if e.Status == device.Suspended {
		return row{}, nil, device.ErrSuspended
	}
	if !e.Answers() || !e.Push.Key.Same(a.signedBy) || !slices.Contains(l.Record.Asked, e.ID) {
		return row{}, nil, ErrNoLogin
	}
	if l.Record.State == Pending && !l.Record.pending(tx.Now()) {
		return row{}, nil, ErrNoLogin.With("the login is too old to be answered")
	}
	return l, e, nil
}

// outcomeOf returns the outcome of a decided login, if the same key repeats the same decision. For any other answer it
// returns that it is too late.
func (l *Login) outcomeOf(a signedAnswer) error {
	accepted := l.State == Approved || l.Wrong
	switch {
	case l.By != a.enrollment || accepted != *a.claims.Accepted || l.Wrong != l.wrongNumber(a):
		return ErrNoLogin.With("the login was decided already")
	case l.Wrong:
		return ErrNumber
	default:
		return nil
	}
}

// wrongNumber reports whether an answer accepts the login with another number than the login shows.
func (l *Login) wrongNumber(a signedAnswer) bool {
	return *a.claims.Accepted && l.Number != "" && subtle.ConstantTimeCompare([]byte(l.Number), []byte(a.claims.Number)) != 1
}

// decide writes the phone's decision.
//
// While the factor push is switched off, a yes is refused but a no counts.
//
// Errors: ErrNumberMissing and device.ErrFactorOff, which decide nothing; ErrNumber (kept).
func (s *Service) decide(tx *storage.Tx, a signedAnswer, found row, e *device.Enrollment, actor audit.Actor) error {
	l := found.Record
	accepted := *a.claims.Accepted
	if accepted && l.Number != "" && a.claims.Number == "" {
		return ErrNumberMissing
	}
	// What the event of the answer will say, whatever the answer is.
	l.Wrong = l.wrongNumber(a)
	d := decision{
		login:  found,
		by:     e,
		facts:  a.facts(l, e),
		detail: a.detail(e),
	}
	l.noteConsent(e, d.facts, &d.detail)
	if accepted && !l.Wrong {
		if err := device.RequireFactor(tx, device.FactorPush); err != nil {
			return err
		}
	}
	if l.Purpose == purposeCaller {
		return s.decideCaller(tx, a, d, actor)
	}
	switch {
	case l.Wrong:
		d.facts[audit.FactWhy] = audit.WhyNumber
		if err := d.deny(tx, actor, audit.AuthFailed, false); err != nil {
			return err
		}
		return storage.Kept(ErrNumber)
	case !accepted:
		reason := audit.Word(a.claims.Reason)
		notMe := reason == audit.WhyNotMe || reason == audit.WhyHack
		if notMe {
			d.facts[audit.FactWhy] = reason
		}
		return d.deny(tx, actor, audit.AuthRejected, notMe)
	}
	// Approved. A tap without a number gets an event of its own.
	if l.Number == "" {
		if err := audit.Record(tx, actor, eventOf(found, audit.TapApproval, d.facts), audit.Detail{Device: e.Name, Enrollment: e.ID}); err != nil {
			return err
		}
	}
	return errors.Join(d.approve(tx, actor, ByKey), recovery.OpenCode(tx, a.uid))
}

func (a *signedAnswer) facts(l *Login, e *device.Enrollment) audit.Facts {
	facts := audit.Facts{audit.FactPresence: audit.Word(l.presence())}
	if a.claims.Issuer != e.Push.Identifier {
		facts[audit.FactIdentifier] = audit.IdentifierChanged
	}
	return facts
}

func (a *signedAnswer) detail(e *device.Enrollment) audit.Detail {
	reason := legible.Clean(a.claims.Reason, maxReasonBytes)
	return audit.Detail{Device: e.Name, Enrollment: e.ID, Text: reason}
}

func isBlocked(tx *storage.Tx, uid storage.UID) (bool, error) {
	u, err := user.Get(tx, uid)
	if err != nil {
		return false, err
	}
	return u.Blocked, nil
}
