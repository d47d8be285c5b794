package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
)

func TestAdd_OfWhatIsNoJSONIsAnError(t *testing.T) {
	odd := outbox.Declare[any]("odd", storage.MFA)
	inBubble(t, func(t *testing.T, h *house) {
		err := h.store.Update(t.Context(), func(tx *storage.Tx) error {
			return odd.Add(tx, storage.NewUID(), func() {}, tx.Now())
		})
		if err == nil {
			t.Error("added")
		}
		h.expectLeft(nothing)
	})
}

func TestDeclare_WhatIsWrongIsAnErrorOfEachUse(t *testing.T) {
	outbox.Declare[string]("twice", storage.MFA)
	for name, kind := range map[string]*outbox.Kind[string]{
		"declared twice":         outbox.Declare[string]("twice", storage.MFA),
		"no class":               outbox.Declare[string]("settled", storage.Settings),
		"no name":                outbox.Declare[string]("", storage.MFA),
		"name of two parts":      outbox.Declare[string]("a/b", storage.MFA),
		"name as an old pointer": outbox.Declare[string]("1st", storage.MFA),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				err := h.store.Update(t.Context(), func(tx *storage.Tx) error {
					return kind.Add(tx, storage.NewUID(), "x", tx.Now().Add(time.Hour))
				})
				if err == nil {
					t.Error("added")
				}
				var a attempts
				if _, err := outbox.NewSender(h.store, outbox.Options{Handlers: []outbox.Handler{kind.Handler(a.succeed)}}); err == nil {
					t.Error("a sender takes it")
				}
			})
		})
	}
}

func TestNewSender_RefusesTwoHandlersOfAKind(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		handlers := []outbox.Handler{work.Handler(a.succeed), work.Handler(a.succeed)}
		if _, err := outbox.NewSender(h.store, outbox.Options{Handlers: handlers}); err == nil {
			t.Error("made")
		}
	})
}

// classes are the tests' kinds with what each handler has noted.
type classes struct{ work, bill, report attempts }

func (c *classes) handlers() []outbox.Handler {
	return []outbox.Handler{work.Handler(c.work.succeed), bill.Handler(c.bill.succeed), report.Handler(c.report.succeed)}
}

// addOfEachClass adds an entry of each class for an owner.
func (h *house) addOfEachClass(owner storage.UID, payload string) {
	h.t.Helper()
	h.update(func(tx *storage.Tx) error {
		expires := tx.Now().Add(time.Hour)
		return errors.Join(
			work.Add(tx, owner, payload, expires),
			bill.Add(tx, owner, payload, expires),
			report.Add(tx, owner, payload, expires))
	})
}

func (h *house) purge(uid storage.UID, of ...storage.Class) {
	h.t.Helper()
	h.update(func(tx *storage.Tx) error {
		_, err := storage.Purge(tx, uid, false, of...)
		return err
	})
}

func TestDeclare_ClassSaysWhichPurgeTakesAnEntryThatWaits(t *testing.T) {
	for name, c := range map[string]struct {
		purged             []storage.Class
		work, bill, report string
	}{
		"nothing":  {nil, "x", "x", "x"},
		"reset":    {[]storage.Class{storage.MFA}, "", "x", "x"},
		"deletion": {[]storage.Class{storage.MFA, storage.Account}, "", "", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				uid := storage.NewUID()
				h.addOfEachClass(uid, "x")
				h.purge(uid, c.purged...)
				var did classes
				h.sendAll(did.handlers()...)
				expect(t, &did.work, c.work)
				expect(t, &did.bill, c.bill)
				expect(t, &did.report, c.report)
				h.expectLeft(nothing)
			})
		})
	}
}

