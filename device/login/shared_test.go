package login_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/ground"
)

// mortal is the engine of one of several servers over one file. Once it is dead nothing of the server reaches the file.
type mortal struct {
	storage.Engine
	dead atomic.Bool
}

var errDead = errors.New("this server is dead")

func (m *mortal) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Engine.Update(ctx, fn)
}

func (m *mortal) View(ctx context.Context, fn func(storage.Reader) error) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Engine.View(ctx, fn)
}

func (m *mortal) Peek(ctx context.Context, r storage.Range, fn func(key, value []byte) bool) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Engine.Peek(ctx, r, fn)
}

// twins are servers over one store, each with a store, services and a sender of its own. What they send is counted together.
type twins struct {
	*outage
	file storage.Engine

	mu    sync.Mutex
	times map[string]int // how often a phone got a message
	by    map[string]int // how many messages each server has sent
}

// newTwins makes a house without a sender, on which servers can be started.
func newTwins(t *testing.T, users int) *twins {
	t.Helper()
	w := &twins{outage: &outage{}, times: map[string]int{}, by: map[string]int{}}
	w.house = newHouse(t, ground.Options{Wrap: func(e storage.Engine) storage.Engine {
		w.file = e
		return e
	}})
	w.set("push.budget", "100")
	for i := range users {
		id := fmt.Sprint("user ", i)
		p := w.enroll(id, id)
		w.users = append(w.users, &outageUser{p, id, p.Enrolled.RecoveryCode})
	}
	return w
}

// carrier sends as one of the servers.
type carrier struct {
	twins  *twins
	name   string
	before func() error // nil: it sends
	after  func()
}

func (c *carrier) Deliver(_ context.Context, to push.Address, m push.Message) error {
	if c.before != nil {
		if err := c.before(); err != nil {
			return err
		}
	}
	c.twins.mu.Lock()
	c.twins.times[to.Token+" "+m.Notice+" "+m.Challenge+m.Started]++
	c.twins.by[c.name]++
	c.twins.mu.Unlock()
	if c.after != nil {
		c.after()
	}
	return nil
}

// engine is for a server that will die.
func (w *twins) engine() *mortal { return &mortal{Engine: w.file} }

// serve starts a server on an engine, which shares the outbox with the others.
func (w *twins) serve(engine *mortal, c *carrier) {
	w.t.Helper()
	c.twins = w
	quiet := slog.New(slog.DiscardHandler)
	store, err := storage.Open(context.Background(), engine, storage.Options{Clock: w.clock, Logger: quiet})
	must(w.t, err)
	store.SetSealer(w.ring)
	codes := recovery.New(store, w.ring, func(context.Context, []byte) (string, error) { return "signed", nil })
	bases := device.NewBases([]string{publicURL})
	to := push.NewGateway(c)
	devices := device.New(store, w.ring, codes, device.Options{Bases: bases, Issuer: "Example", Deliver: to})
	logins := login.New(store, w.ring, devices, codes, bases, to)
	sender, err := outbox.NewSender(store, outbox.Options{
		Handlers: []outbox.Handler{logins.Handler(), recovery.Notice.Handler(devices.DeliverNotice)},
		Log:      quiet,
		Shared:   true,
	})
	must(w.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		sender.Run(w.t.Context())
	}()
	w.t.Cleanup(func() { <-done })
}

// ringAll has every user's phone asked by a login and told by a notice, and returns how many messages that makes.
func (w *twins) ringAll() int {
	w.t.Helper()
	for _, u := range w.users {
		w.begin(request(u.id))
		w.update(func(tx *storage.Tx) error {
			return recovery.Notify(tx, w.uidIn(tx, u.id), recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
		})
	}
	return 2 * len(w.users)
}

// expect fails the test unless so many messages were sent, each so often, and none waits.
func (w *twins) expect(messages, times int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.times) != messages {
		w.t.Errorf("%d messages were sent, want %d", len(w.times), messages)
	}
	for message, n := range w.times {
		if n != times {
			w.t.Errorf("%s was sent %d times, want %d", message, n, times)
		}
	}
	if left := w.waiting(); len(left) != 0 {
		w.t.Errorf("left: %v", left)
	}
}

func TestShared_TwoServersSendEachPushOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, 40)
		wait := func() error { // so that both have work
			<-time.After(10 * time.Millisecond)
			return nil
		}
		messages := w.ringAll()
		w.serve(w.engine(), &carrier{name: "first", before: wait})
		w.serve(w.engine(), &carrier{name: "second", before: wait})
		w.pass(30 * time.Second)
		messages += w.ringAll()
		w.pass(30 * time.Second)
		w.expect(messages, 1)
		if w.by["first"] < 10 || w.by["second"] < 10 {
			t.Errorf("shared as %v", w.by)
		}
	})
}

func TestShared_WhatADeadServerHadInHandIsSentByTheOther(t *testing.T) {
	ground.NeedsFile(t)
	for name, c := range map[string]struct {
		sent  bool // before it died
		times int
	}{
		"dead before it had sent":            {false, 1},
		"dead before it had written it down": {true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTwins(t, 2)
				messages := w.ringAll()
				var all sync.WaitGroup // the server dies when it has all of them in its hand
				all.Add(messages)
				var doomed *mortal
				hold := func() {
					all.Done()
					all.Wait()
					doomed.dead.Store(true)
				}
				dying := &carrier{name: "dying"}
				if c.sent {
					dying.after = hold
				} else {
					dying.before = func() error {
						hold()
						return errDead
					}
				}
				doomed = w.engine()
				w.serve(doomed, dying)
				synctest.Wait()
				if !doomed.dead.Load() {
					t.Fatal("the server has not all messages in its hand")
				}
				w.serve(w.engine(), &carrier{name: "alive"})
				synctest.Wait()
				if n := w.by["alive"]; n != 0 {
					t.Errorf("%d messages were sent while the dead server's claims lasted", n)
				}
				w.pass(20 * time.Second) // its claims end after ten
				w.expect(messages, c.times)
			})
		})
	}
}
