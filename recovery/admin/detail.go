package admin

import (
	"context"

	"tutela/backup"
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/storage"
)

// Detail is all that an admin sees of a user, as of one moment.
type Detail struct {
	Profile
	Enrollments device.Set
	HasCode     bool             // the user has a valid recovery code
	Code        recovery.Holding // what is known about who holds it
	Back        ways.Standing    // how she would get back in
	Blocks      []recovery.Block // channels that are closed or waiting by the limits on guessing
	Receipts    []recovery.Receipt
	Backups     []backup.Tracked
	Tickets     []device.OpenTicket
	Mutes       []login.Mute
	Spent       []login.Spent    // empty buckets of pushes
	Restores    []restore.Listed // as [Service.Restores] returns them
}

// DetailOf returns all that an admin sees of a user.
//
// Errors: user.ErrUnknown.
func (s *Service) DetailOf(ctx context.Context, userID string) (d Detail, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		d = Detail{Profile: Profile{User: *u}}
		return s.fill(tx, u.UID, &d)
	})
	return d, err
}

// fill reads what lies beside the user's record.
func (s *Service) fill(tx *storage.Tx, uid storage.UID, d *Detail) error {
	set, err := device.All(tx, uid)
	if err != nil {
		return err
	}
	d.Enrollments = set.Shown()
	if err := d.setState(tx, uid, set); err != nil {
		return err
	}
	if d.Code, err = recovery.HoldingOf(tx, uid); err != nil {
		return err
	}
	d.HasCode = d.Code.Counts
	if d.Back, err = ways.Of(tx, uid); err != nil {
		return err
	}
	if d.Blocks, err = recovery.Blocks(tx, uid); err != nil {
		return err
	}
	if d.Receipts, err = recovery.Receipts(tx, uid); err != nil {
		return err
	}
	if d.Backups, err = backup.List(tx, uid); err != nil {
		return err
	}
	if d.Tickets, err = device.OpenTickets(tx, uid); err != nil {
		return err
	}
	if d.Mutes, err = login.Mutes(tx, uid); err != nil {
		return err
	}
	if d.Spent, err = login.SpentBuckets(tx, uid); err != nil {
		return err
	}
	d.Restores, err = s.restores.List(tx, uid)
	return err
}
