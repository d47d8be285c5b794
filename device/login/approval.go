package login

import (
	"context"
	"errors"
	"slices"
	"time"

	"tutela/device"
	"tutela/device/push"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/outbox"
)

// approvals are the outbox entries that push an approval to a phone.
var approvals = outbox.Declare[sending]("approval", storage.MFA)

// sending is the payload of an approval in the outbox: which login to show to which phone, and at which of its addresses. Each
// address has an entry of its own, so that an address that cannot be reached does not make the others ring again and again.
type sending struct {
	Login      string `json:"login"` // key of the login's row
	Enrollment string `json:"enrollment"`
	Unproven   bool   `json:"unproven,omitempty"` // send to the address that only the device token has named
}

// transactionClaims are the claims of a txtkn. Its payload has exp and txid, which apps may read.
type transactionClaims struct {
	ID         string `json:"txid"`
	Enrollment string `json:"dai"`
	Expires    int64  `json:"exp"`
}

// message returns the approval of a login as a phone gets it, with a transaction token of its own. Its times are wall-clock
// times, because the phone compares them with a clock.
func (s *Service) message(asked row, e *device.Enrollment) (push.Message, error) {
	l := asked.Record
	left := l.Expires.Sub(s.store.Now())
	token, err := s.ring.SignToken(keyring.TransactionToken, transactionClaims{
		ID: s.idOf(transactionPrefix, asked.UID, asked.Key), Enrollment: e.ID, Expires: s.store.Wall().Add(left).Unix(),
	})
	m := push.Message{
		TransactionToken: token,
		Enrollment:       e.ID,
		Challenge:        l.Challenge,
		Started:          storage.FormatInstant(s.store.Wall().Add(l.Created.Sub(s.store.Now()))),
		Server:           s.bases.Public(),
		Source:           source(l.Agent),
		NumberMatching:   l.Number != "",
		BindingMessage:   l.Message,
		ClientName:       l.ClientName,
		ConsentID:        s.consentID(asked),
		Purpose:          string(l.Purpose),
		Life:             left,
	}
	if l.IP != "" {
		m.Location = &push.Location{Name: l.IP}
	}
	return m, err
}

// queue adds the pushes of an approval to a phone, which are sent after the commit. It reports whether there are any. If the
// phone gets a push twice, both have the same challenge.
func (s *Service) queue(tx *storage.Tx, l row, e *device.Enrollment) (queued bool, err error) {
	for _, r := range e.Routes() {
		carries, err := s.deliver.Carries(tx, r.To)
		if err != nil {
			return queued, err
		}
		if !carries {
			continue
		}
		what := sending{Login: l.Key, Enrollment: e.ID, Unproven: r.Unproven}
		if err := approvals.AddTo(tx, l.UID, r.To.Through(), what, l.Record.Expires); err != nil {
			return queued, err
		}
		queued = true
	}
	return queued, nil
}

// Handler does the outbox entries of this package.
func (s *Service) Handler() outbox.Handler { return approvals.Handler(s.deliverApproval) }

// deliverApproval pushes an approval to a phone, if the login still waits for an answer. It makes the token only now, so that
// nothing in the outbox opens anything.
func (s *Service) deliverApproval(ctx context.Context, entry outbox.Entry[sending]) (outbox.Then, error) {
	var l row
	var e *device.Enrollment
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		l, e, err = stillAsked(tx, entry.Owner, entry.Payload)
		return err
	})
	if err != nil {
		return nil, err
	}
	to, ok := e.Route(entry.Payload.Unproven)
	if !ok {
		return nil, outbox.ErrGone
	}
	m, err := s.message(l, e)
	if err != nil {
		return nil, err
	}
	d := s.devices.Deliver(ctx, device.Dispatch{
		UID:        l.UID,
		Enrollment: e.ID,
		To:         to.To,
		Lost:       to.Lost,
		Message:    m,
		Attempts:   entry.Attempts,
	})
	return func(tx *storage.Tx) error { return sent(tx, l, e, d) }, d.Err
}

// failuresWindow is the least time between two events about the same failure of a phone's pushes.
const failuresWindow = time.Hour

