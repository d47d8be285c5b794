package signal_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"tutela/recovery/signal"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// loopback is where receivers are in tests.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

const issuer = "https://mfa.example.com/"

// The receivers.
var (
	bank  = audit.ByClient("bank", []string{signal.ScopeManage}, storage.House)
	other = audit.ByClient("other", []string{signal.ScopeManage}, storage.House)
)

// house is the service over a store. Its SETs are their claims, unsigned: server/access signs them.
type house struct {
	*ground.Ground
	t       *testing.T
	signals *signal.Service

	mu   sync.Mutex
	gone []string // clients that are no more
}

func newHouse(t *testing.T, o ground.Options) *house {
	t.Helper()
	h := &house{Ground: ground.Open(t, o), t: t}
	h.signals = h.service()
	return h
}

// service makes one more service over the store, as another server has one.
func (h *house) service() *signal.Service {
	s := signal.New(h.Store, signal.Options{
		Issuer: issuer,
		Sign:   func(_ context.Context, claims []byte) (string, error) { return string(claims), nil },
		Ready:  func(context.Context) error { return nil },
		Receives: func(_ *storage.Tx, client string, _ ...string) (bool, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return !slices.Contains(h.gone, client), nil
		},
		Allow: loopback,
	})
	h.t.Cleanup(s.Close)
	return s
}

// leaves removes a client.
func (h *house) leaves(client string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = append(h.gone, client)
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
func (h *house) happens(typ audit.Type, uid storage.UID, facts audit.Facts) string {
	h.t.Helper()
	check.Must(h.t, h.Store.Update(context.Background(), func(tx *storage.Tx) error {
		e := audit.Event{Type: typ, UID: uid, Facts: facts}
		return audit.Record(tx, audit.ByUser(), e, audit.Detail{IP: "192.0.2.17", Text: "in her words"})
	}))
	id, _, err := audit.Newest(context.Background(), h.Store)
	check.Must(h.t, err)
	return id
}

// poll makes a stream that the bank polls, and pushes one that it is pushed to, of some types or of all.
func (h *house) poll(types ...string) signal.Stream {
	return h.add(bank, signal.Delivery{Method: signal.Poll}, types...)
}

func (h *house) push(url string, types ...string) signal.Stream {
	return h.add(bank, signal.Delivery{Method: signal.Push, URL: url}, types...)
}

func (h *house) add(actor audit.Actor, d signal.Delivery, types ...string) signal.Stream {
	h.t.Helper()
	c := signal.Change{Delivery: &d}
	if len(types) > 0 {
		c.Requested = &types
	}
	s, err := h.signals.Add(context.Background(), actor, c)
	check.Must(h.t, err)
	return s
}

// set is a SET as a receiver reads it.
type set struct {
	Issuer  string                    `json:"iss"`
	Aud     string                    `json:"aud"`
	ID      string                    `json:"jti"`
	Toe     int64                     `json:"toe"`
	Txn     string                    `json:"txn"`
	Subject map[string]string         `json:"sub_id"`
	Events  map[string]map[string]any `json:"events"`

	raw    string
	header http.Header
}

// says returns the type and the content of the one event of a SET.
func (s set) says(t *testing.T) (typ string, content map[string]any) {
	t.Helper()
	if len(s.Events) != 1 {
		t.Fatalf("a SET of %d events: %s", len(s.Events), s.raw)
	}
	for typ, content = range s.Events {
		return typ, content
	}
	return "", nil
}

func readSET(t *testing.T, raw string) set {
	t.Helper()
	s := set{raw: raw}
	check.Must(t, json.Unmarshal([]byte(raw), &s))
	return s
}

// polled returns what waits for a stream, in order, and acknowledges nothing.
func (h *house) polled(s signal.Stream) []set { return h.polling(s, signal.Polling{Most: 100}) }

func (h *house) polling(s signal.Stream, p signal.Polling) (list []set) {
	h.t.Helper()
	got, err := h.signals.Poll(context.Background(), bank, s.ID, p)
	check.Must(h.t, err)
	var ids []string
	for id := range got.SETs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		one := readSET(h.t, got.SETs[id])
		if one.ID != id {
			h.t.Errorf("under %s there is the SET %s", id, one.raw)
		}
		list = append(list, one)
	}
	return list
}

func (h *house) stream(id string) signal.Stream {
	h.t.Helper()
	s, err := h.signals.Stream(context.Background(), bank, id)
	check.Must(h.t, err)
	return s
}

func (h *house) status(s signal.Stream, to signal.Status) {
	h.t.Helper()
	_, err := h.signals.SetStatus(context.Background(), bank, s.ID, to, "")
	check.Must(h.t, err)
}

func (h *house) tidy(most int) {
	h.t.Helper()
	check.Must(h.t, h.signals.Tidy(context.Background(), most))
}

// send pushes what is due.
func (h *house) send() {
	h.t.Helper()
	h.Drain(h.signals.Handler())
}

// sender is one that goes on between sendings: what it recalls of destinations is its own.
func (h *house) sender(of *signal.Service) *outbox.Sender {
	h.t.Helper()
	s, err := outbox.NewSender(h.Store, outbox.Options{Handlers: []outbox.Handler{of.Handler()}})
	check.Must(h.t, err)
	return s
}

// receiver is a program that is pushed to. It keeps what it gets and answers as it is told, 202 in the beginning.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	got    []set
	status int
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, status: http.StatusAccepted}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answers(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	one := set{raw: string(body), header: req.Header.Clone()}
	if err := errors.Join(err, json.Unmarshal(body, &one)); err != nil {
		r.t.Errorf("what is pushed: %v", err)
	}
	r.mu.Lock()
	r.got = append(r.got, one)
	status := r.status
	r.mu.Unlock()
	w.WriteHeader(status)
}

// all returns what it has got until now.
func (r *receiver) all() []set {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}
