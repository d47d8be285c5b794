package login

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
)

// Finished is how a browser leaves a hosted page.
type Finished struct {
	Redirect string // where it goes
	State    string // the client's own
	Code     string // "" when the client gets none
	Refused  bool   // with error=access_denied
	Manages  bool   // to the person's own page, and from there to Redirect
	Remember string // the token of the browser, when it is to be remembered
}

// FinishPage returns where the browser of a page goes next, with a code for the satisfied login. The answer may be
// lost, so until the code is exchanged another call gives another code, and the one before ends.
//
// Errors: ErrPage, also when the code was exchanged; ErrPageTaken; ErrUndecided; ErrUnsaved; ErrBlocked; ErrDenied.
func (s *Service) FinishPage(ctx context.Context, v Visit) (f Finished, err error) {
	secret := storage.NewID("", pageSecretChars)
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		f = Finished{}
		l, u, err := s.visitedBy(tx, v)
		if err != nil {
			return err
		}
		state, err := s.pageState(tx, l, u)
		if err != nil {
			return err
		}
		if err := finishable(state); err != nil {
			return err
		}
		if err := s.completePage(tx, l, v); err != nil {
			return err
		}
		if f.Remember, err = s.rememberPage(tx, l); err != nil {
			return err
		}
		// Fill in the answer, and note the code in the login.
		secrets, err := l.Record.pageSecrets()
		if err != nil {
			return err
		}
		p := l.Record.Page
		f.Redirect = p.Redirect
		f.State = secrets.State
		p.CodeUntil = tx.Now().Add(PageCodeLife)
		p.Until = later(p.Until, p.CodeUntil.Add(PageCodeLife))
		if p.Finished.IsZero() {
			p.Finished = tx.Now()
		}
		f.Manages = p.Purpose == PageManage
		if !f.Manages {
			f.Code = s.idOf(pageCodePrefix, l.UID, l.Key) + "." + secret
			p.Code = s.hashPageCode(l, secret)
		}
		return logins.Put(tx, l.UID, l.Key, l.Record)
	})
	return f, err
}

// finishable returns an error unless a page in a state can send its browser back.
func finishable(state PageState) error {
	switch state {
	case PageReady:
		return nil
	case PageBlocked:
		return ErrBlocked
	case PageSaves, PageOffers:
		return ErrUnsaved
	case PageAsks, PageEnrols:
		return ErrUndecided
	case PageOver, PageCancelled:
		return ErrDenied
	default:
		return ErrPage
	}
}

func (s *Service) hashPageCode(l row, secret string) string {
	return s.ring.Hash(pageCodePurpose, l.UID[:], []byte(l.Key), []byte(secret))
}

// completePage satisfies the login of a page by the enrolment that it has led to, and counts it when the page collects it.
func (s *Service) completePage(tx *storage.Tx, l row, v Visit) error {
	if l.Record.State == Pending {
		made, err := hasTaken(tx, l)
		if err != nil {
			return err
		}
		if made == nil {
			return ErrUndecided
		}
		method := ByKey
		switch {
		case made.Type.IsPasskey():
			method = ByPasskey
		case made.Type == device.TypeOTP:
			method = ByOTP
		}
		d := decision{login: l, by: made, detail: made.Detail()}
		if err := d.approve(tx, v.Actor.WithClient(l.Record.Client), method); err != nil {
			return err
		}
	}
	if !l.Record.Collected.IsZero() {
		return nil
	}
	l.Record.Collected = tx.Now()
	_, err := completed(tx, l)
	return err
}

// rememberPage has the browser of a page remembered, if the person wants that, and returns its token.
func (s *Service) rememberPage(tx *storage.Tx, l row) (string, error) {
	p := l.Record.Page
	if p.Before || l.Record.Method == ByRecoveryCode {
		return "", nil
	}
	g := Grant{Remember: p.Remember}
	if p.Finished.IsZero() {
		return s.remember(tx, g, l)
	}
	return s.rememberAgain(tx, g, l)
}

// CancelPage ends a page, whose browser goes back without a code. The phones are asked no more. It can be repeated, and is what follows
// when a page is over.
//
// Errors: ErrPage, also when a code was given; ErrPageTaken.
func (s *Service) CancelPage(ctx context.Context, v Visit) (f Finished, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		l, _, err := s.visitedBy(tx, v)
		if err != nil {
			return err
		}
		secrets, err := l.Record.pageSecrets()
		if err != nil {
			return err
		}
		p := l.Record.Page
		if !p.Finished.IsZero() {
			return ErrPage
		}
		f = Finished{
			Redirect: p.Redirect,
			State:    secrets.State,
			Refused:  true,
		}
		if p.Cancelled {
			return nil
		}
		if l.Record.pending(tx.Now()) {
			if err := errors.Join(endApproval(tx, l), settle(tx, l)); err != nil {
				return err
			}
			l.Record.State = Denied
			l.Record.Decided = tx.Now()
			l.Record.count(tx, string(Denied), methodNone)
		}
		p.Cancelled = true
		tx.Wake(l.UID)
		return logins.Put(tx, l.UID, l.Key, l.Record)
	})
	return f, err
}