// sent records how a push went.
func sent(tx *storage.Tx, l row, e *device.Enrollment, d device.Delivery) error {
	detail := audit.Detail{Device: e.Name, Enrollment: e.ID}
	var err error
	switch {
	case d.Failure != nil:
		err = audit.FoldRepeats(tx, audit.Actor{}, eventOf(l, audit.SendPushFailure, d.Failure), detail, e.ID, failuresWindow)
	case d.Err == nil:
		err = audit.Record(tx, audit.Actor{}, eventOf(l, audit.SendPush, nil), detail)
	}
	return errors.Join(err, d.Note(tx))
}

// stillAsked reads a login and an enrollment: the login is still pending, and asks the enrollment, which can still answer.
//
// Errors: outbox.ErrGone.
func stillAsked(tx *storage.Tx, uid storage.UID, what sending) (row, *device.Enrollment, error) {
	l, err := read(tx, uid, what.Login)
	if errors.Is(err, storage.ErrNotFound) {
		return row{}, nil, outbox.ErrGone
	}
	if err != nil {
		return row{}, nil, err
	}
	e, err := device.Get(tx, uid, what.Enrollment)
	if errors.Is(err, device.ErrNoEnrollment) {
		return row{}, nil, outbox.ErrGone
	}
	if err != nil {
		return row{}, nil, err
	}
	blocked, err := isBlocked(tx, uid)
	if err == nil && (blocked || !l.Record.pending(tx.Now()) || !e.Answers() || !slices.Contains(l.Record.Asked, e.ID)) {
		err = outbox.ErrGone
	}
	return l, e, err
}

// Approvals returns the pending approvals of the caller's phone, without those whose challenge is in seen. When there are
// none it waits for one that is not silent, at most wait, or until ctx ends. The wait ends at once when the enrollment is
// reset or retired.
//
// Errors: those of device.Service.CheckSigned.
func (s *Service) Approvals(ctx context.Context, p device.Proof, seen []string, wait time.Duration) ([]push.Message, error) {
	var list []listed
	err := s.store.Await(ctx, p.UID, wait, func(ctx context.Context, at storage.Glance) (over bool, again time.Duration, err error) {
		list, err = s.listed(ctx, p, seen)
		// A silent approval is in the list for a phone that asks, but it ends no wait.
		over = len(list) > 0 && (at.First || slices.ContainsFunc(list, func(l listed) bool { return l.Record.Delivery != Silent }))
		return over || at.Last, 0, err
	})
	return s.messages(list, err)
}

// listed is an approval with the enrollment that it is shown to.
type listed struct {
	row
	to *device.Enrollment
}

// listed reads the approvals that the phone is asked for and has not seen.
func (s *Service) listed(ctx context.Context, p device.Proof, seen []string) (list []listed, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		e, err := s.devices.CheckSigned(tx, p)
		if err != nil {
			return err
		}
		blocked, err := isBlocked(tx, p.UID)
		if err != nil || blocked {
			return err // nothing is asked of a blocked user
		}
		pending, err := pendingOf(tx, p.UID)
		if err != nil {
			return err
		}
		checks, err := pendingCallers(tx, p.UID)
		for _, l := range slices.Concat(pending, checks) {
			if slices.Contains(l.Record.Asked, e.ID) && !slices.Contains(seen, l.Record.Challenge) {
				list = append(list, listed{l, e})
			}
		}
		return err
	})
	return list, err
}

func (s *Service) messages(list []listed, err error) ([]push.Message, error) {
	if err != nil {
		return nil, err
	}
	messages := make([]push.Message, 0, len(list))
	for _, l := range list {
		m, err := s.message(l.row, l.to)
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// AskInstead moves the pending approvals of an enrollment to the one that replaces it. That costs no push budget.
func (s *Service) AskInstead(tx *storage.Tx, uid storage.UID, old string, e *device.Enrollment) error {
	pending, err := pendingOf(tx, uid)
	if err != nil {
		return err
	}
	for _, asked := range pending {
		l := asked.Record
		at := slices.Index(l.Asked, old)
		if at < 0 {
			continue
		}
		l.Asked = slices.Delete(l.Asked, at, at+1)
		if l.Number == "" || e.Push.Can(device.NumberMatching) {
			l.Asked = append(l.Asked, e.ID)
			if l.Delivery != Silent {
				_, err = s.queue(tx, asked, e)
			}
		}
		if err = errors.Join(err, logins.Put(tx, uid, asked.Key, l)); err != nil {
			return err
		}
	}
	tx.Wake(uid)
	return nil
}
