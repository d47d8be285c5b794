package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"tutela/storage"
)

// flaky is a bbolt whose commits fail as a test wants, and the time between two tries of the engine to write again.
type flaky struct {
	fail    atomic.Pointer[func(*bbolt.Tx) error]
	waiting chan struct{}  // gets one whenever the engine begins to wait for its next try
	tries   chan time.Time // each instant that is sent lets the engine try once more
}

func newFlaky() *flaky {
	return &flaky{waiting: make(chan struct{}, 100), tries: make(chan time.Time)}
}

func (f *flaky) options() Options {
	return Options{
		commit: func(tx *bbolt.Tx) error {
			if fail := f.fail.Load(); fail != nil {
				return (*fail)(tx)
			}
			return tx.Commit()
		},
		after: func(time.Duration) <-chan time.Time {
			f.waiting <- struct{}{}
			return f.tries
		},
	}
}

// failing lets commits fail, until fine.
func (f *flaky) failing(fail func(*bbolt.Tx) error) { f.fail.Store(&fail) }

func (f *flaky) fine() { f.fail.Store(nil) }

// try lets the engine try once more to write, which it waits to do.
func (f *flaky) try() {
	<-f.waiting
	f.tries <- time.Time{}
}

// tryInVain is try, and waits until that has failed.
func (f *flaky) tryInVain() {
	f.try()
	f.waiting <- <-f.waiting
}

// healed waits until the engine has stopped trying.
func healed(t testing.TB, e *Engine) {
	t.Helper()
	e.healers.Wait()
	must(t, e.Healthy())
}

// The ways that a commit fails, by what they leave in the file.
var (
	diskFull = func(tx *bbolt.Tx) error {
		return errors.Join(tx.Rollback(), &fs.PathError{Op: "write", Path: "data", Err: syscall.ENOSPC})
	}
	beforeTheMetaPage = func(tx *bbolt.Tx) error { return errors.Join(tx.Rollback(), syscall.EIO) }
	afterTheMetaPage  = func(tx *bbolt.Tx) error { return errors.Join(tx.Commit(), syscall.EIO) }
	byAPanic          = func(*bbolt.Tx) error { panic("page 7 already freed") }
)

func TestUpdate_CommitThatIsKnownToHaveFailedIsUnavailable(t *testing.T) {
	for name, fail := range map[string]func(*bbolt.Tx) error{
		"full disk": diskFull, "before the meta page": beforeTheMetaPage, "panic": byAPanic,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlaky()
			e := open(t, newPath(t), f.options())
			must(t, write(e, "a", "1"))
			f.failing(fail)
			for _, err := range failTogether(e) {
				if storage.CodeOf(err) != storage.Unavailable {
					t.Errorf("update: %v", err)
				}
			}
			if err := write(e, "a", "3"); storage.CodeOf(err) != storage.Unavailable {
				t.Errorf("update before the engine can write again: %v", err)
			}
			f.fine()
			f.try()
			healed(t, e)
			if got := content(t, e)["a"]; got != "1" {
				t.Errorf("the value after failed commits: %q", got)
			}
			must(t, write(e, "a", "4"))
		})
	}
}

// The file is read on: what it holds is certain.
func TestView_GoesOnWhileTheDiskIsFull(t *testing.T) {
	f := newFlaky()
	e := open(t, newPath(t), f.options())
	must(t, write(e, "a", "1"))
	f.failing(diskFull)
	if err := write(e, "a", "2"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("update on a full disk: %v", err)
	}
	if err := e.Healthy(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("health on a full disk: %v", err)
	}
	if got := content(t, e)["a"]; got != "1" {
		t.Errorf("value: %q", got)
	}
}

