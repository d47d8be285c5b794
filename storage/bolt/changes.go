package bolt

import (
	"maps"
	"slices"
	"sync"
)

const (
	// maxChanged is how many bytes of keys, with keyOverhead each, are kept for a build at most. At that the writer
	// waits until the build has caught up: whoever writes then waits a little longer, and nobody fails.
	maxChanged = 8 << 20

	// keyOverhead is what a key in a map costs beside its bytes.
	keyOverhead = 64
)

// changes are the keys that were written while a build copies the store, as far as it has read past them: what lies
// ahead it reads later anyway. Only keys are kept, each once, and no values: the build looks up what a key has become.
// So their number is bounded by what the store holds, and by maxChanged. Safe for concurrent use.
type changes struct {
	mu      sync.Mutex
	keys    map[string]struct{}
	bytes   int
	ahead   []byte        // with partly: keys from here on lie ahead
	partly  bool          // not all keys are kept
	taken   chan struct{} // closed when keys were taken
	ended   bool          // nobody takes any more
	spoiled bool          // a commit failed that may have been kept: its keys are not known
}

func newChanges() *changes {
	return &changes{
		keys:   map[string]struct{}{},
		taken:  make(chan struct{}),
		partly: true,
		ahead:  []byte{},
	}
}

// reading says that a piece is about to be read whose end is not known: all keys are kept until it is.
func (c *changes) reading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partly = false
}

// read says that the store was read up to ahead; nil: to its end.
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

// spoil says that a commit has failed, and may have been kept all the same.
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

// size is how many bytes the keys take that are kept.
func (c *changes) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// take returns the keys in order, which are then the caller's to catch up with.
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

// end lets the writer go on.
func (c *changes) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	close(c.taken)
	c.taken = make(chan struct{})
}

// wait returns when there is room for what another group writes. c may be nil.
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
