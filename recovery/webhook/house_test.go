package webhook_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// loopback is where receivers are in tests.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

// house is the service over a store.
type house struct {
	*ground.Ground
	t     *testing.T
	hooks *webhook.Service
}

func newHouse(t *testing.T, o ground.Options) *house {
	t.Helper()
	h := &house{Ground: ground.Open(t, o), t: t}
	h.hooks = webhook.New(h.Store, webhook.Options{Allow: loopback})
	t.Cleanup(h.hooks.Close)
	return h
}

// user makes a user.
func (h *house) user(id string) (uid storage.UID) {
	h.t.Helper()
	check.Must(h.t, h.Store.Update(context.Background(), func(tx *storage.Tx) error {
		u, err := user.Create(tx, user.User{ID: id})
		if err == nil {
			uid = u.UID
		}
		return err
	}))
	return uid
}

// happens records an event, and returns its id.
func (h *house) happens(e audit.Event) string {
	h.t.Helper()
	check.Must(h.t, h.Store.Update(context.Background(), func(tx *storage.Tx) error {
		return audit.Record(tx, audit.ByUser(), e, audit.Detail{IP: "192.0.2.17", Text: "in her words"})
	}))
	id, _, err := audit.Newest(context.Background(), h.Store)
	check.Must(h.t, err)
	return id
}

// add registers a webhook as the operator.
func (h *house) add(url string, types ...audit.Type) (webhook.Webhook, string) {
	h.t.Helper()
	w, secret, err := h.hooks.Add(context.Background(), operator, webhook.Change{URL: &url, Events: &types})
	check.Must(h.t, err)
	return w, secret
}

func (h *house) hook(id string) webhook.Webhook {
	h.t.Helper()
	w, err := h.hooks.Webhook(context.Background(), id)
	check.Must(h.t, err)
	return w
}

func (h *house) deliveries(id string, of webhook.Status) []webhook.Delivery {
	h.t.Helper()
	list, err := h.hooks.Deliveries(context.Background(), id, of)
	check.Must(h.t, err)
	return list
}

// send does what is due.
func (h *house) send() {
	h.t.Helper()
	h.Drain(h.hooks.Handler())
}

// sender is one that goes on between sendings: what it recalls of destinations is its own.
func (h *house) sender() *outbox.Sender {
	h.t.Helper()
	s, err := outbox.NewSender(h.Store, outbox.Options{Handlers: []outbox.Handler{h.hooks.Handler()}})
	check.Must(h.t, err)
	return s
}

var operator = audit.ByOperator(1000)

// got is a message as a receiver got it.
type got struct {
	header http.Header
	body   []byte

	Type string `json:"type"`
	Time string `json:"timestamp"`
	Data struct {
		Event  string `json:"log_id"`
		User   string `json:"user_id"`
		Client string `json:"client_id"`
	} `json:"data"`
}

func (g got) id() string { return g.header.Get("webhook-id") }

// verified reports whether a secret has signed the message, by the official library.
func (g got) verified(t *testing.T, secret string) bool {
	t.Helper()
	by, err := standardwebhooks.NewWebhook(secret)
	check.Must(t, err)
	return by.VerifyIgnoringTimestamp(g.body, g.header) == nil
}

// receiver is a program that webhooks call. It keeps what it gets and answers as it is told.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	messages []got
	answer   func(w http.ResponseWriter, r *http.Request)
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t}
	r.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// answers says how it answers from now on.
func (r *receiver) answers(by func(w http.ResponseWriter, r *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = by
}

func (r *receiver) status(status int) {
	r.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	m := got{header: req.Header.Clone(), body: body}
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil {
		r.t.Errorf("the body of a message: %v", err)
	}
	r.mu.Lock()
	r.messages = append(r.messages, m)
	answer := r.answer
	r.mu.Unlock()
	answer(w, req)
}

// all returns what it got until now.
func (r *receiver) all() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]got{}, r.messages...)
}

// only returns the one message that it got.
func (r *receiver) only() got {
	r.t.Helper()
	list := r.all()
	if len(list) != 1 {
		r.t.Fatalf("the receiver has got %d messages", len(list))
	}
	return list[0]
}
