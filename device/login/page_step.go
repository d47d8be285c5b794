package login

import (
	"context"
	"encoding/json"
	"errors"

	"tutela/device"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
)

// manageMessage is what an app shows of an approval that opens a person's own page, if it knows of no purposes.
const manageMessage = "Open your own page, where phones are added and removed"

// AskAgain asks the user's phones for another approval, with a number of its own. The one before can be answered no more.
//
// Errors: ErrPage; ErrPageTaken; ErrBlocked; ErrGrant, when the login is decided; ErrExpired; ErrNoPhone; ErrRecovery; ErrUnknownUser;
// ErrPresence; ErrTapEnrols; ErrTooMany.
func (s *Service) AskAgain(ctx context.Context, v Visit) error {
	random := storage.NewUID()
	nonce := newChallenge()
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		l, u, err := s.visitedBy(tx, v)
		if err != nil {
			return err
		}
		return s.askPage(tx, l, u, approvalDraw{random, nonce})
	})
}

// askPage asks the phones of the user of a page for an approval with a number of its own.
func (s *Service) askPage(tx *storage.Tx, l row, u *user.User, draw approvalDraw) error {
	switch {
	case l.Record.State != Pending:
		return ErrGrant
	case !l.Record.pending(tx.Now()):
		return ErrExpired
	}
	phones, err := phonesOf(tx, u)
	if err != nil {
		return err
	}
	_, matching, err := choose(tx, phones, false)
	if err != nil {
		return err
	}
	a := newApproval(tx, l, draw.random, draw.nonce)
	a.Record.Message = l.Record.Message
	if l.Record.Page.Purpose == PageManage {
		if !matching {
			return ErrTapEnrols
		}
		a.Record.Purpose = ToManage
		a.Record.Message = manageMessage
	}
	return errors.Join(endApproval(tx, l), s.askFirst(tx, l, a, phones, ""))
}

// RememberPage notes whether the browser of a page is to be remembered when the person has proven herself.
//
// Errors: ErrPage; ErrPageTaken.
func (s *Service) RememberPage(ctx context.Context, v Visit, remember bool) error {
	same := false
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		l, _, err := s.visitedBy(tx, v)
		if err == nil {
			same = l.Record.Page.Remember == remember
		}
		return err
	})
	if err != nil || same {
		return err
	}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		l, _, err := s.visitedBy(tx, v)
		if err != nil {
			return err
		}
		l.Record.Page.Remember = remember && l.Record.Page.Purpose == PageLogin
		return logins.Put(tx, l.UID, l.Key, l.Record)
	})
}

// TypePageOTP satisfies the login of a page with a one-time code.
//
// Errors: ErrPage; ErrPageTaken; those of RedeemOTP.
func (s *Service) TypePageOTP(ctx context.Context, v Visit, typed string) error {
	g, err := s.grantOf(ctx, v)
	if err == nil {
		_, err = s.RedeemOTP(ctx, g, typed)
	}
	return err
}

// TypePageCode satisfies the login of a page with the recovery code. The page shows the next one then, and offers to set up a new phone.
//
// Errors: ErrPage; ErrPageTaken; those of RedeemCode.
func (s *Service) TypePageCode(ctx context.Context, v Visit, typed string) error {
	g, err := s.grantOf(ctx, v)
	if err == nil {
		g.Enrols = true
		_, err = s.RedeemCode(ctx, g, typed)
	}
	return err
}

// ChallengePagePasskey returns the request options of a passkey for the browser of a page.
//
// Errors: ErrPage; ErrPageTaken; those of Challenge.
func (s *Service) ChallengePagePasskey(ctx context.Context, v Visit) (json.RawMessage, error) {
	g, err := s.grantOf(ctx, v)
	if err != nil {
		return nil, err
	}
	made, err := s.Challenge(ctx, Challenge{Pass: g.Pass, Passkey: true})
	return made.Options, err
}

