package keyring_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"tutela/storage"
	"tutela/storage/keyring"
)

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func TestHash_MatchesTheSameSecretForTheSamePurposeOnly(t *testing.T) {
	h := newHouse(t)
	hash := h.ring.Hash("code", []byte("user"), []byte("secret"))
	if !h.ring.Matches(hash, "code", []byte("user"), []byte("secret")) {
		t.Error("the right secret does not match")
	}
	for name, matches := range map[string]bool{
		"another secret":  h.ring.Matches(hash, "code", []byte("user"), []byte("secreT")),
		"another purpose": h.ring.Matches(hash, "cod", []byte("user"), []byte("secret")),
		"another user":    h.ring.Matches(hash, "code", []byte("usex"), []byte("secret")),
		"a part missing":  h.ring.Matches(hash, "code", []byte("secret")),
		"parts joined":    h.ring.Matches(hash, "code", []byte("usersecret")),
		"parts moved":     h.ring.Matches(hash, "code", []byte("users"), []byte("ecret")),
		"an empty part":   h.ring.Matches(hash, "code", []byte("user"), []byte("secret"), nil),
		"no hash":         h.ring.Matches("", "code", []byte("user"), []byte("secret")),
		"no version":      h.ring.Matches(hash[2:], "code", []byte("user"), []byte("secret")),
		"version 0":       h.ring.Matches("0"+hash[1:], "code", []byte("user"), []byte("secret")),
		"version 01":      h.ring.Matches("0"+hash, "code", []byte("user"), []byte("secret")),
		"version 2":       h.ring.Matches("2"+hash[1:], "code", []byte("user"), []byte("secret")),
		"version 2^32+1":  h.ring.Matches("4294967297"+hash[1:], "code", []byte("user"), []byte("secret")),
		"hash cut":        h.ring.Matches(hash[:len(hash)-1], "code", []byte("user"), []byte("secret")),
	} {
		if matches {
			t.Errorf("%s matches", name)
		}
	}
}

// Keys of all uses are derived apart: one purpose cannot be named so that its key is that of another use.
func TestHash_IsOfAKeyOfItsOwn(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	uidHash := h.ring.DerivedUID("x", uid[:])
	mac, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(h.ring.Hash("x", uid[:]), "1."))
	must(t, err)
	if string(mac[:16]) == string(uidHash[:]) {
		t.Error("a derived uid is a hash")
	}
	seen := map[string]string{}
	for _, purpose := range []string{"", "x", "x ", "hash x", "id x", "uid x", "seal", "token x"} {
		hash := h.ring.Hash(purpose, uid[:])
		if other, twice := seen[hash]; twice {
			t.Errorf("purposes %q and %q have one key", purpose, other)
		}
		seen[hash] = purpose
	}
}

func TestDerivedUID_StaysTheSameOverRotations(t *testing.T) {
	h := newHouse(t)
	before := h.ring.DerivedUID("restore", []byte("handle"))
	h.rotate()
	if h.ring.DerivedUID("restore", []byte("handle")) != before || before.IsZero() {
		t.Error("the rotation changed it")
	}
	if h.ring.DerivedUID("restore", []byte("handlf")) == before || h.ring.DerivedUID("other", []byte("handle")) == before {
		t.Error("it is that of something else")
	}
}

func TestID_SaysWhoseItIsAndCannotBeMadeUp(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	id, key := h.ring.NewID("arq_", uid)
	gotUID, gotKey, ok := h.ring.ParseID("arq_", id)
	if !ok || gotUID != uid || gotKey != key || len(key) != 32 || !strings.HasPrefix(id, "arq_") {
		t.Fatalf("%s: %s %s %v", id, gotUID, gotKey, ok)
	}
	refused := func(prefix, id string) {
		t.Helper()
		if uid, key, ok := h.ring.ParseID(prefix, id); ok || !uid.IsZero() || key != "" {
			t.Errorf("%q was taken for an id of %q", id, prefix)
		}
	}
	refused("txn_", id)
	refused("txn_", "txn_"+id[4:]) // an id of one kind under the name of another
	refused("", id[4:])
	refused("arq", id)
	for i := range id {
		for _, c := range "Aa0_-=\n" {
			if damaged := id[:i] + string(c) + id[i+1:]; damaged != id {
				refused("arq_", damaged)
			}
		}
		refused("arq_", id[:i])
	}
	refused("arq_", "arq_"+strings.Repeat("\n", len(id)-4))
	refused("arq_", id[:len(id)-4]+"\r\n\r\n")
	refused("arq_", id+"A")
	refused("arq_", id+"\n")
	// Another installation's.
	foreign, _ := newHouse(t).ring.NewID("arq_", uid)
	refused("arq_", foreign)
}

func TestID_OfAllVersionsIsRead(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	random := storage.NewUID()
	ids := map[string]bool{}
	for range 260 { // past the one byte that names the version
		id, key := h.ring.IDFor("arq_", uid, random)
		if same, _ := h.ring.IDFor("arq_", uid, random); same != id || key != random.String() {
			t.Error("the id of a row is not the same twice")
		}
		ids[id] = true
		h.rotate()
	}
	if len(ids) != 260 {
		t.Errorf("%d ids of one row over 260 versions", len(ids))
	}
	for id := range ids {
		if got, key, ok := h.ring.ParseID("arq_", id); !ok || got != uid || key != random.String() {
			t.Fatalf("%s is not read any more", id)
		}
	}
}

func FuzzParseID(f *testing.F) {
	h := newHouse(f)
	uid := storage.NewUID()
	id, key := h.ring.NewID("arq_", uid)
	f.Add(id)
	f.Add("arq_")
	f.Fuzz(func(t *testing.T, s string) {
		if got, gotKey, ok := h.ring.ParseID("arq_", s); ok && (s != id || got != uid || gotKey != key) {
			t.Errorf("%q was taken for an id of ours", s)
		}
	})
}

func BenchmarkMatches(b *testing.B) {
	h := newHouse(b)
	hash := h.ring.Hash("code", []byte("user"), []byte("secret"))
	for b.Loop() {
		h.ring.Matches(hash, "code", []byte("user"), []byte("secret"))
	}
}

func BenchmarkParseID(b *testing.B) {
	h := newHouse(b)
	id, _ := h.ring.NewID("arq_", storage.NewUID())
	for b.Loop() {
		h.ring.ParseID("arq_", id)
	}
}

func BenchmarkVerifyToken(b *testing.B) {
	h := newHouse(b)
	token, err := h.ring.SignToken(keyring.TransactionToken, map[string]string{"txid": "x"})
	must(b, err)
	for b.Loop() {
		var claims map[string]string
		if err := h.ring.VerifyToken(keyring.TransactionToken, token, &claims); err != nil {
			b.Fatal(err)
		}
	}
}
