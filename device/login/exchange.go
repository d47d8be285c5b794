package login

import (
	"context"
	"errors"
	"time"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
)

// keptFor is how long a held request gets the same answer again.
const keptFor = 60 * time.Second

// Exchange is a held request that exchanges the outcome of a login for an answer.
type Exchange struct {
	Client  string
	ID      string // of the login, as Begin returned it
	Wait    time.Duration
	IsThere func() bool                   // reports whether the caller can still get an answer
	Answer  func(Outcome) ([]byte, error) // makes the answer; Exchange may throw the result away
}

// Exchange waits until the login is decided, at most e.Wait, or until ctx ends. For an approved login it returns the answer,
// the same one however often it is called. The wait only reads; it writes when there is something to collect.
//
// The answer may be lost on its way: so it is kept sealed for a minute, and every held request of the same client gets it
// again. When the caller has hung up, Exchange collects nothing and returns ErrUndecided.
//
// Errors: those of Collect; those of Answer.
func (s *Service) Exchange(ctx context.Context, e Exchange) ([]byte, error) {
	uid, _, ok := s.ring.ParseID(requestPrefix, e.ID)
	if !ok {
		return nil, ErrGrant
	}
	var seen exchangeable
	err := s.store.Await(ctx, uid, e.Wait, func(ctx context.Context, at storage.Glance) (over bool, left time.Duration, err error) {
		seen, left, err = s.exchangeable(ctx, e)
		if errors.Is(err, ErrUndecided) && !at.Last {
			return false, left, nil
		}
		return true, 0, err
	})
	if err != nil || seen.kept != nil {
		return seen.kept, err
	}
	if !e.IsThere() {
		return nil, ErrUndecided
	}
	answer, err := e.Answer(seen.outcome)
	if err != nil {
		return nil, err
	}
	return s.exchange(context.WithoutCancel(ctx), e, answer)
}

// exchangeable is the result of reading a login: the kept answer, or what is needed to make one.
type exchangeable struct {
	kept    []byte
	outcome Outcome
}

// exchangeable reads whether there is an answer, and writes nothing. While the login is undecided it returns how long the
// login has left.
func (s *Service) exchangeable(ctx context.Context, e Exchange) (seen exchangeable, left time.Duration, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		l, err := s.find(tx, requestPrefix, e.ID)
		if err != nil {
			return err
		}
		left = l.Record.Expires.Sub(tx.Now())
		u, err := user.Get(tx, l.UID)
		if err != nil {
			return err
		}
		if seen.kept, err = keptAnswer(tx, l, u, e.Client); err != nil || seen.kept != nil {
			return err
		}
		seen.outcome = outcomeOf(u, l)
		return l.Record.collectable(tx, u, e.Client)
	})
	return seen, left, err
}

// exchange collects the outcome and keeps the answer. If another request has collected it meanwhile, exchange returns that
// request's answer.
func (s *Service) exchange(ctx context.Context, e Exchange, answer []byte) (told []byte, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		l, err := s.find(tx, requestPrefix, e.ID)
		if err != nil {
			return err
		}
		u, err := user.Get(tx, l.UID)
		if err != nil {
			return err
		}
		if told, err = keptAnswer(tx, l, u, e.Client); err != nil || told != nil {
			return err
		}
		if _, err := take(tx, l, e.Client); err != nil {
			return err
		}
		told = answer
		return recovery.KeepReply(tx, l.UID, answerKey(l), recovery.Reply{Body: answer}, keptFor)
	})
	return told, err
}

// answerKey returns the key of the answer that is kept for a login.
func answerKey(l row) string { return "login:" + l.Key }

// keptAnswer returns the kept answer of a login that its client has collected by a held request; nil when there is none.
//
// Errors: ErrBlocked; ErrDenied, when the phone that approved is out of service.
func keptAnswer(tx *storage.Tx, l row, u *user.User, client string) ([]byte, error) {
	if l.Record.Client != client || l.Record.Collected.IsZero() {
		return nil, nil
	}
	kept, err := recovery.KeptReply(tx, l.UID, answerKey(l))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case u.Blocked:
		return nil, ErrBlocked
	}
	return kept.Body, l.Record.stands(tx, u)
}

// stands returns an error unless the phone that approved the login is still in service.
//
// Errors: ErrDenied.
func (l *Login) stands(tx *storage.Tx, u *user.User) error {
	if l.By == "" {
		return nil
	}
	e, err := device.Get(tx, u.UID, l.By)
	if errors.Is(err, device.ErrNoEnrollment) || err == nil && !e.Answers() {
		return ErrDenied.With("the phone that approved the login is out of service")
	}
	return err
}
