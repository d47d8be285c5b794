package outbox_test

import (
	"bytes"
	"context"
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

// The kinds of these tests, one of each class.
var (
	work   = outbox.Declare[string]("work", storage.MFA)
	bill   = outbox.Declare[string]("bill", storage.Account)
	report = outbox.Declare[string]("report", storage.Evidence)
)

// done is a row that a handler's Then writes.
var done = storage.Declare(storage.Spec[string]{Name: "done", Class: storage.Account})

// entry is one of the tests' kinds.
type entry = outbox.Entry[string]

// handler is what a test does with an entry of the kind work.
type handler = func(ctx context.Context, e entry) (outbox.Then, error)

// engine is another's, counted, and ill when it is told so.
type engine struct {
	storage.Engine
	shards  int
	updates atomic.Int64
	peeked  atomic.Int64 // keys that a Peek has shown
	refuse  atomic.Bool
}

func (e *engine) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	e.updates.Add(1)
	if e.refuse.Load() {
		return storage.ErrUnavailable
	}
	return e.Engine.Update(ctx, fn)
}

func (e *engine) View(ctx context.Context, fn func(storage.Reader) error) error {
	if e.refuse.Load() {
		return storage.ErrUnavailable
	}
	return e.Engine.View(ctx, fn)
}

func (e *engine) Peek(ctx context.Context, r storage.Range, fn func(key, value []byte) bool) error {
	if e.refuse.Load() {
		return storage.ErrUnavailable
	}
	return e.Engine.Peek(ctx, r, func(key, value []byte) bool {
		e.peeked.Add(1)
		return fn(key, value)
	})
}

func (e *engine) Shards() int { return e.shards }

// house is a store with a sender, in a bubble where time passes as fast as it may.
type house struct {
	t      *testing.T
	path   string
	engine *engine
	store  *storage.Store
	log    *lines
	sender *outbox.Sender
	stop   func() // ends the sender and waits for it
}

// inBubble runs a test on bolt, and on a chaos engine that spreads what is appended.
func inBubble(t *testing.T, test func(t *testing.T, h *house)) {
	for name, shards := range map[string]int{"bolt": 1, "chaos with shards": 5} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data")
			synctest.Test(t, func(t *testing.T) {
				h := &house{
					t:      t,
					path:   path,
					engine: &engine{shards: shards},
					log:    &lines{},
					stop:   func() {},
				}
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
		chaos := storagetest.Chaos(h.t, e)
		chaos.Engine = e // unwatched: these tests add the entries of many users in one transaction
		h.engine.Engine = chaos
	}
	h.store = h.openStore(h.engine)
}

// openStore opens a store over an engine, as each server does.
func (h *house) openStore(e storage.Engine) *storage.Store {
	h.t.Helper()
	store, err := storage.Open(context.Background(), e, storage.Options{Logger: slog.New(slog.DiscardHandler)})
	must(h.t, err)
	return store
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lines is a log that a test reads while others write it.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// count returns how many lines hold a text.
func (l *lines) count(text string) (n int) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (h *house) update(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	must(h.t, h.store.Update(context.Background(), fn))
}

// add adds entries of the kind work for a user.
func (h *house) add(uid storage.UID, payloads ...string) {
	h.t.Helper()
	h.addTo("", uid, payloads...)
}

// addTo adds entries of the kind work that go through a service.
func (h *house) addTo(where string, uid storage.UID, payloads ...string) {
	h.t.Helper()
	for _, p := range payloads {
		h.update(func(tx *storage.Tx) error { return work.AddTo(tx, uid, where, p, tx.Now().Add(time.Hour)) })
	}
}

// addMany adds n entries of the kind work that go through a service, of users who are spread over all shards.
func (h *house) addMany(where string, n int) {
	h.t.Helper()
	must(h.t, h.store.UpdateEach(context.Background(), n, func(tx *storage.Tx, i int) error {
		return work.AddTo(tx, storage.UID{byte(i), 1}, where, fmt.Sprint(i), tx.Now().Add(time.Hour))
	}))
}

// send starts a sender with one handler, of the kind work.
func (h *house) send(do handler) { h.sendAll(work.Handler(do)) }

func (h *house) sendAll(handlers ...outbox.Handler) {
	h.t.Helper()
	h.sender, h.stop = h.start(h.store, outbox.Options{Handlers: handlers})
}

// start starts a sender over a store, and returns what ends it.
func (h *house) start(store *storage.Store, o outbox.Options) (sender *outbox.Sender, stop func()) {
	h.t.Helper()
	o.Log = slog.New(slog.NewTextHandler(h.log, nil))
	sender, err := outbox.NewSender(store, o)
	must(h.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		sender.Run(ctx)
		close(ended)
	}()
	return sender, func() {
		cancel()
		<-ended
	}
}

// status is how the house's sender does.
func (h *house) status() outbox.Status {
	h.t.Helper()
	synctest.Wait()
	status, err := h.sender.Status(context.Background())
	must(h.t, err)
	return status
}

// attempts keep when a handler was called and with what. Safe for concurrent use.
type attempts struct {
	mu  sync.Mutex
	all []string
	at  []time.Time
}

func (a *attempts) note(e entry) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, e.Payload)
	a.at = append(a.at, time.Now())
	return len(a.all)
}

// succeed is a handler that notes what it does.
func (a *attempts) succeed(_ context.Context, e entry) (outbox.Then, error) {
	a.note(e)
	return nil, nil
}

func (a *attempts) list() ([]string, []time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all), slices.Clone(a.at)
}

func (a *attempts) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all)
}

func (a *attempts) String() string {
	all, _ := a.list()
	return strings.Join(all, " ")
}

// left counts the keys of the outbox in the store: payloads, of all classes, then pointers.
func (h *house) left() string {
	h.t.Helper()
	payloads := 0
	pointers := 0
	h.scan(func(k, _ []byte) {
		switch {
		case bytes.HasPrefix(k, []byte("loutbox\x00")):
			pointers++
		case isPayload(k):
			payloads++
		}
	})
	return fmt.Sprintf("%d payloads, %d pointers", payloads, pointers)
}

// isPayload reports whether a key is that of a payload of any class.
func isPayload(k []byte) bool {
	if k[0] != 'u' {
		return false
	}
	table, _, _ := bytes.Cut(k[17:], []byte{0})
	return slices.Contains([]string{"outbox", "outbox_account", "outbox_evidence", "outbox_house"}, string(table))
}

// scan shows every key and value of the engine.
func (h *house) scan(see func(key, value []byte)) {
	h.t.Helper()
	must(h.t, h.engine.Engine.Peek(context.Background(), storage.Range{}, func(k, v []byte) bool {
		see(k, v)
		return true
	}))
}

// write changes keys of the engine behind the store's back; nil deletes.
func (h *house) write(changes map[string][]byte) {
	h.t.Helper()
	must(h.t, h.engine.Engine.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		for key, value := range changes {
			if value == nil {
				ws.Delete([]byte(key))
			} else {
				ws.Put([]byte(key), value)
			}
		}
		return ws, nil
	}))
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
