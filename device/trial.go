package device

import (
	"context"
	"errors"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/outbox"
)

// Trial is a push service's answer to a test message.
type Trial struct {
	Service push.Service
	Outcome TrialOutcome
	Word    string // the service's own word; "": it gave none
}

// TrialOutcome is a verdict of package push, or one of these.
type TrialOutcome string

// The outcomes beside the verdicts.
const (
	TrialTaken       TrialOutcome = "taken"       // the service has accepted the message
	TrialNotCarried  TrialOutcome = "not_carried" // this server has no credentials for the service
	TrialUnreachable TrialOutcome = "unreachable" // the service did not answer, or not in time
)

// ErrNoPushAddress reports a phone without a push address: its app asks by itself.
var ErrNoPushAddress = storage.NewError(storage.Conflict, "no push service reaches this phone: its app asks by itself")

// TestPush sends a test message to an enrollment's phone, at once and without the outbox, and returns the push
// service's answer. It never changes the phone's address. Safe for concurrent use.
//
// Errors: ErrNoEnrollment; ErrNoPushAddress; those of the store.
func (s *Service) TestPush(ctx context.Context, uid storage.UID, enrollment string) (Trial, error) {
	var to push.Address
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		e, err := Get(tx, uid, enrollment)
		if err != nil {
			return err
		}
		routes := e.Routes()
		if e.Status == Retired || len(routes) == 0 {
			return ErrNoPushAddress
		}
		to = routes[0].To
		return nil
	})
	if err != nil {
		return Trial{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, outbox.AttemptTime)
	defer cancel()
	m := s.noticeMessage(enrollment, recovery.NoticePayload{Notice: recovery.NoticeTest, At: s.store.Now()}, "")
	m.Life = outbox.AttemptTime
	return trialOf(to.Service, s.deliver.Deliver(ctx, to, m)), nil
}

// trialOf returns what the answer of a service means.
func trialOf(of push.Service, err error) Trial {
	t := Trial{Service: of}
	var r *push.Refusal
	switch {
	case err == nil:
		t.Outcome = TrialTaken
	case errors.Is(err, push.ErrNotCarried):
		t.Outcome = TrialNotCarried
	case errors.As(err, &r):
		t.Outcome = TrialOutcome(r.Verdict)
		t.Word = r.Word(of)
	case errors.Is(err, push.ErrTokenGone):
		t.Outcome = TrialOutcome(push.Gone)
	default:
		t.Outcome = TrialUnreachable
	}
	return t
}
