package access

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"pgregory.net/rapid"

	"tutela/storage"
	"tutela/storage/audit"
)

// published returns the JWKS as a client reads it.
func published(t testing.TB, s *Service) jose.JSONWebKeySet {
	t.Helper()
	b, err := s.JWKS(t.Context())
	must(t, err)
	var set jose.JSONWebKeySet
	must(t, json.Unmarshal(b, &set))
	return set
}

func kids(set jose.JSONWebKeySet, alg jose.SignatureAlgorithm) []string {
	var found []string
	for _, k := range set.Keys {
		if k.Algorithm == string(alg) {
			found = append(found, k.KeyID)
		}
	}
	return found
}

// kidOf returns the kid that a JWS names.
func kidOf(t testing.TB, jws string) string {
	t.Helper()
	return headerOf(t, jws).KeyID
}

func headerOf(t testing.TB, jws string) jose.Header {
	t.Helper()
	parsed, err := jose.ParseSignedCompact(jws, []jose.SignatureAlgorithm{es256, rs256, edDSA, jose.HS256})
	must(t, err)
	return parsed.Signatures[0].Protected
}

// holds reports whether a foreign library finds the token's signature good by the JWKS.
func holds(set jose.JSONWebKeySet, token string) bool {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{es256, rs256})
	if err != nil {
		return false
	}
	keys := set.Key(parsed.Headers[0].KeyID)
	return len(keys) == 1 && parsed.Claims(keys[0].Key, new(map[string]any)) == nil
}

func TestJWKS_HasTheFirstKeysAndNothingPrivate(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"openid"}})
	set := published(t, h.Service)
	if len(set.Keys) != 2 || len(kids(set, es256)) != 1 || len(kids(set, edDSA)) != 1 {
		t.Fatalf("keys %+v", set.Keys)
	}
	for _, k := range set.Keys {
		if !k.IsPublic() || !k.Valid() || k.Use != "sig" || k.KeyID == "" {
			t.Errorf("key %+v", k)
		}
	}
	b, err := h.JWKS(h.ctx())
	must(t, err)
	for _, member := range []string{`"d"`, `"p"`, `"q"`, `"private"`, `"k"`} {
		if strings.Contains(string(b), member) {
			t.Errorf("the JWKS has a member %s", member)
		}
	}
	token, err := h.IDToken(h.ctx(), c, Login{UserID: "u"})
	must(t, err)
	if !holds(set, token) {
		t.Error("the first token is not by the first key")
	}
	if events := h.events(audit.KeyRotated); len(events) != 0 {
		t.Errorf("the first keys are events: %+v", events)
	}
}

func TestRS256_IsMadeForTheFirstClientThatWantsIt(t *testing.T) {
	h := newHouse(t)
	var last string
	for range 2 {
		c, _ := h.client(Client{Scopes: []string{"openid"}, IDTokenAlg: "RS256"})
		token, err := h.IDToken(h.ctx(), c, Login{UserID: "u"})
		must(t, err)
		set := published(t, h.Service)
		if headerOf(t, token).Algorithm != "RS256" || !holds(set, token) || len(kids(set, rs256)) != 1 {
			t.Fatalf("token %+v of keys %+v", headerOf(t, token), set)
		}
		if last != "" && last != kidOf(t, token) {
			t.Error("the second client has another key")
		}
		last = kidOf(t, token)
	}
	if events := h.events(audit.KeyRotated); len(events) != 1 || events[0].Facts["alg"] != "RS256" || string(events[0].Facts["kid"]) != last {
		t.Errorf("events %+v", events)
	}
}

