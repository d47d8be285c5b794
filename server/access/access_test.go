package access

import (
	"context"
	"testing"
	"time"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	public = "https://mfa.example.org"
	second = "http://localhost:8080/sub"
)

// house is a real store with its services. In tests the engine reruns closures at random.
type house struct {
	*Service
	t     testing.TB
	clock *storage.FakeClock
	path  string
	store *storage.Store
	ring  *keyring.Ring
}

func newHouse(t testing.TB) *house {
	t.Helper()
	_, test := t.(*testing.T)
	g := ground.Open(t, ground.Options{Chaos: test, Clock: storage.NewFakeClock(noon)})
	h := &house{
		t:     t,
		clock: g.Clock,
		path:  g.Path,
		store: g.Store,
		ring:  g.Ring,
	}
	h.Service = h.server()
	return h
}

// server is one more server over the same store.
func (h *house) server() *Service {
	h.t.Helper()
	s, err := New(h.t.Context(), h.store, h.ring, Options{PublicURLs: []string{public, second}})
	must(h.t, err)
	return s
}

func (h *house) ctx() context.Context { return h.t.Context() }

// client registers a client by an operator.
func (h *house) client(c Client) (Client, string) {
	h.t.Helper()
	if c.Name == "" {
		c.Name = "a program"
	}
	added, secret, err := h.AddClient(h.ctx(), audit.ByOperator(1000), c)
	must(h.t, err)
	return added, secret
}

// user makes a user.
func (h *house) user(id string) storage.UID {
	h.t.Helper()
	var uid storage.UID
	must(h.t, h.store.Update(h.ctx(), func(tx *storage.Tx) (err error) {
		made, err := user.Create(tx, user.User{ID: id})
		if err == nil {
			uid = made.UID
		}
		return err
	}))
	return uid
}

// events returns the events of some types, the oldest first.
func (h *house) events(types ...audit.Type) []audit.Event {
	h.t.Helper()
	entries, _, err := audit.List(h.ctx(), h.store, audit.Query{Types: types}, false)
	must(h.t, err)
	events := make([]audit.Event, 0, len(entries))
	for i := len(entries) - 1; i >= 0; i-- {
		events = append(events, entries[i].Event)
	}
	return events
}

var must = check.Must

var wantErr = check.Is

func TestNew_RefusesPublicURLsThatCannotBe(t *testing.T) {
	h := newHouse(t)
	for _, urls := range [][]string{nil, {""}, {"mfa.example.org"}, {"ftp://x"}, {"https://"}, {"https://x/?q=1"}, {"https://u:p@x"}, {public, "x"}} {
		_, err := New(h.ctx(), h.store, h.ring, Options{PublicURLs: urls})
		wantErr(t, err, ErrPublicURL)
	}
}

func TestIssuer_IsTheFirstPublicURLAndASlash(t *testing.T) {
	h := newHouse(t)
	for _, given := range []string{public, public + "/"} {
		s, err := New(h.ctx(), h.store, h.ring, Options{PublicURLs: []string{given, second}})
		must(t, err)
		if s.Issuer() != public+"/" || s.ManagementAudience() != public+"/api/v2/" {
			t.Errorf("for %s: issuer %s, audience %s", given, s.Issuer(), s.ManagementAudience())
		}
	}
}