// PageExchange is what a client exchanges for the outcome of a hosted page.
type PageExchange struct {
	Client   string
	Code     string
	Redirect string // as in the request
	Verifier string // of the code challenge
}

// ExchangePage hands the outcome of a hosted page to the client that asked for it, once, for the code that the browser came back with.
//
// Errors: ErrGrant; ErrBlocked; ErrDenied, when the authenticator that has proven the user is out of service.
func (s *Service) ExchangePage(ctx context.Context, e PageExchange) (o Outcome, err error) {
	id, secret, _ := strings.Cut(e.Code, ".")
	sum := sha256.Sum256([]byte(e.Verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		l, err := s.find(tx, pageCodePrefix, id)
		if errors.Is(err, ErrExpired) || err == nil && l.Record.Page == nil {
			err = ErrGrant
		}
		if err != nil {
			return err
		}
		p := l.Record.Page
		switch {
		case p.Code == "" || !s.ring.MatchesIn(tx, p.Code, pageCodePurpose, l.UID[:], []byte(l.Key), []byte(secret)),
			l.Record.Client != e.Client, p.Redirect != e.Redirect, !p.Taken.IsZero(), !tx.Now().Before(p.CodeUntil),
			subtle.ConstantTimeCompare([]byte(p.Challenge), []byte(challenge)) != 1:
			return ErrGrant
		}
		u, err := user.Get(tx, l.UID)
		if err != nil {
			return err
		}
		if u.Blocked {
			return ErrBlocked
		}
		if err := l.Record.stands(tx, u); err != nil {
			return err
		}
		p.Taken = tx.Now()
		tx.Wake(l.UID)
		o = outcomeOf(u, l)
		return logins.Put(tx, l.UID, l.Key, l.Record)
	})
	return o, err
}

// Managed is a finished request for a person's own page.
type Managed struct {
	UID        storage.UID
	UserID     string
	Login      string           // key of the login that she has satisfied
	Method     Method           // that has proven her
	Proved     time.Time        // when, in the store's time
	Proof      device.GrantedBy // what the proof stands on
	Client     string
	ClientName string // as people see it
	Redirect   string // where the browser goes from her page
	State      string // that it brings there
}

// TakeManaged hands over a finished request for a person's own page to the browser that it belongs to. The answer may be lost: so for a
// minute after the page was finished the same browser gets the same again.
//
// Errors: ErrPage; ErrPageTaken; ErrBlocked; ErrDenied, when the authenticator that has proven her is out of service.
func (s *Service) TakeManaged(tx *storage.Tx, v Visit) (Managed, error) {
	l, u, err := s.visitedBy(tx, v)
	if err != nil {
		return Managed{}, err
	}
	p := l.Record.Page
	if p.Purpose != PageManage || p.Finished.IsZero() || !tx.Now().Before(p.CodeUntil) {
		return Managed{}, ErrPage
	}
	if u.Blocked {
		return Managed{}, ErrBlocked
	}
	if err := l.Record.stands(tx, u); err != nil {
		return Managed{}, err
	}
	secrets, err := l.Record.pageSecrets()
	if err != nil {
		return Managed{}, err
	}
	p.Taken = tx.Now()
	return Managed{
		UID:        l.UID,
		UserID:     u.ID,
		Login:      l.Key,
		Method:     l.Record.Method,
		Proved:     l.Record.Decided,
		Proof:      s.proofOf(l),
		Client:     l.Record.Client,
		ClientName: l.Record.ClientName,
		Redirect:   p.Redirect,
		State:      secrets.State,
	}, logins.Put(tx, l.UID, l.Key, l.Record)
}

// MayEnrolBy returns an error unless what has proven a user lets another authenticator enrol, as for an enrolment token. enrollment is the
// authenticator that has proven her; "" for the recovery code.
//
// Errors: ErrWeakProof; device.ErrNoEnrollment.
func (s *Service) MayEnrolBy(tx *storage.Tx, uid storage.UID, method Method, enrollment string) error {
	if method != ByPasskey {
		return s.mayEnrolBy(tx, uid, method)
	}
	e, err := device.Get(tx, uid, enrollment)
	if err != nil {
		return err
	}
	return s.mayEnrolByPasskey(tx, uid, e.WebAuthn)
}
