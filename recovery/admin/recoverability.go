package admin

import (
	"context"
	"errors"
	"time"

	"tutela/backup"
	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/storage"
)

// ErrCounting reports that the users of an earlier release are being counted.
var ErrCounting = storage.NewError(storage.Unavailable,
	"who would get back in is counted for the first time, since the update: try again in some minutes").After(time.Minute)

// Recoverability returns how many users would get back in without an admin if they lost the phone that they used last, and what makes
// that thin.
//
// Errors: ErrCounting.
func (s *Service) Recoverability(ctx context.Context) (totals ways.Totals, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		if err := everyoneCounted(tx); err != nil {
			return err
		}
		totals, err = ways.ReadTotals(tx)
		return err
	})
	return totals, err
}

func everyoneCounted(tx *storage.Tx) error {
	done, err := ways.EveryoneCounted(tx)
	if err == nil && !done {
		err = ErrCounting
	}
	return err
}

// AtRisk is a user with how she would get back in.
type AtRisk struct {
	user.User
	ways.Standing
}

// UsersAtRisk returns the users who have a risk: take of those after the uid after (zero: from the first), in an order that stays, and
// fewer only at its end. It is no transaction: users who change meanwhile may or may not be among them.
//
// Errors: ErrCounting.
func (s *Service) UsersAtRisk(ctx context.Context, risk ways.Risk, after storage.UID, take int) ([]AtRisk, error) {
	if err := s.store.View(ctx, everyoneCounted); err != nil {
		return nil, err
	}
	return user.Fill(take, func(take int) (page []AtRisk, ended bool, err error) {
		uids, err := ways.Page(ctx, s.store, risk, after, take)
		if err != nil || len(uids) == 0 {
			return nil, true, err
		}
		after = uids[len(uids)-1]
		page, err = s.standings(ctx, uids)
		return page, len(uids) < take, err
	})
}

// standings reads how users would get back in, but for those who were deleted meanwhile.
func (s *Service) standings(ctx context.Context, uids []storage.UID) (list []AtRisk, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		list = list[:0]
		for _, uid := range uids {
			u, err := user.Get(tx, uid)
			if errors.Is(err, user.ErrUnknown) {
				continue // deleted meanwhile
			}
			if err != nil {
				return err
			}
			standing, err := ways.Of(tx, uid)
			if err != nil {
				return err
			}
			list = append(list, AtRisk{User: *u, Standing: standing})
		}
		return nil
	})
	return list, err
}

// CountEveryone notes how all users would get back in, once: those whom an earlier release has made are not counted yet. It may be
// interrupted, and then begins anew with the next call.
func (s *Service) CountEveryone(ctx context.Context) error {
	return ways.CountEveryone(ctx, s.store, known)
}

// known returns what is known of a user from all that is written of her; none for one who is new.
func known(tx *storage.Tx, uid storage.UID) (*ways.All, error) {
	state, err := device.State(tx, uid)
	if err != nil || state == user.New {
		return nil, err
	}
	all := new(ways.All)
	if all.Code, all.CodeUntil, err = recovery.CodeStanding(tx, uid); err != nil {
		return nil, err
	}
	if all.Devices, err = device.GoodFor(tx, uid); err != nil {
		return nil, err
	}
	all.Backups, err = backup.PutOn(tx, uid)
	return all, err
}
