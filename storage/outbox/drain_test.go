package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/outbox"
	"tutela/storage/storagetest"
)

// drained is a store whose clock the test owns, without a bubble: a Drain waits for nothing but its work.
func drained(t *testing.T, test func(store *storage.Store, clock *storage.FakeClock)) {
	for _, chaos := range []bool{false, true} {
		t.Run(fmt.Sprintf("chaos %t", chaos), func(t *testing.T) {
			file, err := bolt.Open(t.Context(), filepath.Join(t.TempDir(), "data"), bolt.Options{})
			must(t, err)
			var e storage.Engine = file
			if chaos {
				e = storagetest.Chaos(t, file)
			}
			clock := storage.NewFakeClock(time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC))
			store, err := storage.Open(t.Context(), e, storage.Options{Clock: clock, Logger: slog.New(slog.DiscardHandler)})
			must(t, err)
			test(store, clock)
			must(t, store.Close())
		})
	}
}

func newSender(t *testing.T, store *storage.Store, handlers ...outbox.Handler) *outbox.Sender {
	t.Helper()
	s, err := outbox.NewSender(store, outbox.Options{Handlers: handlers, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	return s
}

func addWork(t *testing.T, store *storage.Store, payload string) {
	t.Helper()
	must(t, store.Update(t.Context(), func(tx *storage.Tx) error {
		return work.Add(tx, storage.NewUID(), payload, tx.Now().Add(time.Hour))
	}))
}

func TestDrain_DoesWhatIsDueAndWhatComesOfIt(t *testing.T) {
	drained(t, func(store *storage.Store, _ *storage.FakeClock) {
		var a attempts
		s := newSender(t, store, work.Handler(func(_ context.Context, e entry) (outbox.Then, error) {
			a.note(e)
			if len(e.Payload) == 4 {
				return nil, nil
			}
			return func(tx *storage.Tx) error { // a tree of 1 + 2 + 4 + 8 entries
				return errors.Join(
					work.Add(tx, e.Owner, e.Payload+"l", e.Expires),
					work.Add(tx, e.Owner, e.Payload+"r", e.Expires))
			}, nil
		}))
		addWork(t, store, "x")
		must(t, s.Drain(t.Context()))
		if n := a.count(); n != 15 {
			t.Errorf("%d were done", n)
		}
		must(t, s.Drain(t.Context()))
		if n := a.count(); n != 15 {
			t.Errorf("%d were done when nothing was due", n)
		}
	})
}

func TestDrain_LeavesWhatWasPutOffUntilItIsDue(t *testing.T) {
	drained(t, func(store *storage.Store, clock *storage.FakeClock) {
		var a attempts
		s := newSender(t, store, work.Handler(func(_ context.Context, e entry) (outbox.Then, error) {
			if a.note(e) < 4 {
				return nil, errors.New("not yet")
			}
			return nil, nil
		}))
		addWork(t, store, "x")
		for want := 1; want <= 4; want++ {
			must(t, s.Drain(t.Context()))
			if n := a.count(); n != want {
				t.Errorf("%d attempts, want %d", n, want)
			}
			clock.Advance(time.Minute)
		}
		must(t, s.Drain(t.Context()))
		if n := a.count(); n != 4 {
			t.Errorf("%d attempts", n)
		}
	})
}

func TestDrain_DoesNotWaitForADestinationThatDoesNotAnswer(t *testing.T) {
	drained(t, func(store *storage.Store, clock *storage.FakeClock) {
		var a attempts
		s := newSender(t, store, work.Handler(func(_ context.Context, e entry) (outbox.Then, error) {
			a.note(e)
			return nil, outbox.Unreachable(errRefused)
		}))
		for range 100 {
			addWork(t, store, "x")
		}
		must(t, s.Drain(t.Context()))
		if n := a.count(); n > 37 {
			t.Errorf("%d attempts", n)
		}
		clock.Advance(2 * time.Second)
		before := a.count()
		must(t, s.Drain(t.Context()))
		if n := a.count() - before; n != 1 {
			t.Errorf("%d probes", n)
		}
	})
}

func TestDrain_EndsWithItsContext(t *testing.T) {
	drained(t, func(store *storage.Store, _ *storage.FakeClock) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		s := newSender(t, store, work.Handler(func(context.Context, entry) (outbox.Then, error) {
			cancel()
			<-release
			return nil, nil
		}))
		addWork(t, store, "x")
		if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("drained: %v", err)
		}
		close(release)
		must(t, s.Drain(t.Context()))
	})
}

func TestDrain_BesideRunWaitsForWhatRunHasInHand(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			pass(time.Second)
			a.note(e)
			return nil, nil
		})
		h.addMany("", 100)
		synctest.Wait()
		must(t, h.sender.Drain(t.Context()))
		if n := a.count(); n != 100 {
			t.Errorf("%d were done", n)
		}
		h.expectLeft(nothing)
	})
}

func TestDrain_OfAStoreThatCannotBeReadIsAnError(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		s := newSender(t, h.store, work.Handler(a.succeed))
		h.add(storage.NewUID(), "x")
		h.engine.refuse.Store(true)
		if err := s.Drain(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("drained: %v", err)
		}
		h.engine.refuse.Store(false)
		must(t, s.Drain(t.Context()))
		expect(t, &a, "x")
	})
}

func TestDrain_OfASenderThatWasStoppedIsAnError(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(a.succeed)
		h.stop()
		h.add(storage.NewUID(), "x")
		if err := h.sender.Drain(t.Context()); err == nil {
			t.Error("drained")
		}
		expect(t, &a, "")
	})
}