// While the disk is full nobody is kept waiting, and bbolt is asked by the engine's tries alone: each commit of bbolt that
// fails costs it a look at the whole tree.
func TestUpdate_IsRefusedAtOnceWhileTheEngineCannotWrite(t *testing.T) {
	f := newFlaky()
	e := open(t, newPath(t), f.options())
	commits := atomic.Int64{}
	f.failing(func(tx *bbolt.Tx) error {
		commits.Add(1)
		return diskFull(tx)
	})
	for range 1000 {
		if err := write(e, "a", "1"); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("update: %v", err)
		}
	}
	for range 3 {
		f.tryInVain()
	}
	if n := commits.Load(); n != 4 { // the first write, and the tries
		t.Errorf("%d commits were tried", n)
	}
}

// Nobody writes, and the engine becomes healthy all the same.
func TestHealthy_AgainWithoutAWrite(t *testing.T) {
	f := newFlaky()
	e := open(t, newPath(t), f.options())
	fill(t, e, "row", 100)
	before := content(t, e)
	f.failing(diskFull)
	if write(e, "a", "2") == nil {
		t.Error("a commit was to fail")
	}
	f.tryInVain()
	f.tryInVain()
	if err := e.Healthy(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("health on a full disk: %v", err)
	}
	f.fine()
	f.try()
	healed(t, e)
	if !maps.Equal(content(t, e), before) {
		t.Error("the content differs")
	}
}

// A commit whose last sync failed can be seen. Its caller is told that the outcome is unknown, nobody is shown what may
// be gone after a power cut, and whoever asks again is told the truth.
func TestUpdate_CommitThatFailsInItsLastSyncHasAnUnknownOutcome(t *testing.T) {
	f := newFlaky()
	path := newPath(t)
	e := open(t, path, f.options())
	must(t, write(e, "a", "1"))
	f.failing(afterTheMetaPage)
	errs := failTogether(e)
	if storage.CodeOf(errs[0]) != storage.OutcomeUnknown || !errors.Is(errs[0], storage.ErrOutcomeUnknown) || !errors.Is(errs[0], syscall.EIO) {
		t.Errorf("the update that wrote: %v", errs[0])
	}
	for _, err := range errs[1:] {
		if storage.CodeOf(err) != storage.Unavailable {
			t.Errorf("an update that wrote nothing: %v", err)
		}
	}
	if err := write(e, "a", "3"); storage.CodeOf(err) != storage.Unavailable {
		t.Errorf("update afterwards: %v", err)
	}
	// A try that fails in the same way brings what it has made certain into doubt again.
	for range 3 {
		if err := e.View(t.Context(), func(storage.Reader) error { return nil }); storage.CodeOf(err) != storage.Unavailable {
			t.Errorf("view afterwards: %v", err)
		}
		if storage.CodeOf(e.Healthy()) != storage.Unavailable {
			t.Errorf("health afterwards: %v", e.Healthy())
		}
		f.tryInVain()
	}
	f.fine()
	f.try()
	healed(t, e)
	if got := content(t, e)["a"]; got != "2" {
		t.Errorf("who asks again is told %q", got)
	}
	must(t, write(e, "a", "4"))
	must(t, e.Close())
	must(t, Inspect(path))
	if got := content(t, open(t, path, Options{}))["a"]; got != "4" {
		t.Errorf("after a restart: %q", got)
	}
}

// failTogether has a writer, a reader and a closure that fails in one group, and returns their errors. What the latter
// two were told rests on what the first wrote.
func failTogether(e *Engine) []error {
	errs := make([]error, 3)
	var all sync.WaitGroup
	first := make(chan struct{})
	all.Go(func() {
		errs[0] = e.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) {
			close(first)
			for queued := 0; queued < 2; runtime.Gosched() {
				queued = e.queue.len()
			}
			ws := storage.NewWriteSet()
			ws.Put([]byte("a"), []byte("2"))
			return ws, nil
		})
	})
	<-first
	for i, err := range []error{nil, errors.New("refused")} {
		all.Go(func() {
			errs[i+1] = e.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) { return nil, err })
		})
	}
	all.Wait()
	return errs
}