// SignPagePasskey satisfies the login of a page by what a passkey has signed.
//
// Errors: ErrPage; ErrPageTaken; those of RedeemPasskey.
func (s *Service) SignPagePasskey(ctx context.Context, v Visit, r passkey.Response) error {
	g, err := s.grantOf(ctx, v)
	if err == nil {
		_, err = s.RedeemPasskey(ctx, g, r)
	}
	return err
}

// ConfirmPageCode notes that the person has saved the next recovery code and typed its end. The page shows it no more.
//
// Errors: ErrPage; ErrPageTaken; device.ErrCodeEnd.
func (s *Service) ConfirmPageCode(ctx context.Context, v Visit, typed string) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		l, _, err := s.visitedBy(tx, v)
		if err != nil || !l.Record.Page.Saved.IsZero() {
			return err
		}
		if l.Record.Method != ByRecoveryCode {
			return ErrPage
		}
		code, err := nextCode(tx, l)
		if errors.Is(err, storage.ErrNotFound) {
			return nil // it was replaced, or too long ago: the page goes on without it
		}
		if err != nil {
			return err
		}
		if !code.Ends(typed) {
			return device.ErrCodeEnd
		}
		l.Record.Page.Saved = tx.Now()
		// The copy goes with a rotation, so it is the code that counts.
		return errors.Join(
			recovery.ForgetReply(tx, l.UID, replyKey(l)),
			recovery.Confirm(tx, l.UID),
			logins.Put(tx, l.UID, l.Key, l.Record))
	})
}

// SetUpPhone returns the ticket by which a new phone enrols, for whoever has proven herself by the recovery code. replaces is the id of
// the phone that it replaces, or "". It enrols once.
//
// Errors: ErrPage; ErrPageTaken; ErrUnsaved; ErrEnrolment; ErrBlocked; device.ErrNoEnrollment.
func (s *Service) SetUpPhone(ctx context.Context, v Visit, replaces string) (ticket string, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		l, u, err := s.visitedBy(tx, v)
		if err != nil {
			return err
		}
		state, err := s.pageState(tx, l, u)
		switch {
		case err != nil:
			return err
		case state == PageSaves:
			return ErrUnsaved
		case state != PageOffers:
			return ErrEnrolment
		}
		ticket, err = s.setUpPhone(tx, l, replaces)
		return err
	})
	return ticket, err
}

func (s *Service) setUpPhone(tx *storage.Tx, l row, replaces string) (string, error) {
	if _, _, err := s.enrolling(tx, Pass{
		Login:  s.idOf(mfaPrefix, l.UID, l.Key),
		Client: l.Record.Client,
		Enrols: true,
	}); err != nil {
		return "", err
	}
	secrets, err := l.Record.pageSecrets()
	if err != nil {
		return "", err
	}
	if l.Record.Page.Ticket != "" {
		err = s.devices.Replace(tx, l.UID, l.Record.Page.Ticket, replaces)
		if err == nil {
			return secrets.Ticket, nil
		}
		if !errors.Is(err, device.ErrTicket) {
			return "", err
		}
		if held, err := device.TakenOffer(tx, l.UID, l.Record.Page.Ticket); err == nil && !held.Open {
			return "", ErrEnrolment // it has enrolled
		}
	}
	secrets.Ticket, l.Record.Page.Ticket, err = s.devices.HostedTicket(tx, l.UID, device.OfferFor{
		Key:      l.Key,
		Replaces: replaces,
		Until:    l.Record.EnrolUntil,
		Grant:    s.proofOf(l),
	})
	return secrets.Ticket, errors.Join(err, l.Record.sealPage(secrets), logins.Put(tx, l.UID, l.Key, l.Record))
}

// GoOn has a page go on without a new phone.
//
// Errors: ErrPage; ErrPageTaken; ErrUnsaved.
func (s *Service) GoOn(ctx context.Context, v Visit) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		l, u, err := s.visitedBy(tx, v)
		if err != nil {
			return err
		}
		state, err := s.pageState(tx, l, u)
		switch {
		case err != nil:
			return err
		case state == PageSaves:
			return ErrUnsaved
		case state != PageOffers:
			return nil
		}
		l.Record.Page.GoesOn = true
		return logins.Put(tx, l.UID, l.Key, l.Record)
	})
}