// A webhook that reports a reset is added by the reset itself: the reset must not remove it, and it must not keep what
// the reset removes. It names the receipt, and reads the rest when it is sent.
func TestDeclare_WhatReportsAResetSurvivesItAndHoldsNothingOfIt(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.add(uid, "planted push")
		receipt := storage.NewID("rct_", 16)
		h.update(func(tx *storage.Tx) error {
			_, err := storage.Purge(tx, uid, false, storage.MFA)
			return errors.Join(err, report.Add(tx, uid, receipt, tx.Now().Add(time.Hour)))
		})
		h.scan(func(k, v []byte) {
			if bytes.Contains(v, []byte("planted")) {
				t.Errorf("left under %q", k)
			}
		})
		var did classes
		h.sendAll(did.handlers()...)
		expect(t, &did.report, receipt)
		expect(t, &did.work, "")
		h.expectLeft(nothing)
	})
}

func TestAdd_TheHouseMayOwnEntriesOfAnyClass(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.addOfEachClass(storage.House, "x")
		h.expectLeft("3 payloads, 3 pointers")
		var did classes
		h.sendAll(did.handlers()...)
		expect(t, &did.work, "x")
		expect(t, &did.bill, "x")
		expect(t, &did.report, "x")
		h.expectLeft(nothing)
	})
}

// where is what somebody outside may name as the way of an entry.
func TestAddTo_AnyWhereIsADestination(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		ways := []string{"", "FCM", "a\x00b", "a\x01", "ü", "x y", strings.Repeat("long", 100), "work/FCM", "\xff"}
		for _, where := range ways {
			h.addTo(where, storage.NewUID(), "x")
		}
		var a attempts
		h.send(a.succeed)
		synctest.Wait()
		if n := a.count(); n != len(ways) {
			t.Errorf("%d of %d were done", n, len(ways))
		}
		h.expectLeft(nothing)
	})
}

// Once is tried by a handler that acts on another user's rows than the owner's, and dies before its entry is settled.
func TestOnce_ActsOnAnotherUsersRowsOnceThoughTheEntryIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		owner := storage.NewUID()
		other := storage.NewUID()
		tries := 0
		h.send(func(ctx context.Context, e entry) (outbox.Then, error) {
			tries++
			err := e.Once(ctx, h.store, other, func(tx *storage.Tx) error {
				value := e.Payload
				return done.Insert(tx, other, storage.NewID("", 8), &value)
			})
			if err == nil && tries < 3 {
				err = errors.New("the server dies here")
			}
			return nil, err
		})
		h.add(owner, "x")
		pass(time.Minute)
		h.expectLeft(nothing)
		if tries != 3 || h.done(other) != 1 || h.done(owner) != 0 {
			t.Errorf("%d tries: %d rows of the other user, %d of the owner", tries, h.done(other), h.done(owner))
		}
	})
}

func TestOnce_AResetOfTheOtherUserDoesNotHaveItDoneAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		other := storage.NewUID()
		tries := 0
		acts := 0
		h.send(func(ctx context.Context, e entry) (outbox.Then, error) {
			tries++
			acted := false
			err := e.Once(ctx, h.store, other, func(*storage.Tx) error {
				acted = true
				return nil
			})
			if acted {
				acts++
			}
			if err == nil && tries == 1 {
				h.purge(other, storage.MFA)
				err = errors.New("once more")
			}
			return nil, err
		})
		h.add(storage.NewUID(), "x")
		pass(time.Minute)
		h.expectLeft(nothing)
		if tries != 2 || acts != 1 {
			t.Errorf("%d tries, acted %d times", tries, acts)
		}
	})
}

func TestOnce_WhatFailsIsDoneByTheNextAttempt(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		other := storage.NewUID()
		tries := 0
		h.send(func(ctx context.Context, e entry) (outbox.Then, error) {
			tries++
			return nil, e.Once(ctx, h.store, other, func(tx *storage.Tx) error {
				value := "x"
				err := done.Insert(tx, other, e.ID, &value)
				if tries == 1 {
					err = errors.New("not yet")
				}
				return err
			})
		})
		h.add(storage.NewUID(), "x")
		pass(time.Minute)
		h.expectLeft(nothing)
		if tries != 2 || h.done(other) != 1 {
			t.Errorf("%d tries, %d rows", tries, h.done(other))
		}
	})
}
