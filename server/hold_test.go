package server_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"tutela/server"
	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/meter"
)

// holding is a server with two calls that wait for a user to be woken: one mounted plain, one typed.
type holding struct {
	*running
	store *storage.Store
	uid   storage.UID
	runs  atomic.Int32  // of the handlers
	over  atomic.Bool   // what the calls wait for has come
	held  chan struct{} // one for each run that found nothing
	meter *meter.Set
}

func startHolding(t *testing.T) *holding {
	t.Helper()
	return startHoldingWith(t, server.Config{})
}

func startHoldingWith(t *testing.T, config server.Config) *holding {
	t.Helper()
	engine, err := bolt.Open(t.Context(), filepath.Join(t.TempDir(), "tutela.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := &holding{uid: storage.NewUID(), held: make(chan struct{}, 16), meter: config.Meter}
	if h.store, err = storage.Open(t.Context(), engine, storage.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.store.Close() })
	h.running = start(t, config, func(s *server.Server) {
		s.App().Get("/api/plain", func(c *fiber.Ctx) error {
			if err := h.await(c.UserContext(), s); err != nil {
				return err
			}
			return c.SendString("over")
		})
		huma.Get(s.API(), "/api/typed", func(ctx context.Context, _ *struct{}) (*struct{ Body string }, error) {
			err := h.await(ctx, s)
			if errors.Is(err, storage.ErrHeld) {
				return nil, nil
			}
			return &struct{ Body string }{"over"}, err
		})
	})
	return h
}

// await is a handler's wait.
func (h *holding) await(ctx context.Context, s *server.Server) error {
	h.runs.Add(1)
	waiting, leave, ok := s.Waits().Enter(ctx, "key", 1)
	defer leave()
	if !ok {
		return errors.New("no room")
	}
	return h.store.Await(waiting, h.uid, time.Hour, func(context.Context, storage.Glance) (bool, time.Duration, error) {
		over := h.over.Load()
		if !over {
			h.held <- struct{}{}
		}
		return over || server.Cut(waiting), 0, nil
	})
}

// wake wakes who waits.
func (h *holding) wake() {
	h.t.Helper()
	if err := h.store.Update(h.t.Context(), func(tx *storage.Tx) error {
		tx.Wake(h.uid)
		return nil
	}); err != nil {
		h.t.Fatal(err)
	}
}

func TestHold_AHandlerRunsAgainAfterEachWakeAndKeepsItsPlace(t *testing.T) {
	for _, path := range []string{"/api/plain", "/api/typed"} {
		h := startHolding(t)
		answers := make(chan answer)
		go func() { answers <- h.ask("GET", path, "") }()
		for range 3 {
			<-h.held
			if n := h.Waits().Len(); n != 1 {
				t.Errorf("%s: %d waits", path, n)
			}
			h.wake()
		}
		<-h.held
		h.over.Store(true)
		h.wake()
		if got := <-answers; got.status != 200 || got.body != "over" && got.body != `"over"`+"\n" {
			t.Errorf("%s: %d %q", path, got.status, got.body)
		}
		runs := h.runs.Load()
		left := h.Waits().Len()
		if runs != 5 || left != 0 {
			t.Errorf("%s: %d runs, and %d waits are left", path, runs, left)
		}
	}
}

func TestHold_ANewerCallAndTheShutdownEndAHeldOne(t *testing.T) {
	h := startHolding(t)
	answers := make(chan answer)
	ask := func() { answers <- h.ask("GET", "/api/plain", "") }
	go ask()
	<-h.held
	go ask()
	<-h.held // the newer call
	if got := <-answers; got.status != 200 {
		t.Errorf("the older call got %d %q", got.status, got.body)
	}
	if n := h.Waits().Len(); n != 1 {
		t.Errorf("%d waits", n)
	}
	h.stop()
	if got := <-answers; got.status != 200 || got.header.Get("Connection") != "close" {
		t.Errorf("the newer call got %d %q, Connection %q", got.status, got.body, got.header.Get("Connection"))
	}
}

// More calls at once than runners are kept for.
func TestHold_ManyCallsRunAtOnce(t *testing.T) {
	const calls = 200
	entered := make(chan struct{})
	release := make(chan struct{})
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Get("/api/slow", func(c *fiber.Ctx) error {
			entered <- struct{}{}
			<-release
			return c.SendString("done")
		})
	})
	for range 2 { // the second time some have a runner that ran before
		var all sync.WaitGroup
		for range calls {
			all.Go(func() {
				if got := r.ask("GET", "/api/slow", ""); got.body != "done" {
					t.Errorf("%d %q", got.status, got.body)
				}
			})
		}
		for range calls {
			<-entered
		}
		for range calls {
			release <- struct{}{}
		}
		all.Wait()
	}
}
