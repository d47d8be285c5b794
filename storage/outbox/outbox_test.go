package outbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/outbox"
	"tutela/storage/storagetest"
)

// done is a row that a handler's function writes.
var done = storage.Declare(storage.Spec[string]{Name: "done", Class: storage.Account})

// engine is bolt's, counted, and ill when it is told so.
type engine struct {
	storage.Engine
	shards  int
	updates atomic.Int64
	refuse  atomic.Bool
}

func (e *engine) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	e.updates.Add(1)
	if e.refuse.Load() {
		return storage.ErrUnavailable
	}
	return e.Engine.Update(ctx, fn)
}

func (e *engine) Shards() int { return e.shards }

// house is a store with a sender, in a bubble where time passes as fast as it may.
type house struct {
	t      *testing.T
	path   string
	engine *engine
	store  *storage.Store
	log    *bytes.Buffer
	stop   func() // ends the sender and waits for it
}

// inBubble runs a test on bolt, and on a chaos engine that spreads what is appended.
func inBubble(t *testing.T, test func(t *testing.T, h *house)) {
	for name, shards := range map[string]int{"bolt": 1, "chaos with shards": 5} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data")
			synctest.Test(t, func(t *testing.T) {
				h := &house{t: t, path: path, engine: &engine{shards: shards}, log: &bytes.Buffer{}, stop: func() {}}
				h.open()
				test(t, h)
				h.stop()
				must(t, h.store.Close())
			})
		})
	}
}

func (h *house) open() {
	h.t.Helper()
	e, err := bolt.Open(context.Background(), h.path, bolt.Options{Logger: slog.New(slog.DiscardHandler)})
	must(h.t, err)
	h.engine.Engine = e
	if h.engine.shards > 1 {
		h.engine.Engine = storagetest.Chaos(h.t, e)
	}
	h.store, err = storage.Open(context.Background(), h.engine, storage.Options{Logger: slog.New(slog.DiscardHandler)})
	must(h.t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// add adds entries of kind "work" for a user.
func (h *house) add(uid storage.UID, payloads ...string) {
	h.t.Helper()
	for _, p := range payloads {
		must(h.t, h.store.Update(context.Background(), func(tx *storage.Tx) error {
			return outbox.Add(tx, uid, "work", p, tx.Now().Add(time.Hour))
		}))
	}
}

// send starts a sender with one handler.
func (h *house) send(handler outbox.Handler) {
	h.sendAll(map[outbox.Kind]outbox.Handler{"work": handler})
}

func (h *house) sendAll(handlers map[outbox.Kind]outbox.Handler) {
	ctx, cancel := context.WithCancel(context.Background())
	sender := outbox.NewSender(h.store, handlers, slog.New(slog.NewTextHandler(h.log, nil)))
	ended := make(chan struct{})
	go func() {
		sender.Run(ctx)
		close(ended)
	}()
	h.stop = func() {
		cancel()
		<-ended
	}
}

// attempts keep when a handler was called and with what. Safe for concurrent use.
type attempts struct {
	mu  sync.Mutex
	all []string
	at  []time.Time
}

func (a *attempts) note(e outbox.Entry) int {
	var payload string
	_ = json.Unmarshal(e.Payload, &payload)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all, a.at = append(a.all, payload), append(a.at, time.Now())
	return len(a.all)
}

func (a *attempts) list() ([]string, []time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all), slices.Clone(a.at)
}

func (a *attempts) String() string {
	all, _ := a.list()
	return strings.Join(all, " ")
}

// left counts the keys of the outbox in the store: payloads, then pointers.
func (h *house) left() string {
	h.t.Helper()
	payloads, pointers := 0, 0
	must(h.t, h.store.Engine().Peek(context.Background(), storage.Range{}, func(k, _ []byte) bool {
		switch {
		case bytes.HasPrefix(k, []byte("loutbox\x00")):
			pointers++
		case k[0] == 'u' && bytes.HasPrefix(k[17:], []byte("outbox\x00")):
			payloads++
		}
		return true
	}))
	return fmt.Sprintf("%d payloads, %d pointers", payloads, pointers)
}

func (h *house) expectLeft(want string) {
	h.t.Helper()
	synctest.Wait()
	if got := h.left(); got != want {
		h.t.Errorf("left: %s, want %s", got, want)
	}
}

func expect(t *testing.T, a *attempts, want string) {
	t.Helper()
	synctest.Wait()
	if got := a.String(); got != want {
		t.Errorf("done: %q, want %q", got, want)
	}
}

// pass lets time pass in the bubble.
func pass(d time.Duration) { <-time.After(d) }

const nothing = "0 payloads, 0 pointers"

func TestSender_DoesAnEntryAtOnceAndOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			a.note(e)
			return nil, nil
		})
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

