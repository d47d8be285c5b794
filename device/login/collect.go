package login

import (
	"context"
	"time"

	"tutela/recovery/user"
	"tutela/storage"
)

// Outcome is an approved login as its client collects it, once.
type Outcome struct {
	UserID  string
	Login   Login
	Decided time.Time // when it was decided, in the store's time

	Remember string // the token of the browser, when it is to be remembered

	EnrolUntil time.Time // until when an enrolment token counts that comes with it, in the store's time; zero: none comes
}

// outcomeOf is the outcome of a user's login.
func outcomeOf(u *user.User, l row) Outcome {
	return Outcome{UserID: u.ID, Login: *l.Record, Decided: l.Record.Decided}
}

// Collect hands the outcome of a login to the client that began it, once, and does not wait for it; [Service.Exchange] does.
//
// Errors: ErrGrant; ErrExpired; ErrUndecided; ErrDenied; ErrBlocked.
func (s *Service) Collect(ctx context.Context, client, id string) (Outcome, error) {
	// Most polls find nothing to collect, so the first look writes nothing.
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		l, err := s.find(tx, requestPrefix, id)
		if err != nil {
			return err
		}
		u, err := user.Get(tx, l.UID)
		if err != nil {
			return err
		}
		return l.Record.collectable(tx, u, client)
	})
	if err != nil {
		return Outcome{}, err
	}
	return s.collect(context.WithoutCancel(ctx), client, id)
}

// collectable returns an error unless the client can collect the login's outcome.
//
// Errors: ErrGrant; ErrExpired; ErrUndecided; ErrDenied; ErrBlocked.
func (l *Login) collectable(tx *storage.Tx, u *user.User, client string) error {
	switch {
	case l.Client != client || !l.Collected.IsZero() || l.Challenge == "":
		return ErrGrant
	case u.Blocked:
		return ErrBlocked
	case l.State == Denied:
		return ErrDenied
	case l.State == Approved:
		return l.stands(tx, u)
	case l.pending(tx.Now()):
		return ErrUndecided
	default:
		return ErrExpired
	}
}

func (s *Service) collect(ctx context.Context, client, id string) (Outcome, error) {
	var o Outcome
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		found, err := s.find(tx, requestPrefix, id)
		if err == nil {
			o, err = take(tx, found, client)
		}
		return err
	})
	return o, err
}

// take hands over the outcome of a login, once.
//
// Errors: ErrGrant; ErrExpired; ErrUndecided; ErrDenied; ErrBlocked.
func take(tx *storage.Tx, found row, client string) (Outcome, error) {
	l := found.Record
	u, err := user.Change(tx, found.UID, func(u *user.User) error {
		countLogin(tx, u)
		return l.collectable(tx, u, client)
	})
	if err != nil {
		return Outcome{}, err
	}
	l.Collected = tx.Now()
	return Outcome{UserID: u.ID, Login: *l, Decided: l.Decided}, logins.Put(tx, found.UID, found.Key, l)
}

// completed counts a login whose outcome its client gets now.
func completed(tx *storage.Tx, l row) (Outcome, error) {
	u, err := user.Change(tx, l.UID, func(u *user.User) error {
		if !l.Record.StepUp {
			countLogin(tx, u)
		}
		return nil
	})
	if err != nil {
		return Outcome{}, err
	}
	return outcomeOf(u, l), nil
}

// countLogin notes on a user's record that a login was completed.
func countLogin(tx *storage.Tx, u *user.User) {
	u.Logins++
	u.LastLogin = tx.Now()
}
