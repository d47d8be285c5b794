package device

import (
	"context"
	"errors"
	"time"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
)

// readsFor is how long the key of a retired enrollment can still read the last notices, among them the one that says that
// the enrollment was retired.
const readsFor = 7 * 24 * time.Hour

// ProveReader is Prove for a call that reads notices: it also accepts the key of an enrollment that was retired less than
// seven days ago.
//
// Errors: those of Prove; ErrUnsigned for every device token.
func (s *Service) ProveReader(ctx context.Context, id, bearer string) (Proof, error) {
	p, e, err := s.identify(ctx, id, bearer, true)
	if err != nil || e.readsLast(s.store.Now()) {
		return p, err
	}
	return p, s.settle(ctx, p, e)
}

// readsLast reports whether the enrollment is retired and may still read its last notices.
func (e *Enrollment) readsLast(now time.Time) bool {
	return e.Status == Retired && now.Before(e.Changed.Add(readsFor))
}

// Notices returns the notices to the caller's phone after since, oldest first. It returns none from before the enrollment was
// made. When there are none it waits for one, at most wait, or until ctx ends.
//
// Errors: ErrUnsigned; ErrNoEnrollment; ErrSuspended.
func (s *Service) Notices(ctx context.Context, p Proof, since time.Time, wait time.Duration) (list []push.Message, err error) {
	err = s.store.Await(ctx, p.UID, wait, func(ctx context.Context, _ storage.Glance) (over bool, again time.Duration, err error) {
		list, err = s.notices(ctx, p, since)
		return len(list) > 0, 0, err
	})
	return list, err
}

func (s *Service) notices(ctx context.Context, p Proof, since time.Time) (list []push.Message, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		e, err := s.CheckReader(tx, p)
		if err != nil {
			return err
		}
		told, err := recovery.Notices(tx, p.UID, since)
		if err != nil {
			return err
		}
		for _, n := range told {
			if !e.meant(n) {
				continue
			}
			name, err := nameOf(tx, p.UID, n.About)
			if err != nil {
				return err
			}
			list = append(list, s.noticeMessage(e.ID, n, name))
		}
		return nil
	})
	return list, err
}

// CheckReader does for a proof of ProveReader what CheckSigned does for a proof of Prove.
func (s *Service) CheckReader(tx *storage.Tx, p Proof) (*Enrollment, error) {
	e, err := s.CheckSigned(tx, p)
	if !errors.Is(err, ErrNoEnrollment) {
		return e, err
	}
	e, gone := Get(tx, p.UID, p.ID)
	if gone != nil || !e.Push.Key.Same(p.key) || !e.readsLast(tx.Now()) {
		return nil, errors.Join(err, ignoreGone(gone))
	}
	return e, nil
}

// meant reports whether a notice is for the enrollment's phone: for this phone alone, or for all phones of the user, between
// its enrolment and its end.
func (e *Enrollment) meant(n recovery.NoticePayload) bool {
	if n.Enrollment != "" {
		return n.Enrollment == e.ID
	}
	over := e.Status == Retired && n.At.After(e.Push.NoticesUntil)
	return n.About != e.ID && n.At.After(e.Push.NoticesAfter) && !over
}
