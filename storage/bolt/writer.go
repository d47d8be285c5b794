package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"tutela/storage"
)

const (
	// maxGroup and maxGroupBytes bound a group: how long its first caller waits for the last, and the memory that
	// bbolt needs for the pages of one commit.
	maxGroup      = 1024
	maxGroupBytes = 16 << 20

	// takeAtOnce is how many calls are taken from the queue at a time; the bounds are checked in between.
	takeAtOnce = 64

	// stepsBack is how often the writer lets others run before it closes a group.
	stepsBack = 2

	// slow is how long a closure may hold the writer, and so all other writers, before it is logged. On a busy
	// machine any closure may take longer now and then, so it is logged only when other calls had to wait.
	slow = 2 * time.Millisecond
)

// Update hands fn to the writer and waits until its group is committed and synced.
//
// fn runs on the writer's goroutine. When it panics, Update panics with a [*Panic]; when it ends its goroutine
// (t.FailNow), Update ends the caller's. A write set that engines must refuse (an empty key, a key over
// [storage.MaxKeyBytes], a value of 2 GiB) is an error for this caller only.
//
// Errors: those of fn; ctx's, when it ended before the writer took fn; Unavailable, with nothing done, when the engine
// cannot write or is closed, or the commit failed before it could be kept; [storage.ErrOutcomeUnknown], when the commit
// failed in its last step: who asks again, once the engine has made certain what the file holds, is told the truth;
// [ErrNested].
func (e *Engine) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.Healthy(); err != nil {
		return err
	}
	if e.running.Load() && onWriter() {
		return ErrNested
	}
	c := &call{fn: fn, done: make(chan struct{})}
	if !e.queue.add(c) {
		return errClosed
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if c.state.CompareAndSwap(queued, abandoned) {
			return ctx.Err()
		}
		<-c.done
	}
	if c.heldUp > 0 {
		e.options.Logger.WarnContext(ctx, "a transaction held up others", "took", c.took, "others", c.heldUp, "at", caller())
	}
	return c.finish()
}

// caller is the file and line that called Update from outside of the storage.
func caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		frame, more := frames.Next()
		inside := strings.HasPrefix(frame.Function, "tutela/storage.") || strings.HasPrefix(frame.Function, "tutela/storage/bolt.")
		if !inside || !more {
			return fmt.Sprintf("%s:%d", frame.File, frame.Line)
		}
	}
}

// onWriter reports whether this goroutine is the writer's: its stack begins with write.
func onWriter() bool {
	pcs := make([]uintptr, 256)
	n := runtime.Callers(2, pcs)
	if n == len(pcs) {
		return false // too deep to tell
	}
	frames := runtime.CallersFrames(pcs[max(0, n-4):n])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "bolt.(*Engine).write") {
			return true
		}
		if !more {
			return false
		}
	}
}

// group holds the calls that share a commit. Only the writer's goroutine uses it.
type group struct {
	file   *data
	tx     *bbolt.Tx // nil when the group was refused before it began
	id     int64     // of tx
	bucket *bbolt.Bucket
	calls  []*call // taken and run, the last one perhaps still running
	batch  []*call // to be run next
	bytes  int     // keys and values of their write sets
	dirty  bool    // something was written
	err    error   // tx cannot be committed
}

// write is the writer: it commits one group after another until the queue is closed. If a closure ends this goroutine
// (runtime.Goexit), a new writer goroutine continues with g.
func (e *Engine) write(g *group) {
	finished := false
	defer func() {
		if !finished {
			go e.write(g)
		}
	}()
	for g != nil || e.queue.wait() {
		if g == nil {
			e.changed.Load().wait()
			e.committing.Lock()
			g = e.newGroup()
		}
		e.fill(g)
		e.commit(g)
		e.committing.Unlock()
		for _, c := range g.calls {
			close(c.done)
		}
		g = nil
	}
	finished = true
	close(e.stopped)
}

// newGroup begins a group, unless the engine cannot write. Its file cannot be swapped or closed until its end.
func (e *Engine) newGroup() *group {
	if err := e.Healthy(); err != nil {
		return &group{err: err}
	}
	return e.beginGroup()
}

// beginGroup begins a group on the data file.
func (e *Engine) beginGroup() *group {
	g := &group{file: e.file, calls: make([]*call, 0, takeAtOnce)}
	tx, err := g.file.db.Begin(true)
	if err != nil {
		g.err = unavailable(err)
		return g
	}
	g.tx = tx
	g.id = int64(tx.ID())
	e.unpin(tx.Size())
	// Its FillPercent stays bbolt's half: fuller pages measured within 5 % of it on both shapes of BenchmarkWrites.
	g.bucket = tx.Bucket(bucketName)
	return g
}

