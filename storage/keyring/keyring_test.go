package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/check"
)

// secret is a record with a sealed field, found by a keyed hash.
type secret struct {
	Hash   string `json:"hash,omitempty"`
	Sealed []byte `json:"sealed,omitempty"`
}

var (
	secrets = storage.Declare(storage.Spec[secret]{
		Name: "secret", Class: storage.MFA,
		Sealed: func(s *secret) []storage.Field { return []storage.Field{{Name: "sealed", Value: &s.Sealed}} },
	})
	byHash = secrets.Unique("hash", func(s *secret) []string {
		if s.Hash == "" {
			return nil
		}
		return []string{s.Hash}
	})
)

var (
	quiet  = slog.New(slog.DiscardHandler)
	master = bytes.Repeat([]byte{7}, keyring.KeyBytes)
)

// house is an open installation.
type house struct {
	t     testing.TB
	path  string
	clock *storage.FakeClock
	views *atomic.Int64
	store *storage.Store
	ring  *keyring.Ring
}

// counted counts the Views of an engine.
type counted struct {
	storage.Engine
	views *atomic.Int64
}

func (c counted) View(ctx context.Context, fn func(storage.Reader) error) error {
	c.views.Add(1)
	return c.Engine.View(ctx, fn)
}

func newHouse(t testing.TB) *house { return open(t, filepath.Join(t.TempDir(), "data")) }

func open(t testing.TB, path string) *house {
	t.Helper()
	h := &house{
		t:     t,
		path:  path,
		clock: storage.NewFakeClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)),
		views: new(atomic.Int64),
	}
	engine, err := bolt.Open(context.Background(), path, bolt.Options{Logger: quiet})
	must(t, err)
	t.Cleanup(func() { _ = engine.Close() })
	h.store, err = storage.Open(context.Background(), counted{engine, h.views}, storage.Options{Clock: h.clock, Logger: quiet})
	must(t, err)
	h.ring, err = keyring.Open(context.Background(), h.store, master)
	must(t, err)
	return h
}

var must = check.Must

func (h *house) update(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	must(h.t, h.store.Update(context.Background(), fn))
}

func (h *house) rotate() {
	h.t.Helper()
	_, err := h.ring.Rotate(context.Background())
	must(h.t, err)
}

// get reads a secret.
func (h *house) get(uid storage.UID, key string) (s *secret, err error) {
	err = h.store.View(context.Background(), func(tx *storage.Tx) error {
		s, err = secrets.Get(tx, uid, key)
		return err
	})
	return s, err
}

// unseal opens what was sealed, in a transaction.
func (h *house) unseal(sealed, ad []byte) (plain []byte, err error) {
	err = h.store.View(context.Background(), func(tx *storage.Tx) error {
		plain, err = h.ring.Unseal(tx, sealed, ad)
		return err
	})
	return plain, err
}

// holds reports whether planted bytes lie anywhere in the store.
func (h *house) holds(planted []byte) (found bool) {
	h.t.Helper()
	must(h.t, h.store.Engine().Peek(context.Background(), storage.Range{}, func(k, v []byte) bool {
		found = found || bytes.Contains(k, planted) || bytes.Contains(v, planted)
		return true
	}))
	return found
}