// Readers that began before a commit came into doubt read on, and are waited for before the file is opened anew.
func TestView_ThatBeganBeforeACommitInDoubtReadsOn(t *testing.T) {
	f := newFlaky()
	e := open(t, newPath(t), f.options())
	fill(t, e, "row", 3*scansPerCheck)
	must(t, e.View(t.Context(), func(r storage.Reader) error {
		f.failing(afterTheMetaPage)
		if err := write(e, "another", "row"); storage.CodeOf(err) != storage.OutcomeUnknown {
			t.Errorf("update: %v", err)
		}
		f.fine()
		f.try() // which waits for this view
		rows := 0
		must(t, r.Scan(storage.Range{}, func(_, _ []byte) bool {
			rows++
			return true
		}))
		if rows != 3*scansPerCheck {
			t.Errorf("%d rows", rows)
		}
		return nil
	}))
	healed(t, e)
	if n := len(content(t, e)); n != 3*scansPerCheck+1 {
		t.Errorf("%d rows afterwards", n)
	}
}

// What a commit in doubt freed must not be written over while it may be the older state that is on the disk.
func TestUpdate_AfterACommitInDoubtLeavesAWholeFile(t *testing.T) {
	f := newFlaky()
	path := newPath(t)
	e := open(t, path, f.options())
	fill(t, e, "row", 2000)
	for range 5 {
		f.failing(afterTheMetaPage)
		if err := write(e, "row000100", "changed", "row001900", "changed"); storage.CodeOf(err) != storage.OutcomeUnknown {
			t.Errorf("update: %v", err)
		}
		f.fine()
		f.try()
		healed(t, e)
		overwrite(t, e, "row", 2000, 50, 20)
	}
	must(t, e.Close())
	must(t, Inspect(path))
}

func TestClose_WhileTheEngineCannotWrite(t *testing.T) {
	for name, fail := range map[string]func(*bbolt.Tx) error{"full disk": diskFull, "in doubt": afterTheMetaPage} {
		t.Run(name, func(t *testing.T) {
			f := newFlaky()
			path := newPath(t)
			n := 0
			e := open(t, path, f.options())
			must(t, write(e, "a", "1"))
			f.failing(fail)
			if write(e, "a", "2") == nil {
				t.Error("a commit was to fail")
			}
			must(t, e.Close())
			must(t, open(t, path, walks(&n)).Close())
			if n != 1 {
				t.Errorf("the file was read through %d times", n)
			}
		})
	}
}

// bbolt loses its map of the file when that cannot be made longer, and then begins no transaction any more.
func TestUpdate_ABboltThatBeginsNothingIsOpenedAnew(t *testing.T) {
	f := newFlaky()
	e := open(t, newPath(t), f.options())
	must(t, write(e, "a", "1"))
	must(t, e.file.db.Close())
	if err := write(e, "a", "2"); storage.CodeOf(err) != storage.Unavailable {
		t.Errorf("update: %v", err)
	}
	if storage.CodeOf(e.Healthy()) != storage.Unavailable {
		t.Errorf("health: %v", e.Healthy())
	}
	f.try()
	healed(t, e)
	must(t, write(e, "b", "3"))
	if got := content(t, e); got["a"] != "1" || got["b"] != "3" {
		t.Errorf("content: %v", got)
	}
}

// A bbolt that cannot even roll back holds its locks for ever.
func TestUpdate_ABboltThatIsStuckNeedsARestart(t *testing.T) {
	f := newFlaky()
	path := newPath(t)
	e := open(t, path, f.options())
	must(t, write(e, "a", "1"))
	f.failing(func(tx *bbolt.Tx) error {
		e.file.stuck = true
		return byAPanic(tx)
	})
	if err := write(e, "a", "2"); storage.CodeOf(err) != storage.Unavailable || !strings.Contains(err.Error(), "until a restart") {
		t.Errorf("update: %v", err)
	}
	e.healers.Wait() // nothing is tried
	if err := e.View(t.Context(), func(storage.Reader) error { return nil }); storage.CodeOf(err) != storage.Unavailable {
		t.Errorf("view: %v", err)
	}
	e.file.stuck = false // or the file could not be opened again by this process
	must(t, e.Close())
	if got := content(t, open(t, path, Options{}))["a"]; got != "1" {
		t.Errorf("after a restart: %q", got)
	}
}

