package outbox_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
)

// server is one of several over the house's engine, with a store and a sender of its own.
type server struct {
	h      *house
	engine *engine // it dies with its refusal
	store  *storage.Store
	sender *outbox.Sender
	stop   func()
}

// serve starts a server whose sender shares the outbox with others.
func (h *house) serve(do handler) *server {
	h.t.Helper()
	s := &server{h: h, engine: &engine{Engine: h.engine.Engine, shards: h.engine.shards}}
	s.store = h.openStore(s.engine)
	s.sender, s.stop = h.start(s.store, outbox.Options{
		Handlers: []outbox.Handler{work.Handler(do)},
		Shared:   true,
	})
	return s
}

// die is what a power cut does: from now on the server reaches the store no more.
func (s *server) die() { s.engine.refuse.Store(true) }

// counts are how often each payload was done, by all servers.
type counts struct {
	mu    sync.Mutex
	times map[string]int
}

func (c *counts) do(_ context.Context, e entry) (outbox.Then, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times == nil {
		c.times = map[string]int{}
	}
	c.times[e.Payload]++
	return nil, nil
}

// of returns how often an entry was done.
func (c *counts) of(payload string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.times[payload]
}

func TestShared_TwoSendersDoEachEntryOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a, b, all counts
		both := func(own *counts) handler {
			return func(ctx context.Context, e entry) (outbox.Then, error) {
				_, _ = own.do(ctx, e)
				pass(100 * time.Millisecond) // so that both have work
				return all.do(ctx, e)
			}
		}
		const n = 300
		h.addMany("", n)
		first := h.serve(both(&a))
		second := h.serve(both(&b))
		pass(time.Minute)
		h.expectLeft(nothing)
		for i := range n {
			if times := all.of(fmt.Sprint(i)); times != 1 {
				t.Errorf("entry %d was done %d times", i, times)
			}
		}
		if len(a.times) < n/10 || len(b.times) < n/10 {
			t.Errorf("shared %d to %d", len(a.times), len(b.times))
		}
		first.stop()
		second.stop()
	})
}

func TestShared_WhatADeadServerHadInHandIsDoneTenSecondsAfterItsDeath(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var a attempts
		release := make(chan struct{})
		dead := h.serve(func(context.Context, entry) (outbox.Then, error) {
			<-release
			return nil, nil
		})
		h.addMany("", 40) // more than its share: some are in its hand, and some are not
		pass(5 * time.Second)
		synctest.Wait()
		h.addMany("", 0)
		dead.die()
		died := time.Now()
		alive := h.serve(a.succeed)
		synctest.Wait()
		atOnce := a.count()
		pass(10 * time.Second)
		pass(5 * time.Second) // until it looks again, at the latest
		synctest.Wait()
		if atOnce != 8 || a.count() != 40 {
			t.Errorf("%d were done at once, %d after the lease", atOnce, a.count())
		}
		_, at := a.list()
		if last := at[len(at)-1]; last.Sub(died) > 10*time.Second {
			t.Errorf("the last was done %s after the death", last.Sub(died))
		}
		h.expectLeft(nothing)

		// What the dead server does when it comes back changes nothing.
		close(release)
		dead.engine.refuse.Store(false)
		pass(time.Minute)
		h.expectLeft(nothing)
		dead.stop()
		alive.stop()
	})
}

func TestShared_ADeathBetweenDoingAndWritingItDownRepeatsItOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		var all counts
		h.add(storage.NewUID(), "x")
		started := make(chan *server, 1)
		dead := h.serve(func(ctx context.Context, e entry) (outbox.Then, error) {
			(<-started).die()
			return all.do(ctx, e)
		})
		started <- dead
		synctest.Wait()
		alive := h.serve(all.do)
		pass(time.Minute)
		h.expectLeft(nothing)
		if times := all.of("x"); times != 2 {
			t.Errorf("done %d times", times)
		}
		dead.stop()
		alive.stop()
	})
}

func TestShared_APurgeAndAnExpiryReachAnEntryInAnothersHand(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.add(uid, "x")
		started := make(chan *server, 1)
		dead := h.serve(func(ctx context.Context, _ entry) (outbox.Then, error) {
			(<-started).die()
			return nil, hang(ctx)
		})
		started <- dead
		synctest.Wait()
		h.purge(uid, storage.MFA)
		var a attempts
		alive := h.serve(a.succeed)
		pass(time.Minute)
		expect(t, &a, "")
		h.expectLeft(nothing)
		dead.stop()
		alive.stop()
	})
}