func TestRotate_PublishesBeforeItSignsAndKeepsWhatHasSigned(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"openid", "read:users"}, IDTokenAlg: "RS256"})
	signed := func() map[jose.SignatureAlgorithm]string { // kid by algorithm
		id, err := h.IDToken(h.ctx(), c, Login{UserID: "u"})
		must(t, err)
		management, _, err := h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
		must(t, err)
		receipt, err := h.SignReceipt(h.ctx(), []byte("{}"))
		must(t, err)
		return map[jose.SignatureAlgorithm]string{rs256: kidOf(t, id), es256: kidOf(t, management), edDSA: kidOf(t, receipt)}
	}
	before := signed()
	must(t, h.Rotate(h.ctx(), audit.ByOperator(7)))
	rotations := 0
	for _, e := range h.events(audit.KeyRotated) {
		if e.By == "operator:7" && e.Facts["kid"] != "" {
			rotations++
		}
	}
	if rotations != 3 {
		t.Errorf("%d events", rotations)
	}
	rotated := h.clock.Wall()
	for _, step := range []struct {
		name    string
		after   time.Duration
		signs   bool // the new key does
		oldKept bool // the old token keys are published
	}{
		{"at once", 0, false, true},
		{"just before the lead is over", KeyLead, false, true},
		{"when it signs", KeyLead + keyRefresh, true, true},
		{"as long as old tokens live", KeyLead + keyRefresh + ManagementLife, true, true},
		{"when all old tokens have expired", KeyLead + keyRefresh + keyStay + keyRefresh, true, false},
	} {
		h.clock.Advance(rotated.Add(step.after).Sub(h.clock.Wall()))
		set := published(t, h.Service)
		now := signed()
		for _, alg := range []jose.SignatureAlgorithm{es256, rs256, edDSA} {
			if (now[alg] != before[alg]) != step.signs {
				t.Errorf("%s: %s signs with the new key: %t", step.name, alg, !step.signs)
			}
			if kept := slices.Contains(kids(set, alg), before[alg]); kept != (step.oldKept || alg == edDSA) {
				t.Errorf("%s: the old key of %s is published: %t", step.name, alg, kept)
			}
			if want := map[bool]int{true: 2, false: 1}[step.oldKept || alg == edDSA]; len(kids(set, alg)) != want {
				t.Errorf("%s: %d keys of %s", step.name, len(kids(set, alg)), alg)
			}
		}
	}
}

func TestRotate_TwiceAtOneInstantLeavesOneThatSigns(t *testing.T) {
	h := newHouse(t)
	for range 4 {
		must(t, h.Rotate(h.ctx(), audit.ByOperator(7)))
	}
	h.clock.Advance(KeyLead + keyRefresh + time.Second)
	c, _ := h.client(Client{Scopes: []string{"read:users"}})
	token, _, err := h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
	must(t, err)
	h.clock.Advance(keyStay + time.Hour)
	if got := kids(published(t, h.Service), es256); len(got) != 1 || got[0] != kidOf(t, token) {
		t.Errorf("keys %v, of which %s signed", got, kidOf(t, token))
	}
}

func TestRotate_DropsThePrivatePartOfOldReceiptKeys(t *testing.T) {
	h := newHouse(t)
	receipt, err := h.SignReceipt(h.ctx(), []byte(`{"id":"rcp_1"}`))
	must(t, err)
	for range 3 {
		must(t, h.Rotate(h.ctx(), audit.ByOperator(7)))
		h.clock.Advance(KeyLead + keyRefresh + keyStay)
	}
	private := 0
	must(t, h.store.View(h.ctx(), func(tx *storage.Tx) error {
		rows, err := signingKeys.All(tx, storage.House)
		for _, row := range rows {
			if row.Record.algorithm() == edDSA && row.Record.Private != nil {
				private++
			}
		}
		return err
	}))
	if private != 2 { // the one that signs and, until the next rotation, the one before it
		t.Errorf("%d keys of receipts can sign", private)
	}
	jwks, err := h.server().JWKS(h.ctx())
	must(t, err)
	if _, err := VerifyReceipt(receipt, jwks); err != nil {
		t.Errorf("the first receipt: %v", err)
	}
}

func TestNew_MakesOneKeyOfEachAlgorithmWhateverRaces(t *testing.T) {
	h := newHouse(t)
	must(t, h.store.Update(h.ctx(), func(tx *storage.Tx) error { // as before the first start
		rows, err := signingKeys.All(tx, storage.House)
		for _, row := range rows {
			must(t, signingKeys.Delete(tx, storage.House, row.Key))
		}
		return err
	}))
	var wg sync.WaitGroup
	servers := make([]*Service, 8)
	for i := range servers {
		wg.Go(func() { servers[i] = h.server() })
	}
	wg.Wait()
	first := mustJSON(t, published(t, servers[0]))
	for _, s := range servers {
		if set := published(t, s); len(set.Keys) != 2 || mustJSON(t, set) != first {
			t.Errorf("keys %+v", set)
		}
	}
}

