// Package bolt is the embedded engine: one data file of bbolt, one writer that commits in groups.
//
// What always holds, and who keeps it so:
//
//   - Nothing is acknowledged, and no reader sees a commit, before bbolt has synced it: the writer answers a group
//     after its commit returned ([Engine.Update]), and a reader that meets a commit whose sync is still on its way
//     waits for it (data.settled).
//   - Transactions run one after the other on the writer's goroutine, so they are isolated by construction. A closure's
//     result, even an error, may depend on what earlier closures of its group wrote. So when the commit fails, every
//     caller of the group gets the failure.
//   - The file holds what callers were told. After a failed commit nothing is written until a commit has succeeded
//     again. While it is in doubt whether the failed one was kept, nothing is read either: see fault.go.
//   - The data file is whole at every instant: bbolt writes its pages beside the old ones and then one meta page;
//     a new file and a compacted one are built under another name, synced, and renamed.
//   - bbolt opens only a file that [Inspect] has checked, or that was stopped cleanly (mark.go). bbolt trusts what it
//     reads through its memory map: a damaged file would end the process with a panic that nobody can recover.
//   - One process has the file: lock.go.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"tutela/storage"
	"tutela/storage/meter"
)

// Errors of opening a data file; each message names the file and what to do. A file that is not tutela's at all is
// [storage.ErrForeign].
var (
	ErrInUse   = storage.NewError(storage.Conflict, "the data file is in use by another process")
	ErrDamaged = storage.NewError(storage.Invalid, "the data file is damaged")
)

// ErrNested reports an Update that was called from inside the closure of another one: it would wait for itself.
var ErrNested = errors.New("update called inside a transaction, which it would wait for")

// Options says how to open a data file. The zero value is right for production.
type Options struct {
	Logger *slog.Logger // default: slog.Default()
	Meter  *meter.Set   // this server's figures; nil: nothing is counted

	commit  func(*bbolt.Tx) error                // default: (*bbolt.Tx).Commit; tests let it fail
	after   func(time.Duration) <-chan time.Time // default: time.After; tests own the time between two tries to write
	step    func(name string)                    // called at the steps of building a file; tests look at the disk there
	free    func(folder string) (int64, error)   // how many bytes can be written there; default: freeBytes
	reserve int64                                // default: ReserveBytes
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.commit == nil {
		o.commit = (*bbolt.Tx).Commit
	}
	if o.after == nil {
		o.after = time.After
	}
	if o.step == nil {
		o.step = func(string) {}
	}
	if o.free == nil {
		o.free = freeBytes
	}
	if o.reserve == 0 {
		o.reserve = ReserveBytes
	}
	return o
}

// Engine is an open data file: a [storage.Engine], [storage.Copier] and [storage.Compacter]. Safe for concurrent use.
type Engine struct {
	path    string // of the data file, links resolved
	options Options
	lock    *fileLock

	queue   queue
	running atomic.Bool // a closure is being run
	stopped chan struct{}
	fault   atomic.Pointer[fault]
	healers sync.WaitGroup // the goroutine that tries whether the engine can write again: one at most

	committing sync.Mutex // held from the beginning of a group to its end; a build holds it to pause the writer

	swap sync.RWMutex // guards file; held only to look at it and begin a transaction
	file *data        // nil when closed, and while settle reopens it

	compacting sync.Mutex
	building   chan struct{}           // holds one while a build runs
	changed    atomic.Pointer[changes] // of the build that runs, or nil
	pins       sync.Map                // the snapshots (*pin) that the writer gives up when the file grows
	closing    context.Context         // ends when Close is called: what takes long stops then
	close      context.CancelFunc
	retired    sync.WaitGroup // data files that were replaced, and whose last reader is not done
}

