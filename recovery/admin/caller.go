package admin

import (
	"context"
	"errors"
	"time"

	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// CheckCaller asks the phones of a user whether it is she who rings the help desk; see [login.Service.AskCaller]. name is the
// help desk's, and note what her phones show.
//
// Errors: user.ErrUnknown; ErrRefused; those of login.Service.AskCaller.
func (s *Service) CheckCaller(ctx context.Context, userID, name, note string, actor audit.Actor) (asked login.CallerAsked, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := find(tx, actor, CheckCaller, userID)
		if err != nil {
			return err
		}
		asked, err = s.logins.AskCaller(tx, u, login.CallerQuestion{By: actor.By(), Name: name, Note: note})
		return errors.Join(err, audit.RecordCall(tx, actor, u.UID))
	})
	return asked, err
}

// CallerCheckOf returns how a caller check stands, for the actor by ([audit.Actor.By]) who has asked, and waits at most wait for
// its answer.
//
// Errors: user.ErrUnknown; login.ErrNoCallerCheck; storage.ErrHeld.
func (s *Service) CallerCheckOf(ctx context.Context, by, userID, id string, wait time.Duration) (login.CallerState, error) {
	return s.logins.CallerCheck(ctx, by, userID, id, wait)
}

// callerAnswered returns an error unless the caller check that a reset names was approved. A reset takes the check away, so one
// whose answer was lost is known by its receipt.
//
// Errors: login.ErrNoCallerCheck; login.ErrCallerUnsure.
func (s *Service) callerAnswered(tx *storage.Tx, u *user.User, req recovery.ResetRequest, actor audit.Actor) error {
	if req.Check == "" {
		return nil
	}
	err := s.logins.CallerAnswered(tx, actor.By(), u.UID, req.Check)
	if !errors.Is(err, login.ErrNoCallerCheck) {
		return err
	}
	receipts, readErr := recovery.Receipts(tx, u.UID)
	if readErr != nil {
		return readErr
	}
	for _, r := range receipts {
		if r.Check == req.Check && r.By == actor.By() && tx.Now().Before(r.At.Add(repeatedWithin)) {
			return nil
		}
	}
	return err
}

// repeatedWithin is how long after a reset the same request may come again.
const repeatedWithin = 15 * time.Minute

// LatestCallerCheck returns the latest caller check of a user that the actor has asked; there is false when none is kept.
//
// Errors: user.ErrUnknown; ErrRefused, for whoever is no admin any more.
func (s *Service) LatestCallerCheck(ctx context.Context, userID string, actor audit.Actor) (shown login.CallerShown, there bool, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := look(tx, actor, userID)
		if err != nil {
			return err
		}
		shown, there, err = s.logins.LatestCaller(tx, actor.By(), u.UID)
		return err
	})
	return shown, there, err
}
