package device

import (
	"context"
	"errors"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/outbox"
)

// DeliverNotice is the outbox handler of recovery.Notice: it sends a notice to the address that the notice names. It
// first splits a notice without an address into one for each address of each phone. So a retry for one address does not
// send the notice to the others again.
func (s *Service) DeliverNotice(ctx context.Context, entry outbox.Entry[recovery.NoticePayload]) (outbox.Then, error) {
	notice := entry.Payload
	if notice.At.IsZero() { // queued by an earlier release
		notice.At = s.store.Now()
	}
	if notice.Route == "" && notice.Address == "" {
		return func(tx *storage.Tx) error { return fanOut(tx, entry.Owner, notice) }, nil
	}

	// Read the address only now: the app may have named another one meanwhile.
	var to Route
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
	m := s.noticeMessage(notice.Enrollment, notice, name)
	m.Life = entry.Expires.Sub(s.store.Now())
	d := s.Deliver(ctx, Dispatch{
		UID:        entry.Owner,
		Enrollment: notice.Enrollment,
		To:         to.To,
		Lost:       to.Lost,
		Message:    m,
		Attempts:   entry.Attempts,
	})
	if d.Err != nil {
		return d.Note, d.Err
	}
	return func(tx *storage.Tx) error { return afterNotice(tx, entry.Owner, notice, to.To, d) }, nil
}

// noticeMessage returns a notice as a phone gets it, pushed or pulled. It has the time of its row, by which an app
// recognises a repeated notice.
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

// fanOut queues one push for each address of the phones that the notice is for.
func fanOut(tx *storage.Tx, uid storage.UID, notice recovery.NoticePayload) error {
	set, err := All(tx, uid)
	if err != nil {
		return err
	}
	all := set.Phones()
	if notice.Enrollment != "" {
		all = set // including retired ones
	}
	for _, e := range all {
		if !e.meant(notice) {
			continue
		}
		if err := pushTo(tx, uid, e, notice); err != nil {
			return err
		}
	}
	return nil
}

// The words for an enrollment's addresses in a notice.
const (
	routeProven   = "proven"
	routeUnproven = "unproven"
)

// pushTo queues the push of a notice to each address of an enrollment's phone.
func pushTo(tx *storage.Tx, uid storage.UID, e *Enrollment, told recovery.NoticePayload) error {
	told.Enrollment = e.ID
	for _, r := range e.Routes() {
		told.Route = routeProven
		if r.Unproven {
			told.Route = routeUnproven
		}
		if err := recovery.PushNotice(tx, uid, r.To.Through(), told); err != nil {
			return err
		}
	}
	return nil
}

// nameOf returns the name of the phone that a notice is about; "" when it is about no phone, or the phone is gone.
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

// whereTo returns the address that a notice goes to.
//
// Errors: outbox.ErrGone, when the phone no longer has that address.
func whereTo(tx *storage.Tx, uid storage.UID, notice recovery.NoticePayload) (Route, error) {
	if notice.Address != "" {
		a, err := formerAddresses.Get(tx, uid, notice.Address)
		if errors.Is(err, storage.ErrNotFound) {
			return Route{}, outbox.ErrGone
		}
		if err != nil {
			return Route{}, err
		}
		return Route{To: a.Open(), Lost: true}, nil // it may be lost at an enrollment that still has it
	}
	e, err := Get(tx, uid, notice.Enrollment)
	if errors.Is(err, ErrNoEnrollment) {
		return Route{}, outbox.ErrGone
	}
	if err != nil {
		return Route{}, err
	}
	to, ok := e.Route(notice.Route == routeUnproven)
	if !ok {
		return to, outbox.ErrGone
	}
	return to, nil
}

// afterNotice notes how the push went, and forgets a former address, which was kept only for its notice.
func afterNotice(tx *storage.Tx, uid storage.UID, notice recovery.NoticePayload, to push.Address, went Delivery) error {
	if notice.Address != "" {
		// The address may still be in use: a change by the token alone is also announced to the proven address.
		return errors.Join(formerAddresses.Delete(tx, uid, notice.Address), went.Note(tx))
	}
	e, err := Get(tx, uid, notice.Enrollment)
	if err != nil {
		return ignoreGone(err)
	}
	if e.Status == Retired {
		e.dropAddress(to)
		return Put(tx, uid, e)
	}
	return went.Note(tx)
}

func ignoreGone(err error) error {
	if errors.Is(err, ErrNoEnrollment) {
		return nil
	}
	return err
}