func TestAdd_ThatIsRolledBackIsNotDone(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			a.note(e)
			return nil, nil
		})
		refused := errors.New("refused")
		err := h.store.Update(t.Context(), func(tx *storage.Tx) error {
			return errors.Join(outbox.Add(tx, storage.NewUID(), "work", "x", tx.Now().Add(time.Hour)), refused)
		})
		if !errors.Is(err, refused) {
			t.Error(err)
		}
		pass(time.Minute)
		expect(t, &a, "")
		h.expectLeft(nothing)
	})
}

func TestAdd_OfWhatIsNoJSONOrForNobodyIsAnError(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		for _, add := range []func(tx *storage.Tx) error{
			func(tx *storage.Tx) error { return outbox.Add(tx, storage.NewUID(), "work", func() {}, tx.Now()) },
			func(tx *storage.Tx) error { return outbox.Add(tx, storage.House, "work", "x", tx.Now()) },
		} {
			if err := h.store.Update(t.Context(), add); err == nil {
				t.Error("added")
			}
		}
		h.expectLeft(nothing)
	})
}

func TestSender_TriesAgainWithAGrowingDelay(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
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
		var waits []time.Duration
		for i := 1; i < len(at); i++ {
			waits = append(waits, at[i].Sub(at[i-1]).Round(10*time.Millisecond))
		}
		const s = time.Second
		want := []time.Duration{1 * s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s}
		if !slices.Equal(waits, want) {
			t.Errorf("waited %v, want %v", waits, want)
		}
		h.expectLeft(nothing)
		if !strings.Contains(h.log.String(), "the push service is away") {
			t.Error("the log does not say why")
		}
	})
}

func TestSender_GivesUpWhenAnEntryHasExpired(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		must(t, h.store.Update(t.Context(), func(tx *storage.Tx) error {
			return errors.Join(
				outbox.Add(tx, storage.NewUID(), "work", "fails", tx.Now().Add(10*time.Second)),
				outbox.Add(tx, storage.NewUID(), "work", "late", tx.Now()))
		}))
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			a.note(e)
			return nil, errors.New("no")
		})
		pass(time.Hour)
		expect(t, &a, "fails fails fails fails") // after 0, 1, 3 and 7 s; at 15 s it is over
		h.expectLeft(nothing)
	})
}

func TestSender_DropsAnEntryThatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			a.note(e)
			return func(tx *storage.Tx) error {
				value := "told"
				return done.Put(tx, e.UID, e.ID, &value)
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
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			return func(tx *storage.Tx) error {
				value := "sent"
				return done.Insert(tx, e.UID, e.ID, &value)
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
				h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
					if a.note(e) == 4 {
						return nil, nil
					}
					return func(tx *storage.Tx) error {
						value := "half"
						return errors.Join(done.Put(tx, e.UID, e.ID, &value), then(tx))
					}, nil
				})
				h.add(uid, "x")
				pass(6 * time.Second)
				expect(t, &a, "x x x") // after 0, 1 and 3 s
				if h.done(uid) != 0 {
					t.Error("half of it was written")
				}
				pass(time.Minute)
				expect(t, &a, "x x x x")
				h.expectLeft(nothing)
			})
		})
	}
}

func TestSender_SurvivesAHandlerThatPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			if n := a.note(e); n < 3 {
				panic(fmt.Sprint("boom ", n))
			}
			return nil, nil
		})
		h.add(storage.NewUID(), "x")
		pass(time.Minute)
		expect(t, &a, "x x x")
		h.expectLeft(nothing)
		if log := h.log.String(); !strings.Contains(log, "boom 1") || !strings.Contains(log, "outbox_test.go") {
			t.Errorf("the log does not say where: %s", log)
		}
	})
}

