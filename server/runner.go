package server

import (
	"iter"
	"sync"
)

// maxIdleRunners is how many runners wait for the next calls. Each keeps a stack of 16 KiB.
const maxIdleRunners = 128

// runners lend connections the stacks on which their calls run. A goroutine's stack grows to what its deepest call needed,
// 16 KiB through router, decoder and store. Each connection has a goroutine, and would keep that much while it is idle or
// its call waits. With a borrowed stack it keeps 4 KiB (BenchmarkLimits/waits). A connection and its runner switch as
// coroutines do, which costs less than a tenth of a microsecond. Safe for concurrent use.
type runners struct {
	mu     sync.Mutex // guards what is below
	closed bool
	idle   []*runner // the one that ran last at the end: the processor's cache still holds its stack
}

// runner is a goroutine that runs calls, one after the other.
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

// close ends the idle runners now, and each busy one after its call.
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
