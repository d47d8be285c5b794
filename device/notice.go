package device

import (
	"context"
	"encoding/json"
	"errors"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/outbox"
)

// DeliverNotice is the handler of recovery.Notice: it tells the user's phones, or the one that the notice names.
func (s *Service) DeliverNotice(ctx context.Context, entry outbox.Entry) (func(*storage.Tx) error, error) {
	var notice recovery.NoticePayload
	if err := json.Unmarshal(entry.Payload, &notice); err != nil || s.deliver == nil {
		return nil, outbox.ErrGone
	}
	var told []*Enrollment
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		told, err = addressees(tx, entry.UID, notice)
		return err
	})
	if err != nil {
		return nil, err
	}
	gone, err := s.tell(ctx, told, notice)
	return func(tx *storage.Tx) error { return afterNotice(tx, entry.UID, notice, gone, err == nil) }, err
}

// tell delivers a notice to each enrollment and returns those whose push token is gone.
func (s *Service) tell(ctx context.Context, told []*Enrollment, notice recovery.NoticePayload) (gone []string, err error) {
	for _, e := range told {
		to, ok := e.PushTarget()
		if notice.OldToken {
			to.Token, ok = string(e.OldPushToken), len(e.OldPushToken) > 0
		}
		if !ok {
			continue
		}
		m := push.Message{
			Enrollment: e.ID, Server: s.bases.Public(), Started: s.store.Wall().Format(push.TimeFormat),
			Notice: notice.Notice, Restore: notice.Restore,
		}
		if failed := s.deliver.Deliver(ctx, to, m); errors.Is(failed, push.ErrTokenGone) {
			gone = append(gone, e.ID)
		} else if failed != nil {
			err = errors.Join(err, failed)
		}
	}
	return gone, err
}

func addressees(tx *storage.Tx, uid storage.UID, notice recovery.NoticePayload) ([]*Enrollment, error) {
	if notice.Enrollment == "" {
		return Of(tx, uid, Active)
	}
	e, err := Get(tx, uid, notice.Enrollment)
	if errors.Is(err, ErrNoEnrollment) {
		return nil, nil
	}
	return []*Enrollment{e}, err
}

// afterNotice forgets the addresses that were kept only to be told, and those that are gone.
func afterNotice(tx *storage.Tx, uid storage.UID, notice recovery.NoticePayload, gone []string, done bool) error {
	if done && notice.Enrollment != "" {
		e, err := Get(tx, uid, notice.Enrollment)
		if err != nil {
			return ignoreGone(err)
		}
		e.OldPushToken = nil
		if e.Status == Retired {
			e.PushToken = nil
		}
		if err := Put(tx, uid, e); err != nil {
			return err
		}
	}
	if notice.OldToken {
		return nil // the token that is gone was the old one
	}
	for _, id := range gone {
		if err := DropPushToken(tx, uid, id); err != nil {
			return err
		}
	}
	return nil
}

// DropPushToken forgets an enrollment's push token, which its service says is gone: the phone is reached by pull.
func DropPushToken(tx *storage.Tx, uid storage.UID, id string) error {
	e, err := Get(tx, uid, id)
	if err != nil {
		return ignoreGone(err)
	}
	e.PushToken = nil
	return Put(tx, uid, e)
}

func ignoreGone(err error) error {
	if errors.Is(err, ErrNoEnrollment) {
		return nil
	}
	return err
}
