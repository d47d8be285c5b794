package server

import (
	"iter"
	"sync"
)

// maxIdleRunners is how many runners are kept for the calls to come. Each keeps a stack of 16 KiB.
const maxIdleRunners = 128

// runners run calls on stacks that they lend: a goroutine's stack grows to what its deepest call needed, 16 KiB through
// router, decoder and store, and a connection has a goroutine of its own. On its own stack a connection would keep that
// while it is idle or its call waits; so it keeps 4 KiB (BenchmarkLimits/waits). A connection and its runner switch as
// coroutines do, which costs less than a tenth of a microsecond. Safe for concurrent use.
type runners struct {
	mu     sync.Mutex // guards what is below
	closed bool
	idle   []*runner // the one that ran last, whose stack the processor's cache still holds, at the end
}

// runner is a goroutine that runs one call after the other.
type runner struct {
	call *Call
	next func() (struct{}, bool) // runs call, and returns when it has run
	stop func()                  // ends the goroutine
}

// run runs one call until it is answered or has to wait.
func (r *runners) run(call *Call) {
	one := r.take()
	one.call = call
	one.next()
	one.call = nil
	r.giveBack(one)
}

func (r *runners) take() *runner {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.idle); n > 0 {
		one := r.idle[n-1]
		r.idle = r.idle[:n-1]
		return one
	}
	return newRunner()
}

func (r *runners) giveBack(one *runner) {
	r.mu.Lock()
	keep := !r.closed && len(r.idle) < maxIdleRunners
	if keep {
		r.idle = append(r.idle, one)
	}
	r.mu.Unlock()
	if !keep {
		one.stop()
	}
}

// close ends the idle runners, and each other when it has run.
func (r *runners) close() {
	r.mu.Lock()
	idle := r.idle
	r.idle = nil
	r.closed = true
	r.mu.Unlock()
	for _, one := range idle {
		one.stop()
	}
}

func newRunner() *runner {
	one := &runner{}
	one.next, one.stop = iter.Pull(func(yield func(struct{}) bool) {
		for one.call.advance(); yield(struct{}{}); one.call.advance() {
		}
	})
	return one
}