// fill runs the queued closures one after the other, until none is left or a bound is reached. While a group syncs, the
// next one gathers in the queue.
//
// Before it decides that the queue is empty it yields the processor twice, so that callers that are ready to run can
// join the group. On a busy machine groups become larger and commits fewer, which is worth a fifth of all logins
// (BenchmarkLogin in cmd/tutela, 64 callers: 1 250 logins/s without, 1 510 with). On an idle machine it costs nothing.
func (e *Engine) fill(g *group) {
	for {
		for len(g.batch) > 0 {
			c := g.batch[0]
			g.batch = g.batch[1:]
			if c.state.CompareAndSwap(queued, taken) {
				g.calls = append(g.calls, c)
				e.perform(g, c)
			}
		}
		if len(g.calls) >= maxGroup || g.bytes >= maxGroupBytes {
			return
		}
		if g.batch = e.queue.take(g.batch[:0], takeAtOnce); len(g.batch) > 0 {
			continue
		}
		for range stepsBack {
			runtime.Gosched()
		}
		if g.batch = e.queue.take(g.batch[:0], takeAtOnce); len(g.batch) == 0 {
			return
		}
	}
}

// perform runs the closure of c and applies what it wrote.
func (e *Engine) perform(g *group, c *call) {
	if g.err != nil {
		return
	}
	e.run(g, c)
	if c.writes == nil {
		return
	}
	if err := checkWrites(c.writes); err != nil {
		c.writes = nil
		c.err = err
		return
	}
	g.err = g.apply(c.writes)
}

// run runs the closure of c on the group's transaction and stores its outcome in c, even if the closure panics or
// exits.
func (e *Engine) run(g *group, c *call) {
	r := &reader{bucket: g.bucket, writable: true}
	begun := time.Now()
	returned := false
	e.running.Store(true)
	defer func() {
		e.running.Store(false)
		if c.took = time.Since(begun); c.took > slow {
			c.heldUp = len(g.calls) - 1 + len(g.batch) + e.queue.len()
		}
		r.end()
		if returned {
			return
		}
		if p := recover(); p != nil {
			c.panicked = &Panic{Value: p, Stack: debug.Stack()}
		} else {
			c.exited = true
		}
	}()
	writes, err := c.fn(r)
	returned = true
	if c.err = err; err == nil {
		c.writes = writes
	}
}

// checkWrites returns an error for a write set that bbolt would refuse halfway, or that has a key too long for another
// engine (bbolt takes up to 32 KiB).
func checkWrites(ws *storage.WriteSet) error {
	return ws.Each(func(key string, value []byte) error {
		switch {
		case len(key) == 0:
			return errors.New("write set: an empty key")
		case len(key) > storage.MaxKeyBytes:
			return fmt.Errorf("write set: a key of %d bytes; at most %d", len(key), storage.MaxKeyBytes)
		case len(value) > bbolt.MaxValueSize:
			return fmt.Errorf("write set: a value of %d bytes; at most %d", len(value), bbolt.MaxValueSize)
		}
		return nil
	})
}

// apply writes ws to the group's transaction. An error, or a panic of bbolt, spoils the whole transaction.
func (g *group) apply(ws *storage.WriteSet) (err error) {
	defer caught(&err)
	return ws.Each(func(key string, value []byte) error {
		g.dirty = true
		g.bytes += len(key) + len(value)
		return putOrDelete(g.bucket, key, value)
	})
}

// putOrDelete does one operation of a write set.
func putOrDelete(bucket *bbolt.Bucket, key string, value []byte) error {
	if value == nil {
		return bucket.Delete([]byte(key))
	}
	return bucket.Put([]byte(key), value)
}

// errPanicked reports that bbolt panicked, as it does when its pages contradict each other.
var errPanicked = errors.New("bbolt panicked")

// caught turns a panic of bbolt into an error. Use it with defer.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", errPanicked, p)
	}
}

// commit ends the group's transaction. When it fails every call of the group is told so.
func (e *Engine) commit(g *group) {
	if g.err == nil && !g.dirty {
		g.err = rollback(g.tx)
	} else if g.err == nil {
		g.err = e.room(g)
	}
	if g.err == nil && g.dirty {
		began := time.Now()
		defer func() { e.count(g, began) }()
		defer g.file.syncing()()
		if g.err = e.sync(g.tx); g.err == nil {
			g.file.durable.Store(g.id)
			e.fault.Store(nil)
			if changed := e.changed.Load(); changed != nil {
				changed.add(g.calls)
			}
		}
	}
	if g.err != nil {
		e.failed(g)
	}
}

func (e *Engine) sync(tx *bbolt.Tx) (err error) {
	defer caught(&err)
	return e.options.commit(tx)
}

func rollback(tx *bbolt.Tx) (err error) {
	defer caught(&err)
	return tx.Rollback()
}
