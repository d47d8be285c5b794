package storagetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/storagetest"
)

func open(t testing.TB) storage.Engine {
	e, err := bolt.Open(t.Context(), filepath.Join(t.TempDir(), "data"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() }) //nolint:errcheck // closed by the test; this is for tests that fail
	return e
}

func TestChaos_PassesTheConformanceSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the whole suite of engines: run it without -short")
	}
	storagetest.Engine(t, func(t testing.TB) storage.Engine { return storagetest.Chaos(t, open(t)) })
}

func TestChaos_CatchesAClosureWithASideEffect(t *testing.T) {
	e := storagetest.Chaos(t, open(t))
	counted := 0
	for range 50 {
		err := e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
			counted++
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if counted <= 50 {
		t.Errorf("50 updates ran their closures %d times", counted)
	}
}

func TestChaos_WritesOnlyWhatTheLastRunWrote(t *testing.T) {
	e := storagetest.Chaos(t, open(t))
	for range 50 {
		run := 0
		key := byte(0)
		err := e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
			run++
			key = byte(run)
			ws := storage.NewWriteSet()
			ws.Put([]byte{key}, nil)
			return ws, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		err = e.Update(t.Context(), func(r storage.Reader) (*storage.WriteSet, error) {
			ws := storage.NewWriteSet()
			return ws, r.Scan(storage.Range{}, func(found, _ []byte) bool {
				if found[0] != key {
					t.Errorf("found what run %d wrote; the last was %d", found[0], key)
				}
				ws.Delete([]byte{found[0]})
				return true
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestChaos_RefusesWithoutRunningTheClosure(t *testing.T) {
	e := storagetest.Chaos(t, open(t)).Refusing(3)
	refused := 0
	for range 100 {
		ran := false
		err := e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
			ran = true
			return nil, nil
		})
		if err != nil && (!errors.Is(err, context.Canceled) || ran) {
			t.Fatalf("%v, ran: %t", err, ran)
		}
		if err != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no update of 100 was refused, one in 3 should be")
	}
}

func TestDoubt_TellsNotWhetherACommitWasKept(t *testing.T) {
	for _, kept := range []bool{true, false} {
		e := storagetest.Doubt(open(t))
		put := func(value string) error {
			return e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
				ws := storage.NewWriteSet()
				ws.Put([]byte("a"), []byte(value))
				return ws, nil
			})
		}
		e.Next(1, kept)
		if err := put("before"); err != nil || e.Doubted() {
			t.Errorf("the one before: %v", err)
		}
		if err := put("doubted"); storage.CodeOf(err) != storage.OutcomeUnknown || !e.Doubted() {
			t.Errorf("the one in doubt: %v", err)
		}
		var got string
		if err := e.View(t.Context(), func(r storage.Reader) error {
			value, err := r.Get([]byte("a"))
			got = string(value)
			return err
		}); err != nil {
			t.Error(err)
		}
		if want := map[bool]string{true: "doubted", false: "before"}[kept]; got != want {
			t.Errorf("kept %v: %q is stored", kept, got)
		}
		if err := put("after"); err != nil {
			t.Errorf("the one after: %v", err)
		}
	}
}

// recorder is a test that notes whether it would fail.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Errorf(format string, args ...any) { r.failed = fmt.Sprintf(format, args...) }

func TestWatch_FailsATransactionThatWritesAKeyTooLong(t *testing.T) {
	rec := &recorder{TB: t}
	e := storagetest.Watch(rec, open(t))
	for size, fails := range map[int]bool{storage.MaxKeyBytes: false, storage.MaxKeyBytes + 1: true} {
		rec.failed = ""
		err := e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
			ws := storage.NewWriteSet()
			ws.Put(bytes.Repeat([]byte("k"), size), nil)
			return ws, nil
		})
		// The engine refuses it too; the watch tells even where one does not.
		if (err != nil) != fails || (rec.failed != "") != fails {
			t.Errorf("key of %d bytes: %v, %q", size, err, rec.failed)
		}
	}
}
