package storagetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"tutela/storage"
)

// fillMany writes more rows than a Peek reads at a time, and returns their keys.
func fillMany(t *testing.T, e storage.Engine) (keys []string) {
	must(t, update(t.Context(), e, func(_ storage.Reader, ws *storage.WriteSet) error {
		keys = nil
		for i := range 3000 {
			key := fmt.Sprintf("%06d", 2*i)
			keys = append(keys, key)
			ws.Put([]byte(key), make([]byte, 300))
		}
		return nil
	}))
	return keys
}

func peekKeys(t *testing.T, e storage.Engine, r storage.Range) (keys []string) {
	must(t, e.Peek(t.Context(), r, func(key, value []byte) bool {
		equal(t, "length of a value", len(value), 300)
		keys = append(keys, string(key))
		return true
	}))
	return keys
}

func testPeekOnce(t *testing.T, e storage.Engine) {
	keys := fillMany(t, e)
	if got := peekKeys(t, e, storage.Range{}); !slices.Equal(got, keys) {
		t.Errorf("peek upwards showed %d keys of %d, or in another order", len(got), len(keys))
	}
	within := storage.Range{From: []byte(keys[10]), To: []byte(keys[2900])}
	if got := peekKeys(t, e, within); !slices.Equal(got, keys[10:2900]) {
		t.Errorf("peek of a range showed %d keys of 2890, or in another order", len(got))
	}
	slices.Reverse(keys)
	if got := peekKeys(t, e, storage.Range{Reverse: true}); !slices.Equal(got, keys) {
		t.Errorf("peek downwards showed %d keys of %d, or in another order", len(got), len(keys))
	}
}

// testPeekUnderWriters inserts and removes keys between those that stay.
func testPeekUnderWriters(t *testing.T, e storage.Engine) {
	keys := fillMany(t, e)
	done := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := w; ; i += 4 {
				select {
				case <-done:
					return
				default:
				}
				key := fmt.Sprintf("%06d", 2*(i%3000)+1)
				must(t, write(t, e, key, string(make([]byte, 300))))
				must(t, remove(t, e, key))
			}
		})
	}
	for i := range 10 {
		seen := map[string]int{}
		for _, key := range peekKeys(t, e, storage.Range{Reverse: i%2 == 1}) {
			seen[key]++
		}
		for _, key := range keys {
			equal(t, "times that a key that is there throughout was seen", seen[key], 1)
		}
		for key, n := range seen {
			if n > 1 {
				t.Errorf("key %s was seen %d times", key, n)
			}
		}
	}
	close(done)
	writers.Wait()
}

func testPeekCallsEngine(t *testing.T, e storage.Engine) {
	keys := fillMany(t, e)
	var kept [][]byte
	must(t, e.Peek(t.Context(), storage.Range{}, func(key, _ []byte) bool {
		kept = append(kept, key)
		if len(kept)%100 == 0 {
			must(t, remove(t, e, string(key)))
			equal(t, "value of a key removed while peeking", read(t, e, string(key)), missing)
		}
		return true
	}))
	equal(t, "keys seen", len(kept), len(keys))
	for i, key := range kept {
		if string(key) != keys[i] {
			t.Fatalf("the key kept of row %d changed to %q", i, key)
		}
	}
}

func testPeekStops(t *testing.T, e storage.Engine) {
	fillMany(t, e)
	seen := 0
	must(t, e.Peek(t.Context(), storage.Range{}, func(_, _ []byte) bool {
		seen++
		return seen < 1000
	}))
	equal(t, "keys seen by a peek that stops at 1000", seen, 1000)
}

func testClose(t *testing.T, e storage.Engine) {
	must(t, write(t, e, "a", "1"))
	must(t, e.Close())
	must(t, e.Close())
	for name, err := range map[string]error{
		"Update": write(t, e, "a", "2"),
		"View":   e.View(t.Context(), func(storage.Reader) error { return nil }),
		"Peek":   e.Peek(t.Context(), storage.Range{}, func(_, _ []byte) bool { return true }),
	} {
		if storage.CodeOf(err) != storage.Unavailable {
			t.Errorf("%s after Close: %v; want Unavailable", name, err)
		}
	}
}

// testCloseWaits closes while a transaction runs and others wait: each has been written or refused, never neither.
func testCloseWaits(t *testing.T, e storage.Engine) {
	if chaos, ok := e.(*ChaosEngine); ok {
		e = chaos.Engine // its run before the engine takes the closure would be mistaken for the taking
	}
	entered := make(chan struct{})
	leave := make(chan struct{})
	var once sync.Once
	var all sync.WaitGroup
	all.Go(func() {
		must(t, update(t.Context(), e, func(_ storage.Reader, ws *storage.WriteSet) error {
			once.Do(func() { close(entered) })
			<-leave
			ws.Put([]byte("taken"), nil)
			return nil
		}))
	})
	<-entered
	for i := range 16 {
		all.Go(func() {
			if err := write(t, e, fmt.Sprint(i), ""); err != nil && storage.CodeOf(err) != storage.Unavailable {
				t.Errorf("update while the engine closes: %v", err)
			}
		})
	}
	all.Go(func() { must(t, e.Close()) })
	close(leave)
	all.Wait()
}
