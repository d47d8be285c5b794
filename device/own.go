package device

import (
	"context"
	"errors"

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

// Change is what a phone changes of its own enrollment; what is nil or zero stays as it is.
type Change struct {
	Identifier   *string
	Name         *string
	Push         push.Address
	Capabilities *[]string // only by a call signed by its key
}

// Patch changes the caller's enrollment. A new push token or identifier is an event, and the old push token is told.
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
		kind := PatchByKey
		if p.ByToken {
			kind = PatchByToken
		}
		return s.patch(tx, p.UID, e, c, kind, actor)
	})
	return e, err
}

func (s *Service) patch(tx *storage.Tx, uid storage.UID, e *Enrollment, c Change, kind CallKind, actor audit.Actor) error {
	if err := c.validate(); err != nil {
		return err
	}
	if err := CountCall(tx, uid, e, kind); err != nil {
		return err
	}
	before := *e
	c.apply(e)
	if e.Push.Identifier == before.Push.Identifier && e.PushAddress() == before.PushAddress() {
		return Put(tx, uid, e)
	}
	return errors.Join(tellOldAddress(tx, uid, &before), Put(tx, uid, e),
		audit.Record(tx, actor, audit.Event{Type: audit.UpdateDevice, UID: uid}, e.Detail()))
}

func (c Change) apply(e *Enrollment) {
	if c.Identifier != nil {
		e.Push.Identifier = *c.Identifier
	}
	if c.Name != nil {
		e.Name = *c.Name
	}
	if c.Capabilities != nil {
		e.Push.Capabilities = *c.Capabilities
	}
	if !c.Push.IsZero() {
		e.Push.Address = c.Push.Keep()
	}
}

// Leave deletes the caller's enrollment. By the device token alone, which whoever has stolen a platform backup may
// have, it is gone for all to see, but a signed call within seven days brings it back.
//
// Errors: those of Check.
func (s *Service) Leave(ctx context.Context, p Proof, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		e, err := s.Check(tx, p)
		if err != nil {
			return err
		}
		if p.ByToken {
			err = SetStatus(tx, p.UID, e, Left)
		} else {
			err = Retire(tx, p.UID, e, nil)
		}
		event := audit.Event{Type: audit.Unenroll, UID: p.UID, Facts: audit.Facts{audit.FactWhy: audit.WhyDevice}}
		return errors.Join(err, audit.Record(tx, actor, event, e.Detail()))
	})
}

// LoseCode declares the recovery code of the caller's user lost: at the next enrolment where a code is shown she gets another.
// Until then it stays valid. Once more is no error.
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
