package restore

import (
	"context"
	"errors"

	"tutela/device"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// disputePolicy says what a dispute by a retired phone does. The person with that phone may be a thief who was locked
// out, so by default a dispute is only reported.
var disputePolicy = setting.OneOf("restore.dispute", "what the word of a phone that was taken over does", disputeTell, disputeSuspend)

// The values of restore.dispute.
const (
	disputeTell    = "tell"
	disputeSuspend = "suspend" // the new installation
)

// Dispute records that a retired phone says that a stranger has replaced it. It is possible for 24 hours after a
// replacement by a restore, a ticket or an enrolment token. id is the id that the phone got with the notice: that of
// the restore, or of its successor. Admins see an event, and all of the user's phones are notified. With the policy
// suspend the installation that has the phone's place is suspended, even if another restore has replaced the first
// successor. A repeat does nothing, unless somebody has taken over since.
//
// It also forgets the user's remembered browsers.
//
// p is as device.Service.ProveReader makes it.
//
// Errors: those of device.Service.CheckReader; ErrNone, when nothing of that id has retired the caller's enrollment within 24
// hours.
func (s *Service) Dispute(ctx context.Context, p device.Proof, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := s.devices.CheckReader(tx, p)
		if err != nil {
			return err
		}
		if !e.Disputable(id, tx.Now()) {
			return ErrNone.With("nothing of that name has retired this phone in the last 24 hours")
		}
		// Against whom? A repeat against the same installation changes nothing.
		last, err := device.LastSuccessor(tx, p.UID, e)
		if err != nil {
			return err
		}
		against := ""
		if last != nil {
			against = last.ID
		}
		if !e.Succession.Disputed.IsZero() && e.Succession.Against == against {
			return nil
		}
		e.Succession.Disputed = tx.Now()
		e.Succession.Against = against
		tx.Wake(p.UID)
		_, err = recovery.ForgetBrowsers(tx, p.UID)
		return errors.Join(
			err,
			device.Put(tx, p.UID, e),
			s.markDisputed(tx, p.UID, e),
			s.actOn(tx, p.UID, e, last, actor),
			recovery.Notify(tx, p.UID, recovery.NoticePayload{Notice: recovery.NoticeRestoreDisputed, Restore: id}))
	})
}

// markDisputed marks a restore as disputed in the list of restores.
func (s *Service) markDisputed(tx *storage.Tx, uid storage.UID, e *device.Enrollment) error {
	f, err := s.byID(tx, e.Succession.Cause)
	if errors.Is(err, ErrNone) || err == nil && f.UID != uid {
		return nil // no restore has retired it
	}
	if err != nil {
		return err
	}
	f.Record.Disputed = tx.Now()
	return put(tx, f)
}

// actOn suspends the installation that has replaced e, if the policy says so, and records the dispute.
func (s *Service) actOn(tx *storage.Tx, uid storage.UID, e, last *device.Enrollment, actor audit.Actor) error {
	policy, err := disputePolicy.Get(tx)
	if err != nil {
		return err
	}
	event := audit.Event{
		Type:  audit.RestoreDisputed,
		UID:   uid,
		Facts: audit.Facts{audit.FactWay: audit.Word(e.Succession.By)},
	}
	detail := e.Detail()
	if last != nil {
		detail.Successor = last.ID
	}
	if policy == disputeSuspend && last != nil && (last.Status == device.Active || last.Status == device.Left) {
		event.Facts[audit.FactStatus] = audit.Word(device.Suspended)
		err = device.SetStatus(tx, uid, last, device.Suspended)
	}
	return errors.Join(err, audit.Record(tx, actor, event, detail))
}
