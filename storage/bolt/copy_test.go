package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"tutela/storage"
	"tutela/storage/bolt/boltfile"
)

func TestCopyTo_IsOneStateWhileServing(t *testing.T) {
	e := open(t, newPath(t), Options{})
	fill(t, e, "row", 5000)
	for range 3 {
		stop := writeForever(t, e)
		copied := newPath(t)
		f, err := os.Create(copied)
		must(t, err)
		n, err := e.CopyTo(t.Context(), f)
		must(t, err)
		info, err := f.Stat()
		must(t, errors.Join(err, f.Close()))
		if n != info.Size() {
			t.Errorf("CopyTo says %d bytes; the file has %d", n, info.Size())
		}
		stop()
		must(t, Inspect(copied))
		checkPairs(t, content(t, open(t, copied, Options{})))
	}
}

// writeForever writes two equal rows at a time, until stop.
func writeForever(t testing.TB, e *Engine) (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
					must(t, write(e, fmt.Sprintf("a%d", w), fmt.Sprint(n), fmt.Sprintf("z%d", w), fmt.Sprint(n)))
				}
			}
		})
	}
	return func() {
		close(done)
		all.Wait()
	}
}

func checkPairs(t testing.TB, rows map[string]string) {
	for w := range 4 {
		a := rows[fmt.Sprintf("a%d", w)]
		z := rows[fmt.Sprintf("z%d", w)]
		if a != z {
			t.Errorf("rows written together: %s and %s", a, z)
		}
	}
	if n := len(rows); n < 5000 {
		t.Errorf("%d rows", n)
	}
}

func TestCopyTo_HoldsNothingThatWasRemoved(t *testing.T) {
	path := newPath(t)
	e := open(t, path, Options{})
	fill(t, e, "planted", 1000)
	fill(t, e, "kept", 1000)
	removeAll(t, e, "planted", 1000)
	before := content(t, e)
	var out bytes.Buffer
	_, err := e.CopyTo(t.Context(), &out)
	must(t, err)
	if bytes.Contains(out.Bytes(), []byte("planted")) {
		t.Error("the copy holds what was removed")
	}
	copied := newPath(t)
	must(t, os.WriteFile(copied, out.Bytes(), 0o600))
	if !maps.Equal(content(t, open(t, copied, Options{})), before) {
		t.Error("the copy's content differs")
	}
}

func removeAll(t testing.TB, e *Engine, prefix string, n int) {
	must(t, e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		for i := range n {
			ws.Delete(fmt.Appendf(nil, "%s%06d", prefix, i))
		}
		return ws, nil
	}))
}

