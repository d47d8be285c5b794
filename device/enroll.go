package device

import (
	"context"
	"encoding/json"
	"errors"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Enroll spends a ticket and binds an installation to the ticket's user. A repeat with the same ticket and the same key
// gets the same reply again for as long as it is kept: the first may have been lost.
//
// Errors: ErrInstallation; ErrTicket; ErrKeyInUse; ErrTooMany.
func (s *Service) Enroll(ctx context.Context, ticket string, in Installation, actor audit.Actor) (*Enrolled, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	var enrolled *Enrolled
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		t, err := s.findTicket(tx, ticket)
		if err != nil {
			return err
		}
		if t.spent() {
			enrolled, err = s.enrolledBefore(tx, t, in.Key)
			return err
		}
		if err := s.mayEnroll(tx, t); err != nil {
			return err
		}
		enrolled, err = s.enroll(tx, t, in, actor)
		return err
	})
	return enrolled, err
}

// enroll enrols with a valid ticket, and tells the user's other phones.
func (s *Service) enroll(tx *storage.Tx, t *foundTicket, in Installation, actor audit.Actor) (*Enrolled, error) {
	before, err := All(tx, t.UID)
	if err != nil {
		return nil, err
	}
	e, enrolled, err := s.Bind(tx, t.UID, in, Binding{Reserved: t.reserved(), Via: t.via()}, actor)
	if err != nil {
		return nil, err
	}
	if err := tellOthers(tx, t, before, e); err != nil {
		return nil, err
	}
	has, err := recovery.HasCode(tx, t.UID)
	if err != nil {
		return nil, err
	}
	if !has {
		code, err := s.recovery.Issue(tx, t.UID)
		if err != nil {
			return nil, err
		}
		enrolled.RecoveryCode = string(code)
	}
	body, err := json.Marshal(enrolled)
	if err != nil {
		return nil, err
	}
	kept := recovery.Reply{Enrollment: e.ID, Body: body}
	return enrolled, errors.Join(
		recovery.KeepReply(tx, t.UID, t.replyKey(), kept, recovery.ReplyLife),
		s.keepForPage(tx, t, enrolled.RecoveryCode),
		s.spend(tx, t, in.Key, e.ID))
}

// via is how an enrollment by the ticket comes about. A page makes a ticket of its own from the one that was given out.
func (t *foundTicket) via() Via {
	if t.Record.Root != "" {
		return ViaPage
	}
	return ViaTicket
}

// tellOthers tells the phones that the user had before of the one that has enrolled. When she had none, nothing else may
// enrol her any more.
func tellOthers(tx *storage.Tx, t *foundTicket, before Set, e *Enrollment) error {
	if len(before.Active()) == 0 {
		return spendOthers(tx, t)
	}
	return recovery.Notify(tx, t.UID, recovery.NoticePayload{Notice: recovery.NoticeDeviceAdded, About: e.ID})
}

// enrolledBefore returns the kept reply of a spent ticket to the key that spent it.
func (s *Service) enrolledBefore(tx *storage.Tx, t *foundTicket, key Key) (*Enrolled, error) {
	if !t.spentBy(key) {
		return nil, ErrTicket
	}
	u, err := user.Get(tx, t.UID)
	if err != nil {
		return nil, err
	}
	if u.Blocked {
		return nil, ErrTicket
	}
	kept, err := recovery.KeptReply(tx, t.UID, t.replyKey())
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrTicket
	}
	if err != nil {
		return nil, err
	}
	var enrolled Enrolled
	return &enrolled, json.Unmarshal(kept.Body, &enrolled)
}
