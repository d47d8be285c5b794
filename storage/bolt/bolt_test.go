package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"tutela/storage"
	"tutela/storage/storagetest"
)

func open(t testing.TB, path string, o Options) *Engine {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, e.Close()) })
	return e
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "tutela.db") }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func write(e *Engine, pairs ...string) error {
	return e.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		for i := 0; i < len(pairs); i += 2 {
			ws.Put([]byte(pairs[i]), []byte(pairs[i+1]))
		}
		return ws, nil
	})
}

// fill writes n rows with the prefix, of about 300 bytes each.
func fill(t testing.TB, e *Engine, prefix string, n int) {
	t.Helper()
	fillFrom(t, e, prefix, 0, n)
}

// fillFrom is fill for the rows from number first on.
func fillFrom(t testing.TB, e *Engine, prefix string, first, n int) {
	t.Helper()
	must(t, e.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) {
		ws := storage.NewWriteSet()
		for i := first; i < first+n; i++ {
			ws.Put(fmt.Appendf(nil, "%s%06d", prefix, i), []byte(strings.Repeat(prefix+".", 300/(len(prefix)+1))))
		}
		return ws, nil
	}))
}

func content(t testing.TB, e *Engine) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, e.View(t.Context(), func(r storage.Reader) error {
		return r.Scan(storage.Range{}, func(key, value []byte) bool {
			all[string(key)] = string(value)
			return true
		})
	}))
	return all
}

func TestEngine_PassesTheConformanceSuite(t *testing.T) {
	storagetest.Engine(t, func(t testing.TB) storage.Engine { return open(t, newPath(t), Options{}) })
}

func TestEngine_KeepsItsContent(t *testing.T) {
	path := newPath(t)
	storagetest.Durable(t, func(t testing.TB) storage.Engine { return open(t, path, Options{}) })
}

func TestOpen_MakesAFileForItsOwnerAlone(t *testing.T) {
	path := newPath(t)
	e := open(t, path, Options{})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of a new file: %v, %v", info.Mode(), err)
	}
	must(t, e.Close())
	if left := files(t, path); !slices.Equal(left, []string{"tutela.db", "tutela.db.clean"}) {
		t.Errorf("files after Close: %v", left)
	}
}

// files are the names in the folder of path.
func files(t testing.TB, path string) (names []string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestOpen_CrashWhileMakingAFileLeavesNoneOrAWholeOne(t *testing.T) {
	path := newPath(t)
	open(t, path, Options{step: func(step string) {
		after := copyFolder(t, path)
		e := open(t, after, Options{})
		if n := len(content(t, e)); n != 0 {
			t.Errorf("at %q: %d rows", step, n)
		}
		must(t, write(e, "a", "1"))
		must(t, e.Close())
		if left := files(t, after); !slices.Equal(left, []string{"tutela.db", "tutela.db.clean"}) {
			t.Errorf("at %q: files %v", step, left)
		}
	}})
}

// copyFolder copies the folder of path as a crash would leave it now, without the lock, and returns path's copy.
func copyFolder(t testing.TB, path string) string {
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	for _, name := range files(t, path) {
		if strings.HasSuffix(name, lockSuffix) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(filepath.Dir(to), name), data, 0o600))
	}
	return to
}

func TestOpen_RemovesWhatACrashLeft(t *testing.T) {
	path := newPath(t)
	must(t, os.WriteFile(path+newSuffix, []byte("half"), 0o600))
	must(t, os.WriteFile(path+compactSuffix, []byte("half"), 0o600))
	open(t, path, Options{})
	if left := files(t, path); !slices.Equal(left, []string{"tutela.db", "tutela.db.lock"}) {
		t.Errorf("files after Open: %v", left)
	}
}

