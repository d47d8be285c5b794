package admin

import (
	"context"
	"errors"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// TicketRequest says which ticket to make.
type TicketRequest struct {
	User          user.User // the id, and what is known about an unknown user
	Factor        string    // see device.CheckFactor
	AllowMultiple bool      // also for a user who is enrolled
	Replaces      string    // id of the enrollment that the new one replaces; it needs no AllowMultiple
	NewCode       bool      // the user's recovery code counts as lost: a new one is shown where the ticket enrols
}

// ErrEnrolled reports a ticket for a user who is enrolled.
var ErrEnrolled = storage.NewError(storage.Conflict,
	"the user is enrolled already; allow_multiple_enrollments lets him add another phone")

// NewTicket makes a ticket, and makes the user if she is unknown. The ticket is 32 characters of A–Z a–z 0–9, which nobody
// can read again.
//
// Errors: device.ErrFactor; user.ErrID; ErrRefused; ErrEnrolled; device.ErrNoEnrollment, when the enrollment to be replaced is
// not this user's, or is retired.
func (s *Service) NewTicket(ctx context.Context, req TicketRequest, actor audit.Actor) (secret string, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := device.CheckFactor(tx, req.Factor); err != nil {
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
		if err == nil && req.NewCode {
			err = recovery.DeclareLost(tx, u.UID, actor, audit.Detail{})
		}
		return errors.Join(err,
			audit.RecordAccount(tx, actor, audit.Event{Type: audit.StartEnroll, UID: u.UID}, audit.Detail{}),
			audit.RecordCall(tx, actor, u.UID))
	})
	return secret, err
}
