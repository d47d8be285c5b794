package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
)

func TestSender_DoesAnEntryAtOnceAndOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(a.succeed)
		pass(time.Minute) // it sleeps
		before := time.Now()
		h.add(storage.NewUID(), "x")
		expect(t, &a, "x")
		if _, at := a.list(); !at[0].Equal(before) {
			t.Errorf("done %s later", at[0].Sub(before))
		}
		h.expectLeft(nothing)
		pass(time.Hour)
		expect(t, &a, "x")
	})
}

func TestSender_KeepsItsPaceAndLeavesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		const pace = 10 * time.Millisecond
		var a attempts
		_, h.stop = h.start(h.store, outbox.Options{Handlers: []outbox.Handler{work.Handler(a.succeed)}, Pace: pace})
		pass(time.Minute + time.Second) // it sleeps, and has not looked for a second
		before := time.Now()
		h.add(storage.NewUID(), "first")
		expect(t, &a, "first")
		h.add(storage.NewUID(), "second")
		h.add(storage.NewUID(), "third")
		expect(t, &a, "first")
		pass(pace)
		synctest.Wait()
		if done, at := a.list(); len(done) != 3 || !at[0].Equal(before) || !at[1].Equal(before.Add(pace)) || !at[2].Equal(at[1]) {
			t.Errorf("done %v at %v, want the first at %v, and both others %s later", done, at, before, pace)
		}
		h.expectLeft(nothing)
	})
}

func TestAdd_ThatIsRolledBackIsNotDone(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(a.succeed)
		refused := errors.New("refused")
		err := h.store.Update(t.Context(), func(tx *storage.Tx) error {
			return errors.Join(work.Add(tx, storage.NewUID(), "x", tx.Now().Add(time.Hour)), refused)
		})
		if !errors.Is(err, refused) {
			t.Error(err)
		}
		pass(time.Minute)
		expect(t, &a, "")
		h.expectLeft(nothing)
	})
}

func TestSender_TriesAgainWithPausesThatGrow(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			if n := a.note(e); n <= 9 {
				if e.Attempts != n-1 {
					t.Errorf("attempt %d has %d behind it", n, e.Attempts)
				}
				return nil, errors.New("the push service is away")
			}
			return nil, nil
		})
		h.add(storage.NewUID(), "x")
		pass(30 * time.Minute)
		synctest.Wait()
		_, at := a.list()
		const s = time.Second
		atMost := []time.Duration{1 * s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s}
		if len(at) != len(atMost)+1 {
			t.Fatalf("%d attempts", len(at))
		}
		for i, limit := range atMost {
			if wait := at[i+1].Sub(at[i]); wait <= 0 || wait > limit {
				t.Errorf("waited %v after attempt %d, want at most %v", wait, i+1, limit)
			}
		}
		h.expectLeft(nothing)
		if !strings.Contains(h.log.String(), "the push service is away") {
			t.Error("the log does not say why")
		}
	})
}

func TestSender_EntriesThatFailTogetherDoNotComeBackTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var mu sync.Mutex
		var back []time.Duration
		began := time.Now()
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			if e.Attempts > 0 {
				mu.Lock()
				defer mu.Unlock()
				back = append(back, time.Since(began))
				return nil, nil
			}
			return nil, errors.New("all fail at once")
		})
		h.addMany("", 200)
		pass(time.Minute)
		synctest.Wait()
		// Full jitter: a second is filled evenly, from its beginning to its end.
		if len(back) != 200 {
			t.Fatalf("%d came back", len(back))
		}
		var tenths [10]int
		for _, d := range back {
			tenths[min(9, d/(100*time.Millisecond))]++
		}
		for i, n := range tenths {
			if n == 0 || n > 60 { // 20 are likely; the odds against either are beyond a million to one
				t.Errorf("in the tenth %d of the second %d come back: %v", i, n, tenths)
			}
		}
	})
}

func TestSender_GivesUpWhenAnEntryHasExpired(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		must(t, h.store.Update(t.Context(), func(tx *storage.Tx) error {
			owner := storage.NewUID()
			return errors.Join(
				work.Add(tx, owner, "fails", tx.Now().Add(10*time.Second)),
				work.Add(tx, owner, "late", tx.Now()))
		}))
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			a.note(e)
			return nil, errors.New("no")
		})
		pass(10 * time.Second)
		h.expectLeft(nothing)
		before, _ := a.list()
		if len(before) == 0 || slices.Contains(before, "late") {
			t.Errorf("done: %v", before)
		}
		pass(time.Hour)
		expect(t, &a, strings.Join(before, " "))
	})
}

func TestSender_DropsAnEntryThatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			a.note(e)
			return func(tx *storage.Tx) error {
				value := "told"
				return done.Put(tx, e.Owner, e.ID, &value)
			}, fmt.Errorf("look at the login: %w", outbox.ErrGone)
		})
		uid := storage.NewUID()
		h.add(uid, "x")
		pass(time.Hour)
		expect(t, &a, "x")
		h.expectLeft(nothing)
		if h.done(uid) != 1 {
			t.Error("the function was not run")
		}
	})
}