func TestOpen_SecondServerIsToldTheFirst(t *testing.T) {
	path := newPath(t)
	e := open(t, path, Options{})
	must(t, write(e, "a", "1"))
	for range 2 {
		_, err := Open(t.Context(), path, Options{})
		if !errors.Is(err, ErrInUse) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("process %d", os.Getpid())) {
			t.Errorf("second open: %v", err)
		}
		if _, err := e.Compact(t.Context()); err != nil {
			t.Error(err)
		}
	}
	must(t, e.Close())
	if got := content(t, open(t, path, Options{}))["a"]; got != "1" {
		t.Errorf("value after the refused open: %q", got)
	}
}

func TestOpen_OnlyOneOfManyAtOnceSucceeds(t *testing.T) {
	path := newPath(t)
	for range 20 {
		var all sync.WaitGroup
		var mu sync.Mutex
		var opened []*Engine
		for range 8 {
			all.Go(func() {
				e, err := Open(t.Context(), path, Options{})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					opened = append(opened, e)
				} else if !errors.Is(err, ErrInUse) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(opened) != 1 {
			t.Errorf("%d opens of 8 succeeded", len(opened))
		}
		for _, e := range opened {
			must(t, e.Close())
		}
	}
}

func TestOpen_FileOpenInAnotherProgramIsRefused(t *testing.T) {
	path := newPath(t)
	must(t, open(t, path, Options{}).Close())
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, db.Close()) }()
	if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("open: %v", err)
	}
}

func TestOpen_PlacesWhereNoFileCanBe(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	file := filepath.Join(dir, "file")
	must(t, syscall.Mkfifo(pipe, 0o600))
	must(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]error{
		dir:                                 storage.ErrForeign,
		pipe:                                storage.ErrForeign,
		filepath.Join(dir, "missing", "db"): fs.ErrNotExist,
		filepath.Join(file, "db"):           syscall.ENOTDIR,
	} {
		if _, err := Open(t.Context(), path, Options{}); !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("open %s: %v; want %v", path, err, want)
		}
	}
	if left := files(t, pipe); !slices.Equal(left, []string{"file", "pipe"}) {
		t.Errorf("files after the refusals: %v", left)
	}
}

// TestOpen_WithoutPermissionIsRefused gives up the rights of root for the thread that it runs on.
func TestOpen_WithoutPermissionIsRefused(t *testing.T) {
	path := newPath(t)
	must(t, open(t, path, Options{}).Close())
	must(t, os.Chmod(path, 0o400))
	must(t, os.Chmod(filepath.Dir(path), 0o777))
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
		}
		_, err = Open(context.Background(), path, Options{})
	}()
	<-done
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("open a file that may not be written: %v", err)
	}
	if left := files(t, path); !slices.Equal(left, []string{"tutela.db", "tutela.db.clean"}) {
		t.Errorf("files after the refusal: %v", left)
	}
}

func TestUpdate_RefusesWhatNoEngineHoldsForItsCallerAlone(t *testing.T) {
	e := open(t, newPath(t), Options{})
	keys := []string{"", strings.Repeat("k", storage.MaxKeyBytes+1), strings.Repeat("k", storage.MaxKeyBytes), "a"}
	var all sync.WaitGroup
	for i, key := range keys {
		all.Go(func() {
			if err := write(e, "row of "+fmt.Sprint(i), "", key, "value"); (err != nil) != (i < 2) {
				t.Errorf("key of %d bytes: %v", len(key), err)
			}
		})
	}
	all.Wait()
	if n := len(content(t, e)); n != 4 {
		t.Errorf("%d rows; want those of two callers, 4", n)
	}
	must(t, e.Healthy())
}

func TestUpdate_InsideAnUpdateIsRefused(t *testing.T) {
	e := open(t, newPath(t), Options{})
	var inner error
	must(t, e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) {
		inner = write(e, "a", "1")
		return nil, nil
	}))
	if !errors.Is(inner, ErrNested) {
		t.Errorf("inner update: %v", inner)
	}
}

