package signal

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
)

// setType is the media type of a SET. Source: RFC 8417 §7.2.
const setType = "application/secevent+jwt"

// Handler returns the handler of what waits to be pushed.
func (s *Service) Handler() outbox.Handler { return pushed.Handler(s.push) }

// letter is a SET that can be pushed now.
type letter struct {
	claims        *Claims
	url           string
	authorization string
}

// push pushes a SET. It looks first whether there is a stream that wants it still.
//
// Source: RFC 8935 §2.
func (s *Service) push(ctx context.Context, e outbox.Entry[item]) (outbox.Then, error) {
	i := e.Payload
	var out *letter
	hold := false
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		out, hold, err = s.letterOf(tx, &i)
		return err
	})
	switch {
	case hold:
		return func(tx *storage.Tx) error { return holdBack(tx, i) }, outbox.ErrGone
	case errors.Is(err, errNoItem):
		return nil, outbox.ErrGone
	case err != nil:
		return nil, err
	}
	set, err := s.sign(ctx, out.claims)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	header.Set("Content-Type", setType)
	header.Set("Accept", "application/json")
	if out.authorization != "" {
		header.Set("Authorization", out.authorization)
	}
	answer := s.poster.Post(ctx, out.url, header, []byte(set), s.store.Wall())
	return func(tx *storage.Tx) error { return note(tx, i.Stream, answer) }, answer.Verdict(e.Attempts)
}

// letterOf returns an item as it is pushed now. hold reports that it is to be held instead: the stream is paused, or polled by now.
//
// Errors: errNoItem.
func (s *Service) letterOf(tx *storage.Tx, i *item) (out *letter, hold bool, err error) {
	to, err := get(tx, i.Stream)
	if errors.Is(err, ErrNone) {
		return nil, false, errNoItem
	}
	if err != nil {
		return nil, false, err
	}
	itself := i.Type == StreamUpdated
	if !itself && (to.Status == Disabled || i.Number < to.From) {
		return nil, false, errNoItem
	}
	there, err := s.Receives(tx, to.Client, ScopeRead, ScopeManage)
	if err != nil || !there {
		return nil, false, errors.Join(err, errNoItem)
	}
	if to.Method != Push || to.Status == Paused && !itself {
		return nil, true, nil
	}
	out = &letter{url: to.URL}
	if out.claims, err = s.claimsOf(tx, to, i); err != nil {
		return nil, false, err
	}
	kept, err := secrets.Get(tx, storage.House, to.ID)
	switch {
	case err == nil:
		out.authorization = string(kept.Authorization)
	case !errors.Is(err, storage.ErrNotFound):
		return nil, false, err
	}
	return out, false, nil
}

// holdBack has an item wait until its stream goes on, or is polled.
func holdBack(tx *storage.Tx, i item) error {
	to, err := get(tx, i.Stream)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	return to.add(tx, &i)
}

// note writes down at the stream what an attempt has changed, and disables one that has taken nothing for too long.
func note(tx *storage.Tx, id string, a outbox.Answer) error {
	to, err := get(tx, id)
	if errors.Is(err, ErrNone) || err == nil && to.Status == Disabled {
		return nil
	}
	if err != nil {
		return err
	}
	now := tx.Now()
	switch {
	case a.Taken() && to.Failing.IsZero() && now.Sub(to.LastSuccess) < coarse:
		return nil
	case a.Taken():
		to.Failing = time.Time{}
		to.LastSuccess = now
	case to.Failing.IsZero():
		to.Failing = now
	case now.Sub(to.Failing) >= unreachableTime:
		return disable(tx, to, audit.WhyUnreachable)
	default:
		return nil
	}
	return streams.Put(tx, storage.House, id, to)
}
