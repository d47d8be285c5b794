package bolt

import (
	"maps"
	"slices"
	"sync"
)

const (
	// maxChanged is how many bytes of changed keys (plus keyOverhead for each) are kept for a build. At that bound
	// the writer waits until the build has caught up: callers wait a little longer, and none fails.
	maxChanged = 8 << 20

	// keyOverhead is what a key in a map costs beside its bytes.
	keyOverhead = 64
)

// changes holds the keys that were written during a build, in the part of the store that the build has already read.
// (The rest it reads later anyway.) It keeps each key once, without a value: the build looks up the current value. So
// the set is bounded by the store's keys and by maxChanged. Safe for concurrent use.
type changes struct {
	mu      sync.Mutex
	keys    map[string]struct{}
	bytes   int
	ahead   []byte        // with partly: keys from here on lie ahead
	partly  bool          // not all keys are kept
	taken   chan struct{} // closed when keys were taken
	ended   bool          // the build is over: nobody calls take any more
	spoiled bool          // a failed commit may have been kept, and its keys are not known
}

func newChanges() *changes {
	return &changes{
		keys:   map[string]struct{}{},
		taken:  make(chan struct{}),
		partly: true,
		ahead:  []byte{},
	}
}

// reading is called before a piece is read. Its end is not known yet, so from here on all written keys are kept.
func (c *changes) reading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partly = false
}

// read is called after a piece: the store has been read up to ahead; nil means to its end.
func (c *changes) read(ahead []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = ahead
	c.partly = ahead != nil
	for key := range c.keys {
		if c.partly && key >= string(ahead) {
			c.drop(key)
		}
	}
}

func (c *changes) drop(key string) {
	delete(c.keys, key)
	c.bytes -= len(key) + keyOverhead
}

// add keeps what a group has committed.
func (c *changes) add(calls []*call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range calls {
		if call.writes == nil {
			continue
		}
		_ = call.writes.Each(func(key string, _ []byte) error { // it returns only the function's errors
			if _, known := c.keys[key]; !known && (!c.partly || key < string(c.ahead)) {
				c.keys[key] = struct{}{}
				c.bytes += len(key) + keyOverhead
			}
			return nil
		})
	}
}

// spoil is called when a commit has failed that may have been kept.
func (c *changes) spoil() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spoiled = true
}

func (c *changes) isSpoiled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spoiled
}

// size is how many bytes the kept keys take.
func (c *changes) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// take removes the keys and returns them in order. The caller must copy them.
func (c *changes) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := slices.Sorted(maps.Keys(c.keys))
	clear(c.keys)
	c.bytes = 0
	close(c.taken)
	c.taken = make(chan struct{})
	return keys
}

// end stops the collection of keys and lets the writer go on.
func (c *changes) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	close(c.taken)
	c.taken = make(chan struct{})
}

// wait returns when there is room for the keys of another group. c may be nil.
func (c *changes) wait() {
	for c != nil {
		c.mu.Lock()
		full := c.bytes >= maxChanged && !c.ended
		taken := c.taken
		c.mu.Unlock()
		if !full {
			return
		}
		<-taken
	}
}