func TestUpdate_PanicCarriesTheStackOfItsClosure(t *testing.T) {
	e := open(t, newPath(t), Options{})
	defer func() {
		p, _ := recover().(*Panic)
		if p == nil || p.Value != "boom" || !strings.Contains(p.Error(), "PanicCarriesTheStackOfItsClosure.func") {
			t.Errorf("panic: %v", p)
		}
	}()
	_ = e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) { panic("boom") })
}

func TestUpdate_LogsAClosureThatHoldsUpOthersWithItsCaller(t *testing.T) {
	var log bytes.Buffer
	e := open(t, newPath(t), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	dawdle := func(others int) func(storage.Reader) (*storage.WriteSet, error) {
		return func(storage.Reader) (*storage.WriteSet, error) {
			for begun := time.Now(); time.Since(begun) <= slow || e.queue.len() < others; {
				runtime.Gosched()
			}
			return nil, nil
		}
	}
	must(t, e.Update(t.Context(), dawdle(0)))
	if log.Len() > 0 {
		t.Errorf("nobody was held up, and the log says: %q", log.String())
	}
	var other sync.WaitGroup
	begun := make(chan struct{})
	other.Go(func() {
		<-begun
		must(t, e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) { return nil, nil }))
	})
	must(t, e.Update(t.Context(), func(r storage.Reader) (*storage.WriteSet, error) {
		close(begun)
		return dawdle(1)(r)
	}))
	other.Wait()
	if !strings.Contains(log.String(), "held up others") || !strings.Contains(log.String(), "others=1") || !strings.Contains(log.String(), "at=") {
		t.Errorf("log: %q", log.String())
	}
}

func TestReader_IsDeadAfterItsTransaction(t *testing.T) {
	e := open(t, newPath(t), Options{})
	must(t, write(e, "a", "1"))
	var leaked []storage.Reader
	must(t, e.View(t.Context(), func(r storage.Reader) error {
		leaked = append(leaked, r)
		return nil
	}))
	must(t, e.Update(t.Context(), func(r storage.Reader) (*storage.WriteSet, error) {
		leaked = append(leaked, r)
		return nil, nil
	}))
	for _, r := range leaked {
		if _, err := r.Get([]byte("a")); !errors.Is(err, errEnded) {
			t.Errorf("get: %v", err)
		}
		if err := r.Scan(storage.Range{}, func(_, _ []byte) bool { return true }); !errors.Is(err, errEnded) {
			t.Errorf("scan: %v", err)
		}
	}
}

func TestView_ScanEndsWithItsContext(t *testing.T) {
	e := open(t, newPath(t), Options{})
	fill(t, e, "row", 3*scansPerCheck)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := e.View(ctx, func(r storage.Reader) error {
		return r.Scan(storage.Range{}, func(_, _ []byte) bool {
			seen++
			cancel()
			return true
		})
	})
	if !errors.Is(err, context.Canceled) || seen != scansPerCheck {
		t.Errorf("scan whose context ended: %v after %d rows", err, seen)
	}
}

// TestView_WaitsForTheSyncOfWhatItSees stops a commit where its meta page is written, but nobody was told.
func TestView_WaitsForTheSyncOfWhatItSees(t *testing.T) {
	visible := make(chan struct{})
	sync := make(chan struct{})
	slow := false
	e := open(t, newPath(t), Options{commit: func(tx *bbolt.Tx) error {
		err := tx.Commit()
		if slow {
			close(visible)
			<-sync
		}
		return err
	}})
	must(t, write(e, "a", "old"))
	slow = true
	written := make(chan error, 1)
	go func() { written <- write(e, "a", "new") }()
	<-visible
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan error, 1)
	go func() { cancelled <- e.View(ctx, func(storage.Reader) error { return nil }) }()
	cancel()
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("view of a commit that is not synced: %v", err)
	}
	viewed := make(chan string)
	go func() { viewed <- content(t, e)["a"] }()
	select {
	case got := <-viewed:
		t.Errorf("view showed %q before its sync", got)
	default:
	}
	close(sync)
	if got := <-viewed; got != "new" {
		t.Errorf("view after the sync: %q", got)
	}
	must(t, <-written)
}
