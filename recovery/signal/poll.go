package signal

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// Bounds of a poll.
const (
	MostPolled = 100 // SETs in one answer
	MostAcked  = 1000
	MaxWait    = 30 * time.Second
)

// Polling is what a receiver says when it polls.
type Polling struct {
	Most int // SETs that it wants; 0: it acknowledges alone
	Wait time.Duration

	// Acked are the jti of the SETs that it has, or has no use for. What is not its own is passed over.
	Acked []string
}

// Polled is what a receiver gets.
type Polled struct {
	SETs map[string]string // by jti
	More bool              // more wait than it gets
}

// Poll drops what the receiver has acknowledged, and returns what waits for it, or waits until something does. What is not
// acknowledged is given again. A stream that is pushed has nothing for a poll.
//
// Errors: ErrRefused; ErrNone; ErrInvalid; storage.ErrHeld.
//
// Source: RFC 8936 §2.
func (s *Service) Poll(ctx context.Context, actor audit.Actor, id string, p Polling) (Polled, error) {
	if p.Most < 0 || len(p.Acked) > MostAcked {
		return Polled{}, ErrInvalid.With("maxEvents is not negative, and at most %d SETs are acknowledged at once", MostAcked)
	}
	var to Stream
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		one, err := own(tx, actor, id, ScopeRead, ScopeManage)
		if err == nil {
			to = *one
		}
		return err
	})
	if err != nil {
		return Polled{}, err
	}
	if err := s.acknowledge(ctx, to.ID, p.Acked); err != nil {
		return Polled{}, err
	}
	if p.Most == 0 {
		p.Wait = 0
	}
	var got Polled
	err = s.store.Await(ctx, to.Line, min(p.Wait, MaxWait), func(ctx context.Context, _ storage.Glance) (over bool, again time.Duration, err error) {
		got, err = s.look(ctx, actor, id, min(p.Most, MostPolled))
		return len(got.SETs) > 0 || got.More, 0, err
	})
	return got, err
}

// acknowledge drops what a receiver has.
func (s *Service) acknowledge(ctx context.Context, id string, acked []string) error {
	var keys []string
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		keys = nil
		for _, jti := range acked {
			number := numberOf(id, jti)
			if number == "" {
				continue
			}
			for _, line := range []string{id + ofEvents, id + ofItself} {
				value, err := held.Get(tx, storage.House, line+number)
				if err != nil {
					return err
				}
				if value != nil {
					keys = append(keys, line+number)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.drop(ctx, keys)
}

// drop removes what was held.
func (s *Service) drop(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		for _, key := range keys {
			if err := held.Delete(tx, storage.House, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// look returns what waits now for a stream, and drops what can be told no more.
func (s *Service) look(ctx context.Context, actor audit.Actor, id string, most int) (Polled, error) {
	got := Polled{SETs: map[string]string{}}
	for {
		waiting, more, err := s.waiting(ctx, id, most)
		if err != nil {
			return Polled{}, err
		}
		var claims []*Claims
		var dead []string
		var to *Stream
		err = s.store.View(ctx, func(tx *storage.Tx) (err error) {
			claims = nil
			dead = nil
			if to, err = own(tx, actor, id, ScopeRead, ScopeManage); err != nil {
				return err
			}
			claims, dead, err = s.tellable(tx, to, waiting)
			return err
		})
		if err != nil {
			return Polled{}, err
		}
		if len(dead) > 0 {
			if err := s.drop(ctx, dead); err != nil {
				return Polled{}, err
			}
			continue // others may come in their place
		}
		got.More = more
		for _, c := range claims {
			if got.SETs[c.ID], err = s.sign(ctx, c); err != nil {
				return Polled{}, err
			}
		}
		return got, nil
	}
}

// waiting peeks at what waits for a stream first: at most so much, and whether there is more. A stream that is pushed gets nothing
// so, and one that is not enabled only what it is told of itself.
func (s *Service) waiting(ctx context.Context, id string, most int) (list []*item, more bool, err error) {
	var to *Stream
	if err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		to, err = get(tx, id)
		return err
	}); err != nil {
		return nil, false, err
	}
	take := func(_ string, value []byte) bool {
		if len(list) == most {
			more = true
			return false
		}
		i := &item{}
		if json.Unmarshal(value, i) == nil {
			list = append(list, i)
		}
		return true
	}
	if to.Method != Poll {
		return nil, false, nil
	}
	line := to.ID + ofItself
	err = held.Peek(ctx, s.store, line, past(line), false, take)
	if err != nil || more || to.Status != Enabled {
		return list, more, err
	}
	line = to.ID + ofEvents
	err = held.Peek(ctx, s.store, line+to.From, past(line), false, take)
	return list, more, err
}

// tellable divides what waits into the claims of what can be told, and the keys of what cannot.
func (s *Service) tellable(tx *storage.Tx, to *Stream, waiting []*item) (claims []*Claims, dead []string, err error) {
	for _, i := range waiting {
		c, err := s.claimsOf(tx, to, i)
		switch {
		case errors.Is(err, errNoItem):
			dead = append(dead, i.key())
		case err != nil:
			return nil, nil, err
		default:
			claims = append(claims, c)
		}
	}
	return claims, dead, nil
}
