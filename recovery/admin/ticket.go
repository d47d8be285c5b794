package admin

import (
	"context"
	"errors"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// TicketRequest is what a ticket is asked for with.
type TicketRequest struct {
	User          user.User // the id, and what is known about a user not seen before
	Factor        string    // see device.CheckFactor
	AllowMultiple bool      // also for a user who is enrolled
}

// ErrEnrolled reports a ticket for a user who is enrolled.
var ErrEnrolled = storage.NewError(storage.Conflict,
	"the user is enrolled already; allow_multiple_enrollments lets him add another phone")

// NewTicket makes a ticket, and the user when there is none of that id. The ticket is 32 characters of A–Z a–z 0–9, and
// this is the only time that it is seen.
//
// Errors: device.ErrFactor; user.ErrID; ErrRefused; ErrEnrolled.
func (s *Service) NewTicket(ctx context.Context, req TicketRequest, actor audit.Actor) (secret string, err error) {
	err = device.CheckFactor(req.Factor)
	if err != nil {
		return "", err
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		// A user who is made here goes again when the rest fails.
		u, err := user.Ensure(tx, req.User)
		if err != nil {
			return err
		}
		err = May(tx, actor, ChangeFactors, u)
		if err != nil {
			return err
		}
		state, err := device.State(tx, u.UID)
		if err != nil {
			return err
		}
		if state == user.Enrolled && !req.AllowMultiple {
			return ErrEnrolled
		}
		secret, err = s.devices.AddTicket(tx, u.UID, req.Factor, req.AllowMultiple)
		return errors.Join(err,
			audit.RecordAccount(tx, actor, audit.Event{Type: audit.StartEnroll, UID: u.UID}, audit.Detail{}),
			audit.RecordCall(tx, actor, u.UID))
	})
	return secret, err
}
