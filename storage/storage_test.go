package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/check"
)

// note has all that a record can have: two indexes, an expiry and a sealed field.
type note struct {
	ID     string    `json:"id"`
	Tags   []string  `json:"tags,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	Secret []byte    `json:"secret,omitempty"`
}

// The tables of these tests, one of each class.
var (
	notes = storage.Declare(storage.Spec[note]{
		Name:    "note",
		Class:   storage.MFA,
		Expires: func(n *note) time.Time { return n.Until },
		Sealed:  func(n *note) []storage.Field { return []storage.Field{{Name: "secret", Value: &n.Secret}} },
	})
	noteByID = notes.Unique("id", func(n *note) []string {
		if n.ID == "" {
			return nil
		}
		return []string{n.ID}
	})
	noteByTag = notes.Plain("tag", func(n *note) []string { return n.Tags })

	twins = storage.Declare(storage.Spec[note]{
		Name: "note2", Class: storage.MFA,
		Sealed: func(n *note) []storage.Field { return []storage.Field{{Name: "other", Value: &n.Secret}} },
	})
	blobs   = storage.Declare(storage.Spec[[]byte]{Name: "blob", Class: storage.MFA, Raw: true})
	secrets = storage.Declare(storage.Spec[[]byte]{
		Name:   "secret",
		Class:  storage.MFA,
		Raw:    true,
		Sealed: func(b *[]byte) []storage.Field { return []storage.Field{{Value: b}} },
	})
	accounts = storage.Declare(storage.Spec[note]{Name: "account", Class: storage.Account})
	traces   = storage.Declare(storage.Spec[note]{Name: "trace", Class: storage.Evidence})
	rules    = storage.Declare(storage.Spec[note]{Name: "rule", Class: storage.Settings})
	diary    = storage.DeclareLog("diary")
)

// begin is when the tests' clocks begin.
var begin = time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)

// house is a store that a test has open.
type house struct {
	t     testing.TB
	path  string
	clock *storage.FakeClock
	ring  *keyring.Ring
	*storage.Store
}

var master = bytes.Repeat([]byte{7}, keyring.KeyBytes)

// open opens the bolt file at path, through wrap when it is given.
func open(t testing.TB, path string, clock *storage.FakeClock, wrap func(storage.Engine) storage.Engine) *house {
	t.Helper()
	var engine storage.Engine
	engine, err := bolt.Open(context.Background(), path, bolt.Options{Logger: quiet})
	must(t, err)
	if wrap != nil {
		engine = wrap(engine)
	}
	s, err := storage.Open(context.Background(), engine, storage.Options{Clock: clock, Logger: quiet})
	must(t, err)
	ring, err := keyring.Open(context.Background(), s, master)
	must(t, err)
	t.Cleanup(func() { _ = engine.Close() })
	return &house{
		t:     t,
		path:  path,
		clock: clock,
		ring:  ring,
		Store: s,
	}
}

func newHouse(t testing.TB) *house {
	return open(t, filepath.Join(t.TempDir(), "data"), storage.NewFakeClock(begin), nil)
}

// sharded is an engine as one that spreads what is appended.
type sharded struct{ storage.Engine }

func (sharded) Shards() int { return 7 }

// engines are what the tests of tables run on, each as a layer over bolt.
var engines = []struct {
	name string
	wrap func(testing.TB) func(storage.Engine) storage.Engine
}{
	{"bolt", func(testing.TB) func(storage.Engine) storage.Engine { return nil }},
	{"chaos", func(t testing.TB) func(storage.Engine) storage.Engine {
		return func(e storage.Engine) storage.Engine { return storagetest.Chaos(t, e) }
	}},
	{"chaos with shards", func(t testing.TB) func(storage.Engine) storage.Engine {
		return func(e storage.Engine) storage.Engine { return sharded{storagetest.Chaos(t, e)} }
	}},
}

// onEngines runs a test on each of them.
func onEngines(t *testing.T, test func(t *testing.T, h *house)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			test(t, open(t, filepath.Join(t.TempDir(), "data"), storage.NewFakeClock(begin), e.wrap(t)))
		})
	}
}

var must = check.Must

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func equal[T any](t testing.TB, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
}

func (h *house) update(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	must(h.t, h.Update(context.Background(), fn))
}

func (h *house) view(fn func(tx *storage.Tx) error) {
	h.t.Helper()
	must(h.t, h.View(context.Background(), fn))
}

// put writes a note in a transaction of its own.
func (h *house) put(uid storage.UID, key string, n note) {
	h.t.Helper()
	h.update(func(tx *storage.Tx) error { return notes.Put(tx, uid, key, &n) })
}

func (h *house) get(uid storage.UID, key string) (n *note, err error) {
	err = h.View(context.Background(), func(tx *storage.Tx) error {
		n, err = notes.Get(tx, uid, key)
		return err
	})
	return n, err
}

// pair is what an engine holds.
type pair struct{ key, value []byte }

// content is all that the engine holds.
func (h *house) content() (pairs []pair) {
	h.t.Helper()
	must(h.t, h.Engine().View(context.Background(), func(r storage.Reader) error {
		return r.Scan(storage.Range{}, func(k, v []byte) bool {
			pairs = append(pairs, pair{bytes.Clone(k), bytes.Clone(v)})
			return true
		})
	}))
	return pairs
}

// holds tells in which keys, by their space, planted bytes are found.
func (h *house) holds(planted []byte) (spaces string) {
	h.t.Helper()
	for _, p := range h.content() {
		if bytes.Contains(p.key, planted) || bytes.Contains(p.value, planted) {
			spaces += string(p.key[:1])
		}
	}
	return spaces
}

// quiet drops the log: transactions under the race detector are slow, and engines say so.
var quiet = slog.New(slog.DiscardHandler)

var background = context.Background()

var errRefused = storage.NewError(storage.Denied, "refused")

func TestUpdate_AnErrorRollsBack(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		before := len(h.content())
		err := h.Update(t.Context(), func(tx *storage.Tx) error {
			return errors.Join(notes.Put(tx, uid, "a", &note{ID: "1"}), errRefused)
		})
		is(t, err, errRefused)
		equal(t, len(h.content()), before)
	})
}

func TestUpdate_AKeptErrorCommitsAndIsReturnedPlain(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		for i, err := range []error{
			storage.Kept(errRefused),
			errors.Join(nil, storage.Kept(errRefused)),
			fmt.Errorf("check the code: %w", storage.Kept(errRefused)),
			errors.Join(storage.Kept(errRefused), storage.Kept(storage.ErrExists)),
		} {
			key := fmt.Sprint(i)
			got := h.Update(t.Context(), func(tx *storage.Tx) error {
				return errors.Join(notes.Put(tx, uid, key, &note{}), err)
			})
			is(t, got, errRefused)
			if _, err := h.get(uid, key); err != nil {
				t.Errorf("case %d was not kept: %v", i, err)
			}
			// Returned from another closure it must not be kept again.
			again := h.Update(t.Context(), func(tx *storage.Tx) error {
				return errors.Join(notes.Put(tx, uid, "again", &note{}), got)
			})
			is(t, again, errRefused)
			_, err := h.get(uid, "again")
			is(t, err, storage.ErrNotFound)
		}
	})
}

func TestUpdate_AKeptErrorBesideAnotherRollsBack(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	broken := errors.New("broken")
	err := h.Update(t.Context(), func(tx *storage.Tx) error {
		return errors.Join(notes.Put(tx, uid, "a", &note{}), broken, storage.Kept(errRefused))
	})
	is(t, err, broken)
	_, err = h.get(uid, "a")
	is(t, err, storage.ErrNotFound)
}

func TestUpdate_KeptOfNothingIsNoError(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.update(func(tx *storage.Tx) error { return storage.Kept(notes.Put(tx, uid, "a", &note{})) })
	_, err := h.get(uid, "a")
	must(t, err)
}

func TestUpdate_APanicRollsBackAndIsRaisedAgain(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	raised := func() (p any) {
		defer func() { p = recover() }()
		_ = h.Update(t.Context(), func(tx *storage.Tx) error {
			must(t, notes.Put(tx, uid, "a", &note{}))
			panic("boom")
		})
		return nil
	}()
	if !strings.Contains(fmt.Sprint(raised), "boom") {
		t.Errorf("raised %v", raised)
	}
	_, err := h.get(uid, "a")
	is(t, err, storage.ErrNotFound)
	h.put(uid, "a", note{}) // the store goes on
}

func TestTx_IsRefusedOutsideItsClosure(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		h.put(uid, "a", note{ID: "1"})
		var carried []*storage.Tx
		carry := func(tx *storage.Tx) error {
			carried = append(carried, tx)
			return nil
		}
		h.update(carry)
		h.view(carry)
		func() {
			defer func() { _ = recover() }()
			h.update(func(tx *storage.Tx) error {
				carried = append(carried, tx)
				panic("boom")
			})
		}()
		for _, tx := range carried {
			_, getErr := notes.Get(tx, uid, "a")
			_, scanErr := notes.All(tx, uid)
			_, findErr := noteByID.Find(tx, "1")
			_, purgeErr := storage.Purge(tx, uid, false, storage.MFA)
			for i, err := range []error{
				getErr, scanErr, findErr, purgeErr, notes.Put(tx, uid, "a", &note{}), notes.Delete(tx, uid, "a"),
				diary.Append(tx, uid, "a", nil),
			} {
				if err == nil || !strings.Contains(err.Error(), "outside of the closure") {
					t.Errorf("call %d of a carried Tx: %v", i, err)
				}
			}
		}
		equal(t, len(h.content()) > 0, true)
	})
}

func TestView_CannotWrite(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	h.put(uid, "a", note{ID: "1"})
	before := h.content()
	h.view(func(tx *storage.Tx) error {
		_, purgeErr := storage.Purge(tx, uid, false, storage.MFA)
		for i, err := range []error{
			notes.Put(tx, uid, "a", &note{}), notes.Insert(tx, uid, "b", &note{}), notes.Delete(tx, uid, "a"),
			diary.Append(tx, uid, "a", nil), diary.Delete(tx, uid, "a"), purgeErr,
		} {
			if err == nil || !strings.Contains(err.Error(), "cannot write") {
				t.Errorf("write %d in a View: %v", i, err)
			}
		}
		return nil
	})
	equal(t, fmt.Sprint(h.content()), fmt.Sprint(before))
}

func TestUpdate_OfAnEndedContextWritesNothing(t *testing.T) {
	h := newHouse(t)
	uid := storage.NewUID()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	is(t, h.Update(ctx, func(tx *storage.Tx) error { return notes.Put(tx, uid, "a", &note{}) }), context.Canceled)
	_, err := h.get(uid, "a")
	is(t, err, storage.ErrNotFound)
}

func TestUpdate_AfterCloseIsUnavailable(t *testing.T) {
	h := newHouse(t)
	must(t, h.Close())
	equal(t, storage.CodeOf(h.Update(t.Context(), func(*storage.Tx) error { return nil })), storage.Unavailable)
	equal(t, storage.CodeOf(h.View(t.Context(), func(*storage.Tx) error { return nil })), storage.Unavailable)
}

func TestUpdateEach_TriesAllAndReturnsTheFirstError(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		err := h.UpdateEach(t.Context(), 200, func(tx *storage.Tx, i int) error {
			if i%10 == 3 {
				return errRefused
			}
			return notes.Put(tx, uid, fmt.Sprintf("%03d", i), &note{})
		})
		is(t, err, errRefused)
		h.view(func(tx *storage.Tx) error {
			rows, err := notes.All(tx, uid)
			equal(t, len(rows), 180)
			return err
		})
	})
}

func TestStamp_IsNeverTheSameTwice(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		var mu sync.Mutex
		var all []int64
		must(t, h.UpdateEach(t.Context(), 100, func(tx *storage.Tx, _ int) error {
			a := tx.Stamp()
			b := tx.Stamp()
			if a >= b || a < tx.Now().UnixNano() {
				t.Errorf("stamps %d, %d at %d", a, b, tx.Now().UnixNano())
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, a, b)
			return nil
		}))
		n := len(all)
		slices.Sort(all)
		equal(t, len(slices.Compact(all)), n)
	})
}

func TestError_IsFoundAgainUnderWhatWasMadeOfIt(t *testing.T) {
	kind := storage.NewError(storage.Limited, "too many")
	for _, err := range []error{
		kind, kind.With("too many of %d", 3), kind.After(time.Second), kind.With("x").After(time.Second).With("y"),
		fmt.Errorf("spend: %w", kind.After(time.Second)), storage.Kept(kind.With("z")),
	} {
		if !errors.Is(err, kind) || storage.CodeOf(err) != storage.Limited || errors.Is(err, errRefused) {
			t.Errorf("%v: code %q", err, storage.CodeOf(err))
		}
	}
	equal(t, storage.RetryAfter(fmt.Errorf("x: %w", kind.After(time.Minute))), time.Minute)
	equal(t, storage.RetryAfter(errors.New("x")), 0)
	equal(t, storage.CodeOf(errors.New("x")), "")
	equal(t, kind.Message, "too many")
}

// fileContent is the raw file.
func (h *house) fileContent() []byte {
	h.t.Helper()
	b, err := os.ReadFile(h.path)
	must(h.t, err)
	return b
}