// done counts what the handlers' functions wrote for a user.
func (h *house) done(uid storage.UID) (n int) {
	h.t.Helper()
	must(h.t, h.store.View(context.Background(), func(tx *storage.Tx) error {
		rows, err := done.All(tx, uid)
		n = len(rows)
		return err
	}))
	return n
}

func TestSender_WritesWhatTheHandlerReturnsTogetherWithTheRemoval(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			return func(tx *storage.Tx) error {
				value := "sent"
				return done.Insert(tx, e.Owner, e.ID, &value)
			}, nil
		})
		h.add(uid, "x", "y")
		h.expectLeft(nothing)
		if n := h.done(uid); n != 2 {
			t.Errorf("%d rows", n)
		}
	})
}

// A function that cannot be run must not have the handler called without a pause, nor the entry lost.
func TestSender_PutsAnEntryOffWhenItsFunctionFails(t *testing.T) {
	for name, then := range map[string]func(*storage.Tx) error{
		"error": func(*storage.Tx) error { return storage.ErrNotFound },
		"panic": func(*storage.Tx) error { panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				var a attempts
				uid := storage.NewUID()
				h.send(func(_ context.Context, e entry) (outbox.Then, error) {
					if a.note(e) == 4 {
						return nil, nil
					}
					return func(tx *storage.Tx) error {
						value := "half"
						return errors.Join(done.Put(tx, e.Owner, e.ID, &value), then(tx))
					}, nil
				})
				h.add(uid, "x")
				pass(time.Minute)
				expect(t, &a, "x x x x")
				if h.done(uid) != 0 {
					t.Error("half of it was written")
				}
				_, at := a.list()
				for i := range at[1:] {
					if !at[i+1].After(at[i]) {
						t.Errorf("attempt %d came without a pause", i+2)
					}
				}
				h.expectLeft(nothing)
			})
		})
	}
}

func TestSender_SurvivesAHandlerThatPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			if n := a.note(e); n < 3 {
				panic(fmt.Sprint("boom ", n))
			}
			return nil, nil
		})
		h.add(storage.NewUID(), "x")
		pass(time.Minute)
		expect(t, &a, "x x x")
		h.expectLeft(nothing)
		if log := h.log.String(); !strings.Contains(log, "boom 1") || !strings.Contains(log, "sender_test.go") {
			t.Errorf("the log does not say where: %s", log)
		}
	})
}

func TestSender_KeepsEntriesOfAKindWithoutHandlerForALaterStart(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.sendAll()
		h.add(storage.NewUID(), "x")
		pass(time.Minute)
		h.expectLeft("1 payloads, 1 pointers")
		if n := strings.Count(h.log.String(), "no handler"); n < 3 || n > 25 { // the pauses are drawn
			t.Errorf("%d lines of log in a minute", n)
		}
		h.stop()
		var a attempts
		h.send(a.succeed)
		pass(time.Minute)
		expect(t, &a, "x")
		h.expectLeft(nothing)
	})
}

func TestSender_APurgeTakesThePayloadAndTheSenderThePointer(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		other := storage.NewUID()
		h.add(uid, "planted-payload")
		h.add(other, "x")
		must(t, h.store.Update(t.Context(), func(tx *storage.Tx) error {
			_, err := storage.Purge(tx, uid, false, storage.MFA)
			return err
		}))
		must(t, h.store.Engine().Peek(t.Context(), storage.Range{}, func(k, v []byte) bool {
			if bytes.Contains(v, []byte("planted")) {
				t.Errorf("left under %q", k)
			}
			return true
		}))
		h.expectLeft("1 payloads, 2 pointers")
		var a attempts
		h.send(a.succeed)
		expect(t, &a, "x")
		h.expectLeft(nothing)
	})
}

func TestSender_APurgeWhileAnEntryIsBeingDoneWins(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.send(func(ctx context.Context, e entry) (outbox.Then, error) {
			if err := h.store.Update(ctx, func(tx *storage.Tx) error {
				_, err := storage.Purge(tx, uid, false, storage.MFA)
				return err
			}); err != nil {
				t.Error(err)
			}
			return func(tx *storage.Tx) error {
				value := "of a user who was reset"
				return done.Put(tx, e.Owner, e.ID, &value)
			}, errors.New("to be tried again")
		})
		h.add(uid, "x")
		pass(time.Minute)
		h.expectLeft(nothing)
		if h.done(uid) != 0 {
			t.Error("written after the reset")
		}
	})
}

func TestSender_DoesEntriesOfBeforeAStartTheFirstDueFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		for i := range 100 {
			h.add(storage.UID{byte(i * 7), 1}, fmt.Sprintf("%02d", i))
			pass(time.Millisecond)
		}
		var a attempts
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			a.note(e)
			pass(time.Second)
			return nil, nil
		})
		pass(500 * time.Millisecond)
		synctest.Wait()
		first, _ := a.list()
		slices.Sort(first)
		if len(first) != 32 || first[31] != "31" {
			t.Errorf("in hand first: %v", first)
		}
		pass(10 * time.Second)
		h.expectLeft(nothing)
	})
}