func TestSender_KeepsEntriesOfAKindWithoutHandlerForALaterStart(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.sendAll(nil)
		h.add(storage.NewUID(), "x")
		pass(time.Minute)
		h.expectLeft("1 payloads, 1 pointers")
		if n := strings.Count(h.log.String(), "no handler"); n < 3 || n > 8 {
			t.Errorf("%d lines of log in a minute", n)
		}
		h.stop()
		var a attempts
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			a.note(e)
			return nil, nil
		})
		pass(time.Minute)
		expect(t, &a, "x")
		h.expectLeft(nothing)
	})
}

func TestSender_APurgeTakesThePayloadAndTheSenderThePointer(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		uid, other := storage.NewUID(), storage.NewUID()
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
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			a.note(e)
			return nil, nil
		})
		expect(t, &a, "x")
		h.expectLeft(nothing)
	})
}

func TestSender_APurgeWhileAnEntryIsBeingDoneWins(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.send(func(ctx context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			if err := h.store.Update(ctx, func(tx *storage.Tx) error {
				_, err := storage.Purge(tx, uid, false, storage.MFA)
				return err
			}); err != nil {
				t.Error(err)
			}
			return func(tx *storage.Tx) error {
				value := "of a user who was reset"
				return done.Put(tx, e.UID, e.ID, &value)
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
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
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
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			mu.Lock()
			counts[string(e.Payload)]++
			n := counts[string(e.Payload)]
			mu.Unlock()
			if n == 1 && len(e.Payload)%2 == 0 {
				return nil, errors.New("once more")
			}
			return nil, nil
		})
		must(t, h.store.UpdateEach(context.Background(), entries, func(tx *storage.Tx, i int) error {
			return outbox.Add(tx, storage.UID{byte(i), 1}, "work", i, tx.Now().Add(time.Hour))
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
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
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
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			a.note(e)
			return nil, nil
		})
		expect(t, &a, "x x")
		h.expectLeft(nothing)
	})
}

// What was done cannot be written down: it is done again, but not all the time.
func TestSender_AsksAnIllStoreWithGrowingPauses(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(_ context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
			if a.note(e) == 1 {
				h.engine.refuse.Store(true)
			}
			return nil, nil
		})
		before := h.engine.updates.Load()
		h.add(storage.NewUID(), "x")
		pass(5 * time.Minute)
		if n := len(strings.Fields(a.String())); n < 5 || n > 12 {
			t.Errorf("the phone was told %d times in five minutes", n)
		}
		if n := h.engine.updates.Load() - before; n > 20 {
			t.Errorf("%d tries to write in five minutes", n)
		}
		h.engine.refuse.Store(false)
		pass(2 * time.Minute)
		h.expectLeft(nothing)
		told := a.String()
		pass(time.Hour)
		expect(t, &a, told)
	})
}

func TestSender_StoppedWaitsForWhatIsInHand(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		finished := false
		h.send(func(ctx context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
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
	inBubble(t, func(t *testing.T, h *house) {
		h.send(func(ctx context.Context, _ outbox.Entry) (func(*storage.Tx) error, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		h.add(storage.NewUID(), "x")
		synctest.Wait()
		before := time.Now()
		h.stop()
		if took := time.Since(before); took > 6*time.Second {
			t.Errorf("stopped after %s", took)
		}
		h.expectLeft("1 payloads, 1 pointers") // for the next start
	})
}

func TestSender_AHandlerThatHangsIsEndedAndTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		h.send(func(ctx context.Context, e outbox.Entry) (func(*storage.Tx) error, error) {
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
		h.send(func(context.Context, outbox.Entry) (func(*storage.Tx) error, error) { return nil, nil })
		before := h.engine.updates.Load()
		pass(time.Hour)
		if n := h.engine.updates.Load() - before; n != 0 {
			t.Errorf("%d writes in an idle hour", n)
		}
	})
}
