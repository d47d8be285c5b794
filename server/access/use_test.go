package access

import (
	"context"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/storage"
	"tutela/storage/audit"
)

// lastUse is when a server says that a client was there last.
func (h *house) lastUse(of *Service, id string) time.Time {
	h.t.Helper()
	at, err := of.LastUses(h.ctx())
	must(h.t, err)
	return at[id]
}

func TestLastUses_AreOfWhateverShowsThatTheClientIsThere(t *testing.T) {
	h := newHouse(t)
	key := newSigning(t, jose.ES256, "")
	plain, secret := h.client(Client{Scopes: []string{"read:users"}})
	signs, _ := h.client(Client{Scopes: []string{"openid"}, Keys: keysOf(t, key)})
	for _, c := range []Client{plain, signs} {
		if got := h.lastUse(h.Service, c.ID); !got.IsZero() {
			t.Errorf("a client that was never there was there at %v", got)
		}
	}
	_, err := h.Authenticate(h.ctx(), plain.ID, "not the secret")
	wantErr(t, err, ErrClient)
	_, err = h.Authenticate(h.ctx(), "nobody", secret)
	wantErr(t, err, ErrClient)
	if got := h.lastUse(h.Service, plain.ID); !got.IsZero() {
		t.Errorf("a wrong secret counts as a use at %v", got)
	}
	token := ""
	for what, use := range map[string]func(){
		"a secret": func() {
			c, err := h.Authenticate(h.ctx(), plain.ID, secret)
			must(t, err)
			token, _, err = h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
			must(t, err)
		},
		"a token": func() {
			if token == "" {
				c, err := h.Authenticate(h.ctx(), plain.ID, secret)
				must(t, err)
				token, _, err = h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
				must(t, err)
				h.clock.Advance(time.Second)
			}
			_, err := h.VerifyManagement(h.ctx(), token)
			must(t, err)
		},
	} {
		h.clock.Advance(time.Minute)
		use()
		if got := h.lastUse(h.Service, plain.ID); !got.Equal(h.store.Now()) {
			t.Errorf("after %s it was there at %v, want %v", what, got, h.store.Now())
		}
	}
	h.clock.Advance(time.Minute)
	_, err = h.AuthenticateByAssertion(h.ctx(), signs.ID, h.assertion(key, signs.ID, nil))
	must(t, err)
	if got := h.lastUse(h.Service, signs.ID); !got.Equal(h.store.Now()) {
		t.Errorf("after an assertion it was there at %v, want %v", got, h.store.Now())
	}
}

// A use costs no commit: it is written down with the next round, and read before that from memory.
func TestLastUses_AreWrittenDownInRounds(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"read:users"}})
	before := h.dump()
	for range 10 {
		_, err := h.Authenticate(h.ctx(), c.ID, secret)
		must(t, err)
	}
	if h.dump() != before {
		t.Error("a use wrote to the store")
	}
	must(t, h.WriteUses(h.ctx()))
	written := h.dump()
	if written == before {
		t.Error("the round wrote nothing")
	}
	must(t, h.WriteUses(h.ctx()))
	if h.dump() != written {
		t.Error("a round with nothing new wrote something")
	}
	must(t, h.RemoveClient(h.ctx(), audit.ByOperator(1), c.ID))
	h.uses.note(c.ID, h.store.Now().Add(time.Second)) // it was let in before it was removed
	must(t, h.WriteUses(h.ctx()))
	_, err := h.Client(h.ctx(), c.ID)
	wantErr(t, err, ErrNoClient)
}

// A server that is killed forgets what no round has written, which is the last minute at most, and no more than that.
func TestLastUses_OfAServerThatIsKilledAreThoseOfItsLastRound(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"read:users"}})
	use := func() time.Time {
		h.clock.Advance(20 * time.Second)
		_, err := h.Authenticate(h.ctx(), c.ID, secret)
		must(t, err)
		return h.store.Now()
	}
	written := use()
	must(t, h.WriteUses(h.ctx()))
	lost := use()
	if got := h.lastUse(h.Service, c.ID); !got.Equal(lost) {
		t.Errorf("it was there at %v, want %v", got, lost)
	}
	after := h.server() // the first is gone, without a word
	if got := h.lastUse(after, c.ID); !got.Equal(written) {
		t.Errorf("after the kill it was there at %v, want %v", got, written)
	}
}

// Of two servers over one store the newest use stays, whoever writes last.
func TestLastUses_OfTwoServersAreTheNewest(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"read:users"}})
	one := h.Service
	other := h.server()
	_, err := one.Authenticate(h.ctx(), c.ID, secret)
	must(t, err)
	h.clock.Advance(30 * time.Second)
	_, err = other.Authenticate(h.ctx(), c.ID, secret)
	must(t, err)
	newest := h.store.Now()
	must(t, other.WriteUses(h.ctx()))
	must(t, one.WriteUses(h.ctx()))
	for name, s := range map[string]*Service{"the one": one, "the other": other, "a third": h.server()} {
		if got := h.lastUse(s, c.ID); !got.Equal(newest) {
			t.Errorf("%s says %v, want %v", name, got, newest)
		}
	}
}

// A client that is changed while its use is written down keeps both.
func TestWriteUses_KeepsWhatAnotherServerChanges(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"read:users"}})
	other := h.server()
	_, err := h.Authenticate(h.ctx(), c.ID, secret)
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- h.WriteUses(context.Background()) }()
	_, err = other.ChangeClient(h.ctx(), audit.ByOperator(1), c.ID, ClientChange{Name: ptr("another")})
	must(t, err)
	must(t, <-ended)
	now, err := h.Client(h.ctx(), c.ID)
	must(t, err)
	if now.Name != "another" || h.lastUse(h.server(), c.ID).IsZero() {
		t.Errorf("it is %+v, used %v", now, h.lastUse(h.server(), c.ID))
	}
}

// dump is what the store holds.
func (h *house) dump() (all string) {
	h.t.Helper()
	must(h.t, h.store.View(h.ctx(), func(tx *storage.Tx) error {
		rows, err := clients.All(tx, storage.House)
		for _, row := range rows {
			all += row.Key + " " + row.Record.LastUsed.String() + "\n"
		}
		return err
	}))
	return all
}
