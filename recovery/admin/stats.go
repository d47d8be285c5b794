package admin

import (
	"context"
	"time"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/meter"
	"tutela/storage/tally"
)

// DayStats is what happened on a day of UTC, in numbers.
type DayStats struct {
	Date     string                 `json:"date"` // 2026-03-01
	Logins   uint64                 `json:"logins"`
	Approved uint64                 `json:"approved"` // by whatever satisfied them
	Denied   uint64                 `json:"denied"`   // on a phone, those with a wrong number included
	Expired  uint64                 `json:"expired"`
	Silent   uint64                 `json:"silent"` // logins that rang no phone
	Codes    uint64                 `json:"codes"`  // recovery codes that were spent
	Enrolled uint64                 `json:"enrolled"`
	Left     uint64                 `json:"left"` // enrollments that ended, but by a reset
	Restores uint64                 `json:"restores"`
	Restored uint64                 `json:"restored"`
	Resets   uint64                 `json:"resets"`
	Push     map[string]PushedOnDay `json:"push"` // by provider
}

// PushedOnDay is what became of a day's messages to a push provider.
type PushedOnDay struct {
	Sent   uint64            `json:"sent"`
	Failed uint64            `json:"failed"`
	Lost   uint64            `json:"lost"` // those whose token the provider says is gone
	Why    map[string]uint64 `json:"why"`  // of those that failed
}

// KeptByDay are the counters that DayStats are made of.
func KeptByDay() []*meter.Counter {
	return []*meter.Counter{
		login.LoginsBegun, login.LoginsEnded, recovery.CodesTried, recovery.Resets, device.Enrollments, device.EnrollmentsEnded, restore.Begun,
		restore.WentOn, push.Sent,
	}
}

// Stats returns the numbers of the days from one to another, both included, oldest first. Days on which nothing happened are
// left out, and so is what a server has counted since it last wrote it down.
func (s *Service) Stats(ctx context.Context, from, to time.Time) (list []DayStats, err error) {
	list = []DayStats{}
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		days, err := tally.Days(tx, from, to)
		for _, d := range days {
			list = append(list, statsOf(d))
		}
		return err
	})
	return list, err
}

func statsOf(d tally.Day) DayStats {
	stats := DayStats{
		Date:     d.Date,
		Logins:   d.Sum(login.LoginsBegun),
		Approved: d.Sum(login.LoginsEnded, string(login.Approved)),
		Denied:   d.Sum(login.LoginsEnded, string(login.Denied)) + d.Sum(login.LoginsEnded, login.OutcomeWrong),
		Expired:  d.Sum(login.LoginsEnded, login.OutcomeExpired),
		Silent:   d.Sum(login.LoginsBegun, string(login.Silent)),
		Enrolled: d.Sum(device.Enrollments),
		Left:     d.Sum(device.EnrollmentsEnded),
		Restores: d.Sum(restore.Begun),
		Restored: d.Sum(restore.WentOn, restore.WentDone),
		Resets:   d.Sum(recovery.Resets),
		Push:     map[string]PushedOnDay{},
	}
	for _, ch := range []recovery.Channel{recovery.LoginChannel, recovery.RestoreChannel} {
		stats.Codes += d.Sum(recovery.CodesTried, string(ch), recovery.CodeRight)
	}
	for _, provider := range push.Providers {
		p := PushedOnDay{
			Sent: d.Sum(push.Sent, provider, push.OutcomeSent),
			Lost: d.Sum(push.Sent, provider, string(push.Gone)),
			Why:  map[string]uint64{},
		}
		for _, why := range []string{
			string(push.Setup), string(push.Mismatch), string(push.Unfit), string(push.Busy), push.OutcomeUnreachable,
		} {
			if n := d.Sum(push.Sent, provider, why); n > 0 {
				p.Failed += n
				p.Why[why] = n
			}
		}
		if p.Sent+p.Failed+p.Lost > 0 {
			stats.Push[provider] = p
		}
	}
	return stats
}
