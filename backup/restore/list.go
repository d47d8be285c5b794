package restore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"tutela/device"
	"tutela/storage"
)

// mostListed is how many restores a list shows, the newest ones: a thief of a platform backup can start many.
const mostListed = 100

// End says how a restore ended, for an admin. It is empty for an open restore.
type End string

// The ends.
const (
	EndDone    End = "done"
	EndChosen  End = "chosen"  // the person chose first-time setup
	EndVetoed  End = "vetoed"  // by the old installation
	EndClosed  End = "closed"  // another restore of the same backup was done; later it counts as expired
	EndExpired End = "expired" // it was not finished in time
)

// Listed is a restore in a list.
type Listed struct {
	ID         string
	Step       Step // when it is over: the step at its start, except for done and chosen
	Reason     Reason
	Name       string // of the phone that wants to take over
	Started    time.Time
	Expires    time.Time
	WaitUntil  time.Time // with OldDeviceAsked; else zero
	Backup     string
	Enrollment string // the new installation's, when done
	End        End
	Disputed   bool // the retired phone says that a stranger has replaced it
	Vetoed     bool // a veto bars restores of the backup now
	MayAllow   bool // in a phone's list: the caller's phone writes to the backup and may end the wait
}

// Await returns the open restores of the caller's user (neither done, nor given up, expired or closed by another), newest
// first, at most 100: the caller may veto all of them, and allow those of its own backup. Without any it waits for one, at
// most for wait or until ctx ends.
//
// Errors: those of device.Service.Check.
func (s *Service) Await(ctx context.Context, p device.Proof, wait time.Duration) (list []Listed, err error) {
	err = s.store.Await(ctx, p.UID, wait, func(ctx context.Context, _ storage.Glance) (over bool, again time.Duration, err error) {
		list, err = s.open(ctx, p)
		return len(list) > 0, 0, err
	})
	return list, err
}

// open reads the open restores of the caller's user.
func (s *Service) open(ctx context.Context, p device.Proof) (list []Listed, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		e, err := s.check(tx, p)
		if err != nil {
			return err
		}
		all, err := s.list(tx, p.UID, func(r *restore) bool { return !r.over(tx) })
		for _, l := range all {
			if l.End == EndClosed {
				continue
			}
			l.MayAllow = l.Step == StepRecoveryCode && l.Backup == e.Push.BackupID
			list = append(list, l)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// List returns the user's restores of the last day, and the done or vetoed ones of the last thirty days: newest first, at most
// 100.
func (s *Service) List(tx *storage.Tx, uid storage.UID) ([]Listed, error) {
	return s.list(tx, uid, func(*restore) bool { return true })
}

// list returns the user's restores for which which is true, in the order of List.
func (s *Service) list(tx *storage.Tx, uid storage.UID, which func(*restore) bool) ([]Listed, error) {
	rows, err := restores.All(tx, uid)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(row storage.Row[restore]) bool { return !which(row.Record) })
	slices.SortFunc(rows, func(a, b storage.Row[restore]) int {
		return cmp.Or(b.Record.Started.Compare(a.Record.Started), strings.Compare(a.Key, b.Key))
	})
	// Restores of one backup share their scene, so read it once.
	scenes := make(map[string]*scene, 1)
	list := make([]Listed, 0, min(len(rows), mostListed))
	for _, row := range rows[:min(len(rows), mostListed)] {
		r := row.Record
		sc := scenes[r.Backup]
		if sc == nil {
			if sc, err = s.scene(tx, uid, r.Backup); err != nil {
				return nil, err
			}
			scenes[r.Backup] = sc
		}
		list = append(list, r.listed(sc))
	}
	return list, nil
}

// listed describes the restore.
func (r *restore) listed(sc *scene) Listed {
	now := r.state(sc.of(r))
	l := Listed{
		ID:         r.ID,
		Step:       now.Step,
		Reason:     now.Reason,
		Name:       r.Name,
		Started:    r.Started,
		Expires:    r.Expires,
		WaitUntil:  now.WaitUntil,
		Backup:     r.Backup,
		Enrollment: r.Enrollment,
		Disputed:   !r.Disputed.IsZero(),
		Vetoed:     sc.facts.Vetoed,
	}
	// How it ended, the first that applies.
	switch expired := !sc.facts.Now.Before(r.Expires); {
	case !r.Done.IsZero():
		l.End = EndDone
	case !r.Chosen.IsZero():
		l.End = EndChosen
	case expired && !r.Vetoed.IsZero():
		l.End = EndVetoed
	case expired:
		l.End = EndExpired
	case sc.closed(r):
		l.End = EndClosed
	}
	// Nothing comes next. An admin sees the first step, or why the restore cannot go on.
	switch l.End {
	case EndClosed, EndExpired:
		l.Step = r.First.Step
		l.Reason = r.First.Reason
		if l.Reason == OldDeviceAsked {
			l.Step = StepRecoveryCode // an earlier release had a step of its own for it
		}
		l.WaitUntil = time.Time{}
	case EndVetoed:
		l.Step = StepAskAdmin
		l.Reason = Vetoed
	}
	return l
}
