package bolt

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"tutela/storage"
)

// The states of a call. Whoever moves it out of queued owns what becomes of it: the writer, or the caller whose
// context ended.
const (
	queued int32 = iota
	taken
	abandoned
)

// call is one pending Update. The writer owns its results until done is closed, afterwards the caller does.
type call struct {
	fn    func(storage.Reader) (*storage.WriteSet, error)
	state atomic.Int32
	done  chan struct{}

	writes   *storage.WriteSet // what fn returned; nil unless it succeeded
	err      error
	panicked *Panic        // fn panicked
	exited   bool          // fn ended its goroutine
	took     time.Duration // how long fn held the writer
	heldUp   int           // how many calls waited meanwhile, when that was long
}

// Panic is the value of the panic that Update raises when its closure panicked. It holds the closure's value and the
// stack of the writer's goroutine, which the caller's stack does not show.
type Panic struct {
	Value any
	Stack []byte
}

// Error returns the value and the stack, so that a printed panic shows where it came from.
func (p *Panic) Error() string { return fmt.Sprint(p.Value) + "\n\n" + string(p.Stack) }

// Unwrap returns the value when it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// finish returns the result of the call, or raises its panic, on the caller's goroutine.
func (c *call) finish() error {
	switch {
	case c.panicked != nil:
		panic(c.panicked) //nolint:forbidigo // the closure's own, raised in its caller as storage.Engine promises
	case c.exited:
		runtime.Goexit()
	}
	return c.err
}

// queue holds the calls that wait for the writer.
type queue struct {
	mu     sync.Mutex
	calls  []*call
	closed bool
	wake   chan struct{} // holds one: calls is not empty, or closed
}

// add puts c at the end, and reports whether the queue is open.
func (q *queue) add(c *call) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.calls = append(q.calls, c)
	if len(q.calls) == 1 {
		q.signal()
	}
	return true
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take appends up to n calls to into, the oldest first.
func (q *queue) take(into []*call, n int) []*call {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.calls))
	into = append(into, q.calls[:n]...)
	rest := copy(q.calls, q.calls[n:])
	clear(q.calls[rest:])
	q.calls = q.calls[:rest]
	return into
}

// len is how many calls wait to be taken.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.calls)
}

// wait waits until there is a call to take, and returns true. It returns false when the queue is closed.
func (q *queue) wait() bool {
	for {
		q.mu.Lock()
		n := len(q.calls)
		closed := q.closed
		q.mu.Unlock()
		if closed || n > 0 {
			return !closed
		}
		<-q.wake
	}
}

// close refuses all queued and all further calls. It reports whether the queue was open.
func (q *queue) close() bool {
	q.mu.Lock()
	calls := q.calls
	first := !q.closed
	q.calls = nil
	q.closed = true
	q.signal()
	q.mu.Unlock()
	for _, c := range calls {
		if c.state.CompareAndSwap(queued, taken) {
			c.err = errClosed
			close(c.done)
		}
	}
	return first
}