func TestSender_DoesManyEntriesExactlyOnceEach(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		const entries = 500
		var mu sync.Mutex
		counts := map[string]int{}
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			mu.Lock()
			counts[e.Payload]++
			n := counts[e.Payload]
			mu.Unlock()
			if n == 1 && len(e.Payload)%2 == 0 {
				return nil, errors.New("once more")
			}
			return nil, nil
		})
		must(t, h.store.UpdateEach(context.Background(), entries, func(tx *storage.Tx, i int) error {
			return work.Add(tx, storage.UID{byte(i), 1}, fmt.Sprint(i), tx.Now().Add(time.Hour))
		}))
		pass(time.Minute)
		h.expectLeft(nothing)
		for i := range entries {
			payload := fmt.Sprint(i)
			if want := 1 + (len(payload)+1)%2; counts[payload] != want {
				t.Errorf("entry %s was done %d times, want %d", payload, counts[payload], want)
			}
		}
	})
}

func TestSender_AfterACrashDoesAgainWhatWasNotWrittenDown(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			a.note(e)
			h.engine.refuse.Store(true) // the server dies after the push and before it is written down
			return nil, nil
		})
		h.add(storage.NewUID(), "x")
		expect(t, &a, "x")
		h.stop()
		must(t, h.engine.Engine.Close())
		h.engine.refuse.Store(false)

		h.open()
		h.expectLeft("1 payloads, 1 pointers")
		h.send(a.succeed)
		expect(t, &a, "x x")
		h.expectLeft(nothing)
	})
}

// What was done cannot be written down: it is not done again meanwhile, and the store is not asked all the time.
func TestSender_InsistsOnAnIllStoreWithGrowingPauses(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e entry) (outbox.Then, error) {
			if a.note(e) == 1 {
				h.engine.refuse.Store(true)
			}
			return nil, nil
		})
		before := h.engine.updates.Load()
		h.add(storage.NewUID(), "x")
		pass(5 * time.Minute)
		expect(t, &a, "x")
		if n := h.engine.updates.Load() - before; n > 20 {
			t.Errorf("%d tries to write in five minutes", n)
		}
		h.engine.refuse.Store(false)
		pass(2 * time.Minute)
		h.expectLeft(nothing)
		pass(time.Hour)
		expect(t, &a, "x")
	})
}

func TestSender_StoppedWaitsForWhatIsInHand(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		finished := false
		h.send(func(ctx context.Context, e entry) (outbox.Then, error) {
			a.note(e)
			select {
			case <-time.After(2 * time.Second):
				finished = true
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		h.add(storage.NewUID(), "x")
		synctest.Wait()
		h.stop()
		if !finished {
			t.Error("the push was cut off")
		}
		h.expectLeft(nothing)
		expect(t, &a, "x")
	})
}

func TestSender_StoppedDoesNotWaitForeverForAHandlerThatHangs(t *testing.T) {
	for name, heeds := range map[string]bool{"and heeds its context": true, "and does not": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				ever := make(chan struct{})
				h.send(func(ctx context.Context, _ entry) (outbox.Then, error) {
					if heeds {
						return nil, hang(ctx)
					}
					<-ever
					return nil, nil
				})
				h.add(storage.NewUID(), "x")
				synctest.Wait()
				before := time.Now()
				h.stop()
				if took := time.Since(before); took > 8*time.Second {
					t.Errorf("stopped after %s", took)
				}
				h.expectLeft("1 payloads, 1 pointers") // for the next start
				close(ever)
				synctest.Wait()
			})
		})
	}
}

func TestSender_StoppedInsistsOnAnIllStoreNoLonger(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.send(func(context.Context, entry) (outbox.Then, error) {
			h.engine.refuse.Store(true)
			return nil, nil
		})
		h.add(storage.NewUID(), "x")
		synctest.Wait()
		before := time.Now()
		h.stop()
		if took := time.Since(before); took > 8*time.Second {
			t.Errorf("stopped after %s", took)
		}
		h.engine.refuse.Store(false)
	})
}

func TestSender_AHandlerThatHangsIsEndedAndTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(ctx context.Context, e entry) (outbox.Then, error) {
			if a.note(e) == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, nil
		})
		h.add(storage.NewUID(), "x")
		pass(40 * time.Second)
		expect(t, &a, "x x")
		h.expectLeft(nothing)
	})
}

func TestSender_IdleWritesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.send(func(context.Context, entry) (outbox.Then, error) { return nil, nil })
		before := h.engine.updates.Load()
		pass(time.Hour)
		if n := h.engine.updates.Load() - before; n != 0 {
			t.Errorf("%d writes in an idle hour", n)
		}
	})
}