// Open opens the data file at path, or makes a new one, and removes what a crash left beside it. When path is a link the
// data file is what it names ([RealPath]).
//
// Every error is one line for the operator, and leaves an existing file as it is: [ErrInUse] with the other
// process's number, [ErrDamaged] with what is wrong and where, [storage.ErrForeign], and the plain errors of the
// file system (a folder, no permission).
func Open(ctx context.Context, path string, o Options) (*Engine, error) {
	o = o.withDefaults()
	path, err := RealPath(path)
	if err != nil {
		return nil, err
	}
	lock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	file, err := openOrCreate(ctx, path, o)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	e := &Engine{
		path:    path,
		options: o,
		lock:    lock,
		file:    file,
		stopped: make(chan struct{}),
	}
	e.closing, e.close = context.WithCancel(context.Background())
	e.queue.wake = make(chan struct{}, 1)
	e.building = make(chan struct{}, 1)
	e.provide()
	go e.write(nil)
	return e, nil
}

// View runs fn on a bbolt snapshot. The writer goes on meanwhile, but cannot use the pages again that it frees: a
// long View lets the file grow.
//
// Errors: those of fn; ctx's, which also end a scan; Unavailable.
func (e *Engine) View(ctx context.Context, fn func(storage.Reader) error) error {
	tx, _, err := e.begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // ends a read transaction, which cannot fail
	r := &reader{bucket: tx.Bucket(bucketName), ctx: ctx}
	defer r.end()
	return fn(r)
}

// begin starts a read transaction on the newest commit, and returns when that commit is durable.
func (e *Engine) begin(ctx context.Context) (*bbolt.Tx, *data, error) {
	tx, file, err := e.beginNow(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := file.settled(ctx, tx.ID()); err != nil {
		return nil, nil, errors.Join(err, tx.Rollback())
	}
	if err := e.readable(); err != nil {
		return nil, nil, errors.Join(err, tx.Rollback())
	}
	return tx, file, nil
}

// beginNow starts a read transaction on the newest commit, whose sync may still be on its way.
func (e *Engine) beginNow(ctx context.Context) (*bbolt.Tx, *data, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if err := e.readable(); err != nil {
		return nil, nil, err
	}
	e.swap.RLock()
	defer e.swap.RUnlock()
	if e.file == nil {
		return nil, nil, e.noFile()
	}
	tx, err := e.file.db.Begin(false)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	return tx, e.file, nil
}

// noFile returns the error that explains why there is no open data file.
func (e *Engine) noFile() error {
	if err := e.readable(); err != nil {
		return err
	}
	return errClosed
}

// Shards is 1: with a single writer, appends cannot conflict, and each further shard would be one more page to write in
// every group.
func (e *Engine) Shards() int { return 1 }

// Folder is the folder that the data file lies in, which is not that of a link to it.
func (e *Engine) Folder() string { return filepath.Dir(e.path) }

// Close refuses what is queued, waits for the closures that were taken, ends a Compact, waits for readers, and
// closes the file. A second Close does nothing. Not to be called inside a transaction.
func (e *Engine) Close() error {
	if !e.queue.close() {
		<-e.stopped
		return nil
	}
	e.close()
	<-e.stopped
	e.building <- struct{}{} // the build that runs, if any, ends with closing
	e.healers.Wait()
	e.swap.Lock()
	file := e.file
	e.file = nil
	e.swap.Unlock()
	err := e.stop(file)
	e.retired.Wait()
	if err := errors.Join(err, e.lock.release()); err != nil {
		return fmt.Errorf("close %s: %w", e.path, err)
	}
	return nil
}

// stop writes the list of free pages into the data file, closes it, and writes the mark of a clean stop beside it. If
// either cannot be written, only the next start takes longer.
func (e *Engine) stop(file *data) error {
	if file == nil { // closed by settle
		return nil
	}
	if e.fault.Load() != nil {
		return file.close()
	}
	err := file.keepFreelist()
	if err := file.close(); err != nil {
		return err
	}
	if err == nil {
		err = writeMark(e.path)
	}
	if err != nil {
		e.options.Logger.Warn("the next start takes longer: the data file could not be marked as stopped cleanly", "err", err)
	}
	return nil
}

var errClosed = storage.ErrUnavailable.With("the store is closed")

// unavailable wraps an error of bbolt or of the file system, which says nothing to a caller of tutela.
func unavailable(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return errClosed
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}
