package device

import (
	"context"
	"errors"
	"slices"
	"time"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// Read returns the caller's enrollment.
//
// Errors: those of Check.
func (s *Service) Read(ctx context.Context, p Proof) (e *Enrollment, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		e, err = s.Check(tx, p)
		return err
	})
	return e, err
}

// Change is what a phone changes in its own enrollment. A nil or zero field changes nothing.
type Change struct {
	Identifier   *string
	Name         *string
	Push         push.Address
	Capabilities *[]string // only by a call that the device key signs
}

// Patch changes the caller's enrollment. For a new push token or identifier, or the loss of a capability, it records an
// event and notifies the old push addresses. A push token or identifier that only the device token names is unproven.
//
// Errors: those of Check; ErrInstallation; ErrUnsigned, for capabilities by the device token; ErrTooOften.
func (s *Service) Patch(ctx context.Context, p Proof, c Change, actor audit.Actor) (e *Enrollment, err error) {
	if c.Capabilities != nil && p.ByToken {
		return nil, ErrUnsigned.With("capabilities are changed only by a call that the device key signs")
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if e, err = s.Check(tx, p); err != nil {
			return err
		}
		return s.patch(tx, p, e, c, actor)
	})
	return e, err
}

func (s *Service) patch(tx *storage.Tx, p Proof, e *Enrollment, c Change, actor audit.Actor) error {
	if err := c.validate(); err != nil {
		return err
	}
	kind := PatchByKey
	if p.ByToken {
		kind = PatchByToken
	}
	if err := CountCall(tx, p.UID, e, kind); err != nil {
		return err
	}
	before := *e
	c.apply(e, p.ByToken, tx.Now())
	return errors.Join(
		changed(tx, p.UID, &before, e, actor),
		followAddresses(tx, p.UID, &before, e, false),
		s.noteAddress(tx, p.UID, e.ID, c.Push, !p.ByToken),
		Put(tx, p.UID, e))
}

// changed records each important part of a change, and notifies the phone at its old addresses.
func changed(tx *storage.Tx, uid storage.UID, before, e *Enrollment, actor audit.Actor) error {
	var err error
	record := func(what audit.Word) {
		event := audit.Event{Type: audit.UpdateDevice, UID: uid, Facts: audit.Facts{audit.FactDevice: what}}
		err = errors.Join(err, audit.Record(tx, actor, event, e.Detail()))
	}
	if e.Push.Identifier != before.Push.Identifier || e.PushAddress() != before.PushAddress() || e.Push.Address.Open() != before.Push.Address.Open() {
		err = tellBefore(tx, uid, before, recovery.NoticePushTokenChanged)
		record(audit.DeviceAddress)
	}
	gone := slices.ContainsFunc(before.Push.Capabilities, func(capability string) bool { return !e.Push.Can(capability) })
	if gone {
		err = errors.Join(err, tellBefore(tx, uid, before, recovery.NoticeCapabilitiesChanged))
		record(audit.DeviceCapabilities)
	}
	return err
}

func (c Change) apply(e *Enrollment, byToken bool, now time.Time) {
	if c.Identifier != nil {
		e.Push.nameIdentifier(*c.Identifier, byToken)
	}
	if c.Name != nil {
		e.Name = *c.Name
	}
	if c.Capabilities != nil {
		e.Push.Capabilities = *c.Capabilities
	}
	if !c.Push.IsZero() {
		e.nameAddress(c.Push, byToken, now)
	}
}

// Leave deletes the caller's enrollment. A call with the device token alone may come from a thief of a platform backup,
// so it only marks the enrollment as left. Its phone is notified and still asked, and any call that its key signs
// within seven days brings it back. A token can do that once.
//
// Errors: those of Check; ErrUnsigned, for a token that has done so before.
func (s *Service) Leave(ctx context.Context, p Proof, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := s.Check(tx, p)
		if err != nil {
			return err
		}
		if p.ByToken {
			err = leave(tx, p.UID, e)
		} else {
			err = Retire(tx, p.UID, e, nil)
		}
		if err != nil {
			return err
		}
		event := audit.Event{Type: audit.Unenroll, UID: p.UID, Facts: audit.Facts{audit.FactWhy: audit.WhyDevice, audit.FactFactor: audit.Word(e.Type)}}
		return audit.Record(tx, actor, event, e.Detail())
	})
}

// LoseCode declares the recovery code of the caller's user lost: she gets another at the next enrolment that shows a code.
// Until then the old one stays valid. Calling it again is no error.
//
// Errors: those of CheckSigned.
func (s *Service) LoseCode(ctx context.Context, p Proof, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := s.CheckSigned(tx, p)
		if err != nil {
			return err
		}
		return recovery.DeclareLost(tx, p.UID, actor, e.Detail())
	})
}

// Practise reports whether a code is the recovery code of the caller's user, without spending it.
//
// Errors: those of CheckSigned; recovery.ErrLimited.
func (s *Service) Practise(ctx context.Context, p Proof, typed string, actor audit.Actor) (valid bool, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if _, err := s.CheckSigned(tx, p); err != nil {
			return err
		}
		valid, err = s.recovery.Practise(tx, p.UID, typed, actor)
		return err
	})
	return valid, err
}