func TestKeys_OfAnotherServerArePickedUp(t *testing.T) {
	h := newHouse(t)
	other := h.server()
	c, _ := h.client(Client{Scopes: []string{"openid", "read:users"}, IDTokenAlg: "RS256"})
	if _, err := other.IDToken(h.ctx(), c, Login{UserID: "u"}); err != nil {
		t.Errorf("by the RS256 key that another server has just made: %v", err)
	}
	must(t, h.Rotate(h.ctx(), audit.ByOperator(7)))
	h.clock.Advance(keyRefresh)
	if diff := mustJSON(t, published(t, other)); diff != mustJSON(t, published(t, h.Service)) {
		t.Errorf("after %s the JWKS of the other server is %s", keyRefresh, diff)
	}

	// One whose view is not old, but who meets a key that it has never seen.
	other.keys.Store(&keySet{loaded: h.store.Now().Add(-keyRetry)})
	token, _, err := h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
	must(t, err)
	if _, err := other.VerifyManagement(h.ctx(), token); err != nil {
		t.Errorf("a token by an unknown key: %v", err)
	}
}

func TestKeys_TheStoreIsNotAskedForEveryMadeUpHeader(t *testing.T) {
	h := newHouse(t)
	set := h.keys.Load()
	for range 10 {
		_, err := h.VerifyManagement(h.ctx(), "e30.e30.AA")
		wantErr(t, err, ErrToken)
	}
	if h.keys.Load() != set {
		t.Error("the keys were read again")
	}
}

// Whatever the times of rotations: the key of every token that has not expired is in the JWKS of every server, and a
// key that signs had been in it for ten minutes on all of them, unless it is the first.
func TestKeys_ProperlyFollowEachOther(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHouse(t)
		c, _ := h.client(Client{Scopes: []string{"openid", "read:users"}})
		servers := []*Service{h.Service, h.server()}
		since := map[string]time.Time{}   // when a key was first in a JWKS, by kid
		expires := map[string]time.Time{} // when the last token that it signed expires, by kid
		look := func(s *Service, at time.Time) {
			for _, k := range published(t, s).Keys {
				if _, known := since[k.KeyID]; !known {
					since[k.KeyID] = at
				}
			}
		}
		look(h.Service, time.Time{})
		advance := func(most int) func(rt *rapid.T) {
			return func(rt *rapid.T) {
				h.clock.Advance(time.Duration(rapid.IntRange(1, most).Draw(rt, "seconds")) * time.Second)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"advance":          advance(12 * 3600),
			"advance a little": advance(400),
			"rotate": func(rt *rapid.T) {
				s := servers[rapid.IntRange(0, len(servers)-1).Draw(rt, "server")]
				must(t, s.Rotate(h.ctx(), audit.ByOperator(1)))
				look(s, h.clock.Wall())
			},
			"sign": func(rt *rapid.T) {
				s := servers[rapid.IntRange(0, len(servers)-1).Draw(rt, "server")]
				token, _, err := s.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
				must(t, err)
				kid := kidOf(t, token)
				if !holds(published(t, s), token) {
					rt.Fatal("the token does not verify")
				}
				if at := since[kid]; h.clock.Wall().Sub(at) < KeyLead+keyRefresh {
					rt.Fatalf("a key signs that was published %s ago", h.clock.Wall().Sub(at))
				}
				expires[kid] = h.clock.Wall().Add(ManagementLife)
			},
			"": func(rt *rapid.T) {
				for _, s := range servers {
					jwks, err := s.JWKS(h.ctx())
					must(t, err)
					for kid, at := range expires {
						if h.clock.Wall().Before(at) && !bytes.Contains(jwks, []byte(kid)) {
							rt.Fatalf("a key is gone whose last token lives for another %s", at.Sub(h.clock.Wall()))
						}
					}
				}
			},
		})
	})
}
