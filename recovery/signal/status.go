package signal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/legible"
)

// SetStatus sets the status of a stream of the client that acts. What has happened while it was paused is told when it is enabled
// again, what has happened while it was disabled never. reason is in the receiver's words, and may be "".
//
// Errors: ErrRefused; ErrNone; ErrInvalid; [storage.ErrOutcomeUnknown].
func (s *Service) SetStatus(ctx context.Context, actor audit.Actor, id string, to Status, reason string) (changed Stream, err error) {
	if to != Enabled && to != Paused && to != Disabled {
		return Stream{}, ErrInvalid.With("a status is enabled, paused or disabled")
	}
	if err := legible.Check("reason", reason, maxTextBytes); err != nil {
		return Stream{}, ErrInvalid.With("%s", err)
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		one, err := own(tx, actor, id, ScopeManage)
		if err != nil {
			return err
		}
		if one.Status == to && one.Reason == reason {
			changed = *one
			return nil
		}
		one.set(tx, to, reason)
		changed = *one
		return errors.Join(put(tx, one), record(tx, actor, id, audit.ChangeStream, "status"))
	})
	if err != nil {
		return Stream{}, err
	}
	return changed, s.releaseChanged(ctx, id)
}

// set sets the status. Whoever calls it writes the stream.
func (s *Stream) set(tx *storage.Tx, to Status, reason string) {
	if to == Disabled || s.Status == Disabled {
		s.From = numberAt(tx) // what waits is not told
	}
	s.Status = to
	s.Reason = reason
	if to == Enabled {
		s.Failing = time.Time{}
	}
}

// disable disables a stream that takes nothing, tells its receiver, and records it.
//
// Source: SSF 1.0, "Stream Updated Event": whenever the transmitter changes the status by itself.
func disable(tx *storage.Tx, s *Stream, why audit.Word) error {
	if s.Status == Disabled {
		return nil
	}
	reason := map[audit.Word]string{
		audit.WhyUnreachable: "the receiver has taken nothing for three days",
		audit.WhyBacklog:     "too much waits for the receiver",
		audit.WhyUnread:      "nobody has polled for a week",
	}[why]
	s.set(tx, Disabled, reason)
	facts := audit.Facts{audit.FactStream: audit.Word(s.ID), audit.FactWhy: why}
	return errors.Join(
		put(tx, s),
		s.tellOfItself(tx),
		audit.Record(tx, audit.Actor{}, audit.Event{Type: audit.StreamDisabled, Facts: facts}, audit.Detail{}))
}

// tellOfItself tells a stream's receiver how the stream stands.
func (s *Stream) tellOfItself(tx *storage.Tx) error {
	return s.add(tx, &item{
		Number: newNumber(tx),
		Type:   StreamUpdated,
		Status: s.Status,
		Reason: s.Reason,
	})
}

// Verify has a stream of the client that acts be told that it works, with a state of the receiver's, if it gives one.
//
// Errors: ErrRefused; ErrNone; ErrInvalid; ErrDisabled; ErrTooSoon, with the time to wait.
//
// Source: SSF 1.0, "Verification".
func (s *Service) Verify(ctx context.Context, actor audit.Actor, id, state string) error {
	if len(state) > maxTextBytes {
		return ErrInvalid.With("state has at most %d bytes", maxTextBytes)
	}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		one, err := own(tx, actor, id, ScopeManage)
		if err != nil {
			return err
		}
		if one.Status == Disabled {
			return ErrDisabled
		}
		if since := tx.Now().Sub(one.Verified); since < VerifyEvery {
			return ErrTooSoon.After(VerifyEvery - since)
		}
		one.Verified = tx.Now()
		return errors.Join(
			streams.Put(tx, storage.House, id, one),
			one.add(tx, &item{Number: newNumber(tx), Type: Verification, State: state}))
	})
}

// releaseChanged is release after a change that is kept: when it fails nobody may say that nothing was done. The same request again goes on.
//
// Errors: [storage.ErrOutcomeUnknown].
func (s *Service) releaseChanged(ctx context.Context, id string) error {
	if err := s.release(ctx, id); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, err)
	}
	return nil
}

// releaseBatch is how many items one transaction hands to the outbox.
const releaseBatch = 100

// release hands what was held for a stream to the outbox, when the stream is pushed now. What is left when it fails is handed over
// by Tidy.
func (s *Service) release(ctx context.Context, id string) error {
	for {
		keys, err := s.keysFrom(ctx, id+ofEvents, past(id+ofEvents), releaseBatch)
		if err != nil || len(keys) == 0 {
			return err
		}
		more := false
		err = s.store.Update(ctx, func(tx *storage.Tx) error {
			more = false
			one, err := get(tx, id)
			if errors.Is(err, ErrNone) || err == nil && (one.Method != Push || one.Status != Enabled) {
				return nil
			}
			if err != nil {
				return err
			}
			more = true
			for _, key := range keys {
				if err := one.handOver(tx, key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || !more {
			return err
		}
	}
}

// handOver moves what was held to the outbox, unless somebody has moved it meanwhile.
func (s *Stream) handOver(tx *storage.Tx, key string) error {
	value, err := held.Get(tx, storage.House, key)
	if err != nil || value == nil {
		return err
	}
	i := &item{}
	if json.Unmarshal(value, i) != nil {
		return held.Delete(tx, storage.House, key)
	}
	return errors.Join(
		held.Delete(tx, storage.House, key),
		pushed.AddTo(tx, storage.House, where(s.ID), *i, i.Added.Add(Life)))
}

// keysFrom returns the first keys of what is held from one key to another. It is no transaction.
func (s *Service) keysFrom(ctx context.Context, from, to string, most int) (keys []string, err error) {
	err = held.Peek(ctx, s.store, from, to, false, func(key string, _ []byte) bool {
		keys = append(keys, key)
		return len(keys) < most
	})
	return keys, err
}
