package device

import (
	"context"
	"errors"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/outbox"
)

// DeliverNotice is the handler of recovery.Notice: it tells the phone that the notice names. One that names none becomes
// one for each of the user's phones, so that a phone which cannot be reached does not make the others get it again.
func (s *Service) DeliverNotice(ctx context.Context, entry outbox.Entry[recovery.NoticePayload]) (outbox.Then, error) {
	notice := entry.Payload
	if notice.At.IsZero() { // queued by an earlier release
		notice.At = s.store.Now()
	}
	if s.deliver == nil {
		return nil, outbox.ErrGone
	}
	if notice.Enrollment == "" {
		return func(tx *storage.Tx) error { return fanOut(tx, entry.Owner, notice) }, nil
	}

	// The address is read only now: the app may have named another one meanwhile.
	var to push.Address
	var name string
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		name, err = nameOf(tx, entry.Owner, notice.About)
		if err != nil {
			return err
		}
		to, err = whereTo(tx, entry.Owner, notice)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = s.deliver.Deliver(ctx, to, s.noticeMessage(notice.Enrollment, notice, name))
	gone := errors.Is(err, push.ErrTokenGone)
	if err != nil && !gone {
		return nil, outbox.Unreachable(err)
	}
	return func(tx *storage.Tx) error { return afterNotice(tx, entry.Owner, notice, to, gone) }, nil
}

// noticeMessage is a notice as a phone gets it, pushed or pulled. Its time is that of its row, by which an app knows one that
// comes twice.
func (s *Service) noticeMessage(enrollment string, n recovery.NoticePayload, name string) push.Message {
	return push.Message{
		Enrollment: enrollment,
		Server:     s.bases.Public(),
		Started:    storage.FormatInstant(n.At),
		Notice:     string(n.Notice),
		Text:       n.Notice.Text(),
		Restore:    n.Restore,
		Phone:      name,
	}
}

// fanOut queues one push for each of the user's phones that the notice means and that has a push address.
func fanOut(tx *storage.Tx, uid storage.UID, notice recovery.NoticePayload) error {
	set, err := All(tx, uid)
	if err != nil {
		return err
	}
	for _, e := range set.Phones() {
		to := e.PushAddress()
		if to.IsZero() || !e.meant(notice) {
			continue
		}
		one := notice
		one.Enrollment = e.ID
		if err := recovery.PushNotice(tx, uid, to.Through(), one); err != nil {
			return err
		}
	}
	return nil
}

// nameOf returns the name of the phone that a notice is about; "" when it is about none, or that one is gone.
func nameOf(tx *storage.Tx, uid storage.UID, about string) (string, error) {
	if about == "" {
		return "", nil
	}
	e, err := Get(tx, uid, about)
	if err != nil {
		return "", ignoreGone(err)
	}
	return e.Name, nil
}

// whereTo is the address that a notice goes to.
//
// Errors: outbox.ErrGone, when there is none any more.
func whereTo(tx *storage.Tx, uid storage.UID, notice recovery.NoticePayload) (push.Address, error) {
	if notice.Address != "" {
		a, err := formerAddresses.Get(tx, uid, notice.Address)
		if errors.Is(err, storage.ErrNotFound) {
			return push.Address{}, outbox.ErrGone
		}
		if err != nil {
			return push.Address{}, err
		}
		return a.Open(), nil
	}
	e, err := Get(tx, uid, notice.Enrollment)
	if errors.Is(err, ErrNoEnrollment) {
		return push.Address{}, outbox.ErrGone
	}
	if err != nil {
		return push.Address{}, err
	}
	to := e.PushAddress()
	if to.IsZero() {
		return to, outbox.ErrGone
	}
	return to, nil
}

// afterNotice forgets an address that was kept only to be told, and one that is gone.
func afterNotice(tx *storage.Tx, uid storage.UID, notice recovery.NoticePayload, to push.Address, gone bool) error {
	if notice.Address != "" {
		return formerAddresses.Delete(tx, uid, notice.Address)
	}
	e, err := Get(tx, uid, notice.Enrollment)
	if err != nil {
		return ignoreGone(err)
	}
	if gone || e.Status == Retired {
		return DropPushToken(tx, uid, e.ID, to)
	}
	return nil
}

// DropPushToken forgets an enrollment's push token, which its service says is gone: the phone is reached by pull. One
// that the app has named since then stays.
func DropPushToken(tx *storage.Tx, uid storage.UID, id string, gone push.Address) error {
	e, err := Get(tx, uid, id)
	if err != nil {
		return ignoreGone(err)
	}
	if e.PushAddress() != gone {
		return nil
	}
	e.Push.Address = push.KeptAddress{}
	return Put(tx, uid, e)
}

func ignoreGone(err error) error {
	if errors.Is(err, ErrNoEnrollment) {
		return nil
	}
	return err
}