// inSmallFileSystem runs test in a process of its own, in a namespace of its own, with a file system of so many MiB.
func inSmallFileSystem(t *testing.T, mebibytes int, test func(dir string)) {
	t.Helper()
	if dir := os.Getenv("TUTELA_TEST_FULL"); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mebibytes)); err != nil {
			t.Fatalf("no mount: %v", err)
		}
		test(dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "TUTELA_TEST_FULL="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) || bytes.Contains(out, []byte("no mount")) {
		t.Skipf("needs a kernel that gives unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone): %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestEngine_SurvivesAFullFileSystem(t *testing.T) {
	inSmallFileSystem(t, 24, func(dir string) { fillFileSystem(t, dir, freeBytes) })
}

// A file system with quotas tells how much room there is for all.
func TestEngine_SurvivesAFullFileSystemThatSaysOtherwise(t *testing.T) {
	inSmallFileSystem(t, 24, func(dir string) {
		fillFileSystem(t, dir, func(string) (int64, error) { return 1 << 40, nil })
	})
}

// fillFileSystem writes until the file system is full, and makes room then.
func fillFileSystem(t *testing.T, dir string, free func(string) (int64, error)) {
	ballast := filepath.Join(dir, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 10<<20), 0o600))
	f := newFlaky()
	path := filepath.Join(dir, "tutela.db")
	o := f.options()
	o.free = free
	e := open(t, path, o)
	acknowledged := 0
	value := strings.Repeat("v", 64<<10)
	for ; ; acknowledged++ {
		if err := write(e, fmt.Sprint(acknowledged), value); err != nil {
			if storage.CodeOf(err) != storage.Unavailable || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("update on a full file system: %v", err)
			}
			break
		}
	}
	if n := len(content(t, e)); n != acknowledged || n < 100 {
		t.Errorf("%d rows; %d were acknowledged", n, acknowledged)
	}
	if _, err := e.Compact(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("compact on a full file system: %v", err)
	}
	must(t, os.Remove(ballast))
	f.try()
	healed(t, e)
	must(t, write(e, "small", "1"))
	must(t, write(e, "large", value))
	must(t, e.Close())
	must(t, Inspect(path))
}

// Whoever writes while the data file is compacted on a small disk never finds it full.
func TestCompact_OnASmallDiskIsInNobodysWay(t *testing.T) {
	inSmallFileSystem(t, 80, func(dir string) {
		var e *Engine
		ballast := filepath.Join(dir, "ballast")
		pieces := 0
		e = open(t, filepath.Join(dir, "tutela.db"), Options{reserve: 8 << 20, step: func(step string) {
			if step != "piece" {
				return
			}
			if pieces++; pieces == 2 { // the room goes to somebody else
				free, err := freeBytes(dir)
				must(t, err)
				must(t, os.WriteFile(ballast, make([]byte, free-11<<20), 0o600))
			}
			overwrite(t, e, "row", 40_000, 100, 10)
		}})
		for i := range 8 {
			fillFrom(t, e, "row", 5000*i, 5000)
		}
		removeAll(t, e, "row", 10_000)
		if _, err := e.Compact(t.Context()); !errors.Is(err, ErrNoRoom) || pieces < 2 {
			t.Errorf("compact after %d pieces: %v", pieces, err)
		}
		if _, err := e.Compact(t.Context()); !errors.Is(err, ErrNoRoom) {
			t.Errorf("compact without room: %v", err)
		}
		must(t, os.Remove(ballast))
		must(t, write(e, "a", "1"))
		if left := files(t, e.path); len(left) != 2 {
			t.Errorf("files: %v", left)
		}
	})
}