func TestOpen_AnotherMasterKeyIsRefusedInOneLine(t *testing.T) {
	h := newHouse(t)
	for name, key := range map[string][]byte{
		"another": bytes.Repeat([]byte{8}, keyring.KeyBytes), "short": master[1:], "empty": nil,
		"long": append([]byte{0}, master...),
	} {
		_, err := keyring.Open(t.Context(), h.store, key)
		if !errors.Is(err, keyring.ErrMasterKey) || strings.Contains(err.Error(), "\n") || storage.CodeOf(err) != storage.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	again, err := keyring.Open(t.Context(), h.store, master)
	must(t, err)
	if !again.Matches(h.ring.Hash("p", []byte("x")), "p", []byte("x")) {
		t.Error("the ring opened again is another")
	}
}

func TestOpen_ARingIsTheSameAfterARestart(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.rotate()
	hash := h.ring.Hash("p", []byte("x"))
	id, _ := h.ring.NewID("x_", uid)
	h.update(func(tx *storage.Tx) error { return secrets.Put(tx, uid, "a", &secret{Sealed: []byte("s3cret")}) })
	must(t, h.store.Close())
	h = open(t, h.path)
	if got, _, ok := h.ring.ParseID("x_", id); !ok || got != uid {
		t.Error("the id is not known any more")
	}
	s, err := h.get(uid, "a")
	must(t, err)
	if string(s.Sealed) != "s3cret" || h.ring.Hash("p", []byte("x")) != hash || !strings.HasPrefix(hash, "2.") {
		t.Errorf("got %s, and the hash %s", s.Sealed, h.ring.Hash("p", []byte("x")))
	}
}

func TestRing_KeysLieInTheStoreOnlyWrapped(t *testing.T) {
	h := newHouse(t)
	h.rotate()
	for _, key := range h.ring.PlainKeys() {
		if h.holds(key) || h.holds([]byte(base64Of(key))) {
			t.Error("a key of the ring lies in the store in the open")
		}
	}
	if h.holds(master) || h.holds([]byte(base64Of(master))) {
		t.Error("the master key lies in the store")
	}
}

func TestRotate_OldSealsOpenAndOldHashesMatch(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	sealed, err := h.ring.Seal([]byte("s3cret"), []byte("ad"))
	must(t, err)
	hash := h.ring.Hash("code", uid[:], []byte("c0de"))
	h.update(func(tx *storage.Tx) error {
		return secrets.Put(tx, uid, "a", &secret{Hash: h.ring.Hash("look-up", []byte("token")), Sealed: []byte("s3cret")})
	})
	h.rotate()
	h.rotate()
	plain, err := h.unseal(sealed, []byte("ad"))
	must(t, err)
	if string(plain) != "s3cret" {
		t.Errorf("unsealed %q", plain)
	}
	if !h.ring.Matches(hash, "code", uid[:], []byte("c0de")) {
		t.Error("the hash of before does not match")
	}
	if newer := h.ring.Hash("code", uid[:], []byte("c0de")); newer == hash || !strings.HasPrefix(newer, "3.") {
		t.Errorf("the hash of now is %s", newer)
	}
	hashes := h.ring.Hashes("look-up", []byte("token"))
	if len(hashes) != 3 || !strings.HasPrefix(hashes[0], "3.") || !strings.HasPrefix(hashes[2], "1.") {
		t.Fatalf("hashes %v", hashes)
	}
	found := 0
	h.update(func(tx *storage.Tx) error {
		found = 0
		for _, hash := range hashes {
			if row, err := byHash.Find(tx, hash); err == nil && row.UID == uid {
				found++
			}
		}
		return nil
	})
	if found != 1 {
		t.Errorf("found %d times", found)
	}
}

func TestReseal_BringsEverySealedRowToTheNewestVersion(t *testing.T) {
	h := newHouse(t)
	const rows = 600 // more than are resealed at a time
	must(t, h.store.UpdateEach(t.Context(), rows, func(tx *storage.Tx, i int) error {
		return secrets.Put(tx, storage.UID{byte(i), byte(i >> 8), 1}, fmt.Sprint(i), &secret{Hash: fmt.Sprint(i), Sealed: fmt.Append(nil, "s3cret ", i)})
	}))
	h.rotate()
	n, err := h.store.Reseal(t.Context())
	must(t, err)
	if n != rows {
		t.Errorf("resealed %d rows", n)
	}
	h.ring.Forget(1) // as if the old version were lost
	for i := range rows {
		s, err := h.get(storage.UID{byte(i), byte(i >> 8), 1}, fmt.Sprint(i))
		must(t, err)
		if string(s.Sealed) != fmt.Sprint("s3cret ", i) || s.Hash != fmt.Sprint(i) {
			t.Fatalf("row %d has %q", i, s.Sealed)
		}
	}
}

func TestReseal_WithWritersLeavesNothingUnderTheOldVersion(t *testing.T) {
	h := newHouse(t)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range byte(8) {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := h.store.Update(context.Background(), func(tx *storage.Tx) error {
					return secrets.Put(tx, storage.UID{w, 1}, fmt.Sprint(i), &secret{Sealed: []byte("s3cret")})
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 5 {
		h.rotate()
		_, err := h.store.Reseal(t.Context())
		must(t, err)
	}
	close(stop)
	writers.Wait()
	for number := 1; number < h.ring.Newest(); number++ {
		h.ring.Forget(number)
	}
	for w := range byte(8) {
		must(t, h.store.View(t.Context(), func(tx *storage.Tx) error {
			_, err := secrets.All(tx, storage.UID{w, 1})
			return err
		}))
	}
}

func TestRotate_OfManyAtOnceMakesAVersionEach(t *testing.T) {
	h := newHouse(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	numbers := map[uint32]bool{}
	for range 8 {
		all.Go(func() {
			n, err := h.ring.Rotate(context.Background())
			must(t, err)
			mu.Lock()
			defer mu.Unlock()
			numbers[n] = true
		})
	}
	all.Wait()
	if len(numbers) != 8 || !numbers[9] || len(h.ring.Hashes("p")) != 9 {
		t.Errorf("versions %v, %d hashes", numbers, len(h.ring.Hashes("p")))
	}
}

func TestRing_FindsAVersionThatAnotherServerMade(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	other, err := keyring.Open(t.Context(), h.store, master)
	must(t, err)
	h.store.SetSealer(other)
	_, err = other.Rotate(t.Context())
	must(t, err)
	sealed, err := other.Seal([]byte("s3cret"), nil)
	must(t, err)
	token, err := other.SignToken(keyring.MFAToken, struct{}{})
	must(t, err)
	hash := other.Hash("p", uid[:])
	if _, err := h.unseal(sealed, nil); err != nil {
		t.Error(err)
	}
	if !h.ring.Matches(hash, "p", uid[:]) {
		t.Error("the hash does not match")
	}
	must(t, h.ring.VerifyToken(keyring.MFAToken, token, new(struct{})))
}

// Two servers with a ring each over one engine: one rotates and writes, the other reads it in an Update, in which it must
// not ask the engine for a second transaction. The watching engine fails the test when it does.
func TestRing_ReadsAnotherServersVersionThroughTheOpenTransaction(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	server := func() (*storage.Store, *keyring.Ring) {
		store, err := storage.Open(t.Context(), storagetest.Watch(t, h.store.Engine()), storage.Options{Clock: h.clock, Logger: quiet})
		must(t, err)
		ring, err := keyring.Open(t.Context(), store, master)
		must(t, err)
		return store, ring
	}
	one, ringOfOne := server()
	write := func() {
		_, err := ringOfOne.Rotate(t.Context())
		must(t, err)
		must(t, one.Update(t.Context(), func(tx *storage.Tx) error {
			return secrets.Put(tx, uid, "a", &secret{Hash: ringOfOne.Hash("p", uid[:]), Sealed: []byte("s3cret")})
		}))
	}
	// By the seal: a row is decoded.
	other, _ := server()
	write()
	must(t, other.Update(t.Context(), func(tx *storage.Tx) error {
		s, err := secrets.Get(tx, uid, "a")
		if err == nil && string(s.Sealed) != "s3cret" {
			t.Errorf("unsealed %q", s.Sealed)
		}
		return err
	}))
	// By the hash, as it lies in a row.
	other, ringOfOther := server()
	write()
	hash := ringOfOne.Hash("p", uid[:])
	must(t, other.Update(t.Context(), func(tx *storage.Tx) error {
		if !ringOfOther.MatchesIn(tx, hash, "p", uid[:]) || ringOfOther.MatchesIn(tx, hash, "p", nil) {
			t.Error("the hash does not match its secret alone")
		}
		return nil
	}))
	if newest := ringOfOther.Newest(); newest != 3 {
		t.Errorf("the other server seals under version %d", newest)
	}
}

// A transaction that began before a rotation reads an older ring: it must not replace the newer one in memory.
func TestRing_IsNotShortenedByAnOlderTransaction(t *testing.T) {
	h := newHouse(t)
	must(t, h.store.View(t.Context(), func(tx *storage.Tx) error {
		h.rotate()
		if h.ring.MatchesIn(tx, "9.x", "p") {
			t.Error("a hash of no version matches")
		}
		return nil
	}))
	if newest := h.ring.Newest(); newest != 2 {
		t.Errorf("the ring's newest version is %d", newest)
	}
}

// Strangers can name any version: it must cost next to nothing.
func TestVerifyToken_OfUnknownVersionsReadsTheStoreOnceASecond(t *testing.T) {
	h := newHouse(t)
	other, err := keyring.Open(t.Context(), h.store, master)
	must(t, err)
	before := h.views.Load()
	for i := range 1000 {
		if err := h.ring.VerifyToken(keyring.MFAToken, forged(`{"alg":"HS256","typ":"tutela-mfa+jwt","kid":"`+fmt.Sprint(i+2)+`"}`), new(any)); !errors.Is(err, keyring.ErrToken) {
			t.Fatal(err)
		}
	}
	if reads := h.views.Load() - before; reads > 1 {
		t.Errorf("the store was read %d times", reads)
	}
	// Another server's new version is found when the second is over.
	_, err = other.Rotate(t.Context())
	must(t, err)
	token, err := other.SignToken(keyring.MFAToken, struct{}{})
	must(t, err)
	h.clock.Advance(time.Second)
	must(t, h.ring.VerifyToken(keyring.MFAToken, token, new(struct{})))
}

func TestSeal_OpensOnlyAsItWasSealed(t *testing.T) {
	h := newHouse(t)
	sealed, err := h.ring.Seal([]byte("s3cret"), []byte("ad"))
	must(t, err)
	again, err := h.ring.Seal([]byte("s3cret"), []byte("ad"))
	must(t, err)
	if bytes.Equal(sealed, again) || bytes.Contains(sealed, []byte("s3cret")) {
		t.Error("a nonce came twice, or nothing is sealed")
	}
	if _, err := h.unseal(sealed, []byte("another")); err == nil {
		t.Error("opened with other associated data")
	}
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 1
		if _, err := h.unseal(damaged, []byte("ad")); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := h.unseal(sealed[:i], []byte("ad")); err == nil {
			t.Errorf("opened cut to %d bytes", i)
		}
	}
	empty, err := h.ring.Seal(nil, nil)
	must(t, err)
	if plain, err := h.unseal(empty, nil); err != nil || len(plain) != 0 {
		t.Errorf("an empty value: %q, %v", plain, err)
	}
}
