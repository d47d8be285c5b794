package device

import (
	"context"
	"errors"
	"time"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
)

// readsFor is how long the key of a retired enrollment still reads the last notices: that it was retired is one of them.
const readsFor = 7 * 24 * time.Hour

// ProveReader is Prove for a call that reads notices: it also lets the key of an enrollment in that was retired within
// seven days.
//
// Errors: those of Prove, but for the device token always ErrUnsigned.
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

// Notices returns what the caller's phone was told after since, oldest first: of the notices since its enrollment was made
// those that mean it. When there are none it first waits, up to wait or the end of ctx, for one.
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

// CheckReader is CheckSigned for a proof of ProveReader.
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

// meant reports whether a notice is for the enrollment's phone: for it alone, or for all of the user's, from the
// enrolment on until it is retired.
func (e *Enrollment) meant(n recovery.NoticePayload) bool {
	if n.Enrollment != "" {
		return n.Enrollment == e.ID
	}
	over := e.Status == Retired && n.At.After(e.Push.NoticesUntil)
	return n.About != e.ID && n.At.After(e.Push.NoticesAfter) && !over
}
