package admin

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"tutela/device"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/storage"
	"tutela/storage/audit"
)

// TicketRequest says which ticket to make.
type TicketRequest struct {
	User          user.User   // the id, and what is known about an unknown user
	Factor        string      // see device.CheckFactor
	AllowMultiple bool        // also for a user who is enrolled
	Replaces      string      // id of the enrollment that the new one replaces; it needs no AllowMultiple
	Mail          *TicketMail // nil: the caller sends the link himself
	NewCode       bool        // the user's recovery code counts as lost: a new one is shown where the ticket enrols
}

// TicketMail says to whom the link of a ticket is mailed, by the webhooks that mail.
type TicketMail struct {
	Address string // "": the user's
	Locale  string // of the text
}

// maxLocaleBytes bounds a locale (RFC 5646 §4.4.1 has tags of 35 characters).
const maxLocaleBytes = 35

// ErrMail reports mail that cannot be sent.
var ErrMail = storage.NewError(storage.Invalid, "the link cannot be mailed")

// ErrEnrolled reports a ticket for a user who is enrolled.
var ErrEnrolled = storage.NewError(storage.Conflict,
	"the user is enrolled already; allow_multiple_enrollments lets him add another phone")

// NewTicket makes a ticket, and makes the user if she is unknown. The ticket is 32 characters of A–Z a–z 0–9, which nobody
// can read again.
//
// Errors: ErrMail; webhook.ErrNoMailer; device.ErrFactor; user.ErrID; ErrRefused; ErrEnrolled; device.ErrNoEnrollment, when the enrollment to be replaced is
// not this user's, or is retired.
func (s *Service) NewTicket(ctx context.Context, req TicketRequest, actor audit.Actor) (secret string, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := s.checkFactor(tx, req.Factor); err != nil {
			return err
		}
		// A user who is made here is undone when the rest fails.
		u, err := user.Ensure(tx, req.User)
		if err != nil {
			return err
		}
		err = May(tx, actor, ChangeFactors, u)
		if err != nil {
			return err
		}
		set, err := device.All(tx, u.UID)
		if err != nil {
			return err
		}
		if len(set.Active()) > 0 && !req.AllowMultiple && req.Replaces == "" {
			return ErrEnrolled
		}
		secret, err = s.devices.AddTicket(tx, u.UID, device.TicketFor{
			Factor:   req.Factor,
			Another:  req.AllowMultiple,
			Replaces: req.Replaces,
		})
		if err == nil && req.Mail != nil {
			err = s.mailTicket(tx, u, *req.Mail, secret)
		}
		if err == nil && req.NewCode {
			err = recovery.DeclareLost(tx, u.UID, actor, audit.Detail{})
		}
		return errors.Join(err,
			audit.RecordAccount(tx, actor, audit.Event{Type: audit.StartEnroll, UID: u.UID}, audit.Detail{}),
			audit.RecordCall(tx, actor, u.UID))
	})
	return secret, err
}

// checkFactor is device.CheckFactor, which also asks whether browsers can make passkeys for this installation, if the ticket is for one.
//
// Errors: device.ErrFactor.
func (s *Service) checkFactor(tx *storage.Tx, factor string) error {
	if err := device.CheckFactor(tx, factor); err != nil {
		return err
	}
	if f := device.Factor(factor); f != device.FactorRoaming && f != device.FactorPlatform {
		return nil
	}
	err := s.logins.CheckPasskeys(tx)
	if errors.Is(err, passkey.ErrNoDomain) {
		err = device.ErrFactor.With("%v", err)
	}
	return err
}

// mailTicket has the link of a ticket mailed.
//
// Errors: ErrMail; webhook.ErrNoMailer.
func (s *Service) mailTicket(tx *storage.Tx, u *user.User, m TicketMail, secret string) error {
	address := cmp.Or(m.Address, u.Email)
	if address == "" {
		return ErrMail.With("the user has no email address: name one")
	}
	if err := user.ValidateEmail(address); err != nil {
		return ErrMail.With("%v", err)
	}
	if len(m.Locale) > maxLocaleBytes || strings.Trim(m.Locale, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return ErrMail.With("email_locale is a language tag, such as de or en-GB")
	}
	return webhook.QueueMail(tx, u.UID, webhook.Mail{
		Type:      webhook.MailTicket,
		Address:   address,
		Locale:    m.Locale,
		TicketURL: s.devices.TicketURL(secret),
	})
}
