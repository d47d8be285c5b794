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

// Enroll spends a ticket and binds an installation to the ticket's user. A repeat with the same ticket and the same
// key gets the same answer again, while that is kept: the first may have been lost.
//
// Errors: ErrInstallation; ErrTicket; ErrKeyInUse; ErrTooMany.
func (s *Service) Enroll(ctx context.Context, ticket string, in Installation, actor audit.Actor) (*Answer, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	var answer *Answer
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		t, err := s.findTicket(tx, ticket)
		if err != nil {
			return err
		}
		if t.spent() {
			answer, err = s.enrolledBefore(tx, t, in.Key)
			return err
		}
		if err := s.mayEnroll(tx, t); err != nil {
			return err
		}
		answer, err = s.enroll(tx, t, in, actor)
		return err
	})
	return answer, err
}

// enroll does what Enroll promises for a ticket that is good.
func (s *Service) enroll(tx *storage.Tx, t *foundTicket, in Installation, actor audit.Actor) (*Answer, error) {
	e, answer, err := s.Bind(tx, t.uid, in, Reserved{ID: t.row.Enrollment, Secret: t.row.Secret}, "", actor)
	if err != nil {
		return nil, err
	}
	has, err := recovery.HasCode(tx, t.uid)
	if err != nil {
		return nil, err
	}
	if !has {
		code, err := s.recovery.Issue(tx, t.uid)
		if err != nil {
			return nil, err
		}
		answer.RecoveryCode = string(code)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	kept := recovery.Answer{Enrollment: e.ID, Body: body}
	return answer, errors.Join(
		recovery.KeepAnswer(tx, t.uid, t.answerKey(), kept, recovery.AnswerLife),
		s.keepForPage(tx, t, answer.RecoveryCode),
		s.spend(tx, t, in.Key, e.ID))
}

// enrolledBefore returns the kept answer of a spent ticket to the key that spent it.
func (s *Service) enrolledBefore(tx *storage.Tx, t *foundTicket, key Key) (*Answer, error) {
	if !t.spentBy(key) {
		return nil, ErrTicket
	}
	u, err := user.Get(tx, t.uid)
	if err != nil {
		return nil, err
	}
	if u.Blocked {
		return nil, ErrTicket
	}
	kept, err := recovery.KeptAnswer(tx, t.uid, t.answerKey())
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrTicket
	}
	if err != nil {
		return nil, err
	}
	var answer Answer
	return &answer, json.Unmarshal(kept.Body, &answer)
}