func TestCopyTo_EndsWithItsContextAndItsWriter(t *testing.T) {
	e := open(t, newPath(t), Options{})
	fill(t, e, "row", 20000)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := e.CopyTo(ctx, writerFunc(func(b []byte) (int, error) {
		cancel()
		return len(b), nil
	})); !errors.Is(err, context.Canceled) {
		t.Errorf("copy whose context ended: %v", err)
	}
	broken := errors.New("broken pipe")
	if _, err := e.CopyTo(t.Context(), writerFunc(func([]byte) (int, error) { return 0, broken })); !errors.Is(err, broken) {
		t.Errorf("copy whose writer failed: %v", err)
	}
	first := make(chan struct{})
	var once sync.Once
	copied := make(chan error)
	go func() {
		_, err := e.CopyTo(t.Context(), writerFunc(func(b []byte) (int, error) {
			once.Do(func() {
				close(first)
				<-e.closing.Done()
			})
			return len(b), nil
		}))
		copied <- err
	}()
	<-first
	go e.Close() //nolint:errcheck // closed again, and checked, by open
	if err := <-copied; storage.CodeOf(err) != storage.Unavailable {
		t.Errorf("copy while the engine is closed: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestCopyTo_RefusesADamagedFile(t *testing.T) {
	path := newPath(t)
	e := open(t, path, Options{})
	fill(t, e, "row", 1000)
	tx, file, err := e.begin(t.Context())
	must(t, err)
	used, err := boltfile.Seen(tx, file.raw).Walk(t.Context())
	must(t, errors.Join(err, tx.Rollback()))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	for id := uint64(10); ; id++ {
		if used.Has(id) {
			_, err = f.WriteAt(make([]byte, 16), int64(id*pageSize))
			break
		}
	}
	must(t, errors.Join(err, f.Close()))
	if _, err := e.CopyTo(t.Context(), &bytes.Buffer{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("copy: %v", err)
	}
	if _, err := e.Compact(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("compact: %v", err)
	}
}

func TestRestore_PutsAWholeCopyInPlace(t *testing.T) {
	backup := newPath(t)
	path := newPath(t)
	e := open(t, backup, Options{})
	fill(t, e, "row", 1000)
	want := content(t, e)
	must(t, e.Close())

	must(t, Restore(t.Context(), backup, path, false, nil))
	e = open(t, path, Options{})
	if !maps.Equal(content(t, e), want) {
		t.Error("the restored content differs")
	}
	if err := Restore(t.Context(), backup, path, true, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("restore over a running server's file: %v", err)
	}
	must(t, write(e, "another", "row"))
	must(t, e.Close())
	if err := Restore(t.Context(), backup, path, false, nil); !errors.Is(err, storage.ErrExists) {
		t.Errorf("restore over an existing file: %v", err)
	}
	must(t, Restore(t.Context(), backup, path, true, nil))
	if !maps.Equal(content(t, open(t, path, Options{})), want) {
		t.Error("the content restored over another differs")
	}
}

func TestRestore_RefusesABadBackupAndKeepsWhatIsThere(t *testing.T) {
	path := newPath(t)
	backup := newPath(t)
	must(t, write(open(t, path, Options{}), "a", "1"))
	e := open(t, backup, Options{})
	fill(t, e, "row", 1000)
	must(t, e.Close())
	must(t, os.Truncate(backup, 100_000))
	path2 := newPath(t)
	must(t, open(t, path2, Options{}).Close())
	before, err := os.ReadFile(path2)
	must(t, err)
	if err := Restore(t.Context(), backup, path2, true, nil); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), backup) {
		t.Errorf("restore of a truncated backup: %v", err)
	}
	after, err := os.ReadFile(path2)
	must(t, err)
	if !bytes.Equal(before, after) || len(files(t, path2)) != 2 {
		t.Errorf("the refused restore left changes: %v", files(t, path2))
	}
}

// The change is on the disk before the copy has the name of the data file: whatever is read at path has it.
func TestRestore_WritesAChangeBeforeTheCopyIsInPlace(t *testing.T) {
	backup := newPath(t)
	path := newPath(t)
	e := open(t, backup, Options{})
	must(t, write(e, "epoch", "1"))
	must(t, e.Close())
	must(t, open(t, path, Options{}).Close())
	before, err := os.ReadFile(path)
	must(t, err)
	copied, err := os.ReadFile(backup)
	must(t, err)

	refuses := errors.New("no")
	change := func(outcome error) Change {
		return func(r storage.Reader) (*storage.WriteSet, error) {
			if found, err := r.Get([]byte("epoch")); err != nil || string(found) != "1" {
				t.Errorf("the change sees %q, %v", found, err)
			}
			if there, err := os.ReadFile(path); err != nil || !bytes.Equal(there, before) {
				t.Errorf("the data file is touched before the change: %v", err)
			}
			ws := storage.NewWriteSet()
			ws.Put([]byte("epoch"), []byte("2"))
			return ws, outcome
		}
	}
	if err := Restore(t.Context(), backup, path, true, change(refuses)); !errors.Is(err, refuses) {
		t.Errorf("a change that fails: %v", err)
	}
	if there, err := os.ReadFile(path); err != nil || !bytes.Equal(there, before) || len(files(t, path)) != 2 {
		t.Errorf("the failed restore left changes: %v, %v", files(t, path), err)
	}
	must(t, Restore(t.Context(), backup, path, true, change(nil)))
	must(t, Inspect(path))
	if got := content(t, open(t, path, Options{})); got["epoch"] != "2" {
		t.Errorf("the restored file holds %v", got)
	}
	if again, err := os.ReadFile(backup); err != nil || !bytes.Equal(again, copied) {
		t.Errorf("the copy itself was changed: %v", err)
	}
}
