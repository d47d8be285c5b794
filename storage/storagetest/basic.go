package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"tutela/storage"
)

func testEmptyAndMissing(t *testing.T, e storage.Engine) {
	must(t, write(t, e, "empty", ""))
	must(t, update(t.Context(), e, func(_ storage.Reader, ws *storage.WriteSet) error {
		ws.Put([]byte("nil"), nil)
		return nil
	}))
	must(t, e.View(t.Context(), func(r storage.Reader) error {
		for _, key := range []string{"empty", "nil"} {
			if value, err := r.Get([]byte(key)); err != nil || value == nil || len(value) > 0 {
				t.Errorf("value of %q: %#v, %v; want empty, not nil", key, value, err)
			}
		}
		if value, err := r.Get([]byte("missing")); err != nil || value != nil {
			t.Errorf("value of a missing key: %#v, %v; want nil", value, err)
		}
		return nil
	}))
	equal(t, "content", content(t, e), []pair{{"empty", ""}, {"nil", ""}})
}

func testLastOperationCounts(t *testing.T, e storage.Engine) {
	must(t, write(t, e, "a", "old", "b", "old"))
	must(t, update(t.Context(), e, func(r storage.Reader, ws *storage.WriteSet) error {
		ws.Put([]byte("a"), []byte("new"))
		ws.Delete([]byte("a"))
		ws.Delete([]byte("b"))
		ws.Put([]byte("b"), []byte("new"))
		ws.Put([]byte("c"), []byte("first"))
		ws.Put([]byte("c"), []byte("second"))
		value, err := get(r, "b")
		equal(t, "what the transaction reads of its own write", value, "old")
		return err
	}))
	equal(t, "content", content(t, e), []pair{{"b", "new"}, {"c", "second"}})
}

func testDeleteMissing(t *testing.T, e storage.Engine) {
	must(t, write(t, e, "a", "1"))
	must(t, remove(t, e, "b", "0"))
	equal(t, "content", content(t, e), []pair{{"a", "1"}})
}

func testNothingWritten(t *testing.T, e storage.Engine) {
	must(t, update(t.Context(), e, func(storage.Reader, *storage.WriteSet) error { return nil }))
	must(t, e.Update(t.Context(), func(storage.Reader) (*storage.WriteSet, error) { return nil, nil }))
	equal(t, "content", len(content(t, e)), 0)
}

func testLarge(t *testing.T, e storage.Engine) {
	sizes := []int{1, 4000, 64 << 10, 1 << 20}
	values := make([][]byte, len(sizes))
	key := func(i int) string { return strings.Repeat("k", 1+i*300) }
	var all sync.WaitGroup
	for i, size := range sizes {
		values[i] = random(size)
		all.Go(func() { must(t, write(t, e, key(i), string(values[i]))) })
	}
	all.Wait()
	for i := range sizes {
		if got := read(t, e, key(i)); got != string(values[i]) {
			t.Errorf("value of %d bytes came back as %d bytes, or different", sizes[i], len(got))
		}
	}
	must(t, remove(t, e, key(3)))
	equal(t, "the value of 1 MiB after its deletion", read(t, e, key(3)), missing)
}

// testLongestKeys writes, reads, scans and deletes keys of exactly the largest size, which differ in their last byte alone,
// and keys and values of every byte, among them 0, which is no text to some databases.
func testLongestKeys(t *testing.T, e storage.Engine) {
	var every []byte
	for b := range 256 {
		every = append(every, byte(b))
	}
	var pairs []pair
	owner := string(make([]byte, len(storage.UID{}))) // the house: a key may look like a row's, and no two users' rows go together
	for b := range every {
		one := string(every[b : b+1])
		pairs = append(pairs,
			pair{one, one + `{"name":"\u0000"}` + "\x00"},
			pair{one + owner + string(random(storage.MaxKeyBytes-len(owner)-2)) + one, string(every)},
			pair{strings.Repeat("\x7f", storage.MaxKeyBytes-1) + one, one})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	var flat []string
	for _, p := range pairs {
		flat = append(flat, p.key, p.value)
	}
	must(t, write(t, e, flat...))
	if !slices.Equal(content(t, e), pairs) {
		t.Error("a scan shows other keys or values than were written")
	}
	for i, p := range pairs {
		if got := read(t, e, p.key); got != p.value {
			t.Errorf("key of %d bytes: read %q, want %q", len(p.key), got, p.value)
		}
		if i%2 == 0 {
			must(t, remove(t, e, p.key))
		}
	}
	left := pairs[:0]
	for i, p := range pairs {
		if i%2 == 1 {
			left = append(left, p)
		}
	}
	if !slices.Equal(content(t, e), left) {
		t.Error("a scan shows other keys than those that were not deleted")
	}
}

// testGetMany reads keys that are there, twice, empty, and not there, in an order of the caller's.
func testGetMany(t *testing.T, e storage.Engine) {
	must(t, write(t, e, "a", "1", "b", "", "c", "3", "d", "4"))
	must(t, remove(t, e, "d"))
	keys := [][]byte{[]byte("c"), []byte("missing"), []byte("a"), []byte("b"), []byte("d"), []byte("c")}
	many := func(r storage.Reader) error {
		values, err := r.GetMany(keys)
		if err != nil {
			return err
		}
		equal(t, "values", len(values), len(keys))
		for i, key := range keys {
			one, err := r.Get(key)
			if err != nil || (one == nil) != (values[i] == nil) || !bytes.Equal(one, values[i]) {
				t.Errorf("value of %q: %#v among many, %#v alone, %v", key, values[i], one, err)
			}
		}
		none, err := r.GetMany(nil)
		equal(t, "values of no keys", len(none), 0)
		return err
	}
	must(t, e.View(t.Context(), many))
	must(t, update(t.Context(), e, func(r storage.Reader, _ *storage.WriteSet) error { return many(r) }))
}

func testRanges(t *testing.T, e storage.Engine) {
	keys := []string{"\x00", "a", "a\x00", "a\xff", "a\xff\xff", "b", "ba", "c", "\xff", "\xff\xff", "\xff\xff\x01"}
	for _, key := range keys {
		must(t, write(t, e, key, "of "+key))
	}
	slices.Sort(keys)
	bounds := append([]string{""}, keys...)
	ranges := []storage.Range{{}, storage.Prefix(nil), {To: []byte{}}, {From: []byte("b"), To: []byte("a")}}
	for _, from := range append(bounds, "aa", "zz", "\xff\xff\xff") {
		ranges = append(ranges, storage.Range{From: []byte(from)}, storage.Prefix([]byte(from)))
		for _, to := range append(bounds, "ab", "\xff\xff\xff") {
			ranges = append(ranges, storage.Range{From: []byte(from), To: []byte(to)})
		}
	}
	must(t, e.View(t.Context(), func(r storage.Reader) error {
		for _, in := range ranges {
			for _, in.Reverse = range []bool{false, true} {
				got, err := scan(r, in)
				if err != nil {
					return err
				}
				equal(t, fmt.Sprintf("scan of %+v", in), got, expected(keys, in))
			}
		}
		return nil
	}))
}

// expected is what a scan of in finds of sorted keys.
func expected(keys []string, in storage.Range) (pairs []pair) {
	for _, key := range keys {
		if in.Contains([]byte(key)) {
			pairs = append(pairs, pair{key, "of " + key})
		}
	}
	if in.Reverse {
		slices.Reverse(pairs)
	}
	return pairs
}

func testScanStops(t *testing.T, e storage.Engine) {
	must(t, write(t, e, "a", "", "b", "", "c", ""))
	for _, reverse := range []bool{false, true} {
		seen := 0
		must(t, e.View(t.Context(), func(r storage.Reader) error {
			return r.Scan(storage.Range{Reverse: reverse}, func(_, _ []byte) bool {
				seen++
				return seen < 2
			})
		}))
		equal(t, "keys seen by a scan that stops at the second", seen, 2)
	}
}

// testScanAfterDelete empties whole pages and scans over them, with both perhaps in one commit.
func testScanAfterDelete(t *testing.T, e storage.Engine) {
	fill := func() {
		must(t, update(t.Context(), e, func(_ storage.Reader, ws *storage.WriteSet) error {
			for i := range 1000 {
				ws.Put(fmt.Appendf(nil, "%04d", i), make([]byte, 100))
			}
			return nil
		}))
	}
	for _, kept := range [][2]int{{1000, 1000}, {0, 1}, {500, 501}, {999, 1000}} {
		fill()
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				if i == 8 {
					must(t, update(t.Context(), e, func(_ storage.Reader, ws *storage.WriteSet) error {
						for i := range 1000 {
							if i < kept[0] || i >= kept[1] {
								ws.Delete(fmt.Appendf(nil, "%04d", i))
							}
						}
						return nil
					}))
				}
				must(t, update(t.Context(), e, func(r storage.Reader, _ *storage.WriteSet) error {
					return sameBothWays(r, kept[1]-kept[0])
				}))
			})
		}
		all.Wait()
		equal(t, "keys that are left", len(content(t, e)), kept[1]-kept[0])
	}
}

// sameBothWays scans in both directions, and expects all 1000 keys or those that are left.
func sameBothWays(r storage.Reader, left int) error {
	up, err := scan(r, storage.Range{})
	if err != nil {
		return err
	}
	down, err := scan(r, storage.Range{Reverse: true})
	if err != nil {
		return err
	}
	below, err := scan(r, storage.Range{To: []byte("0999"), Reverse: true})
	if err != nil {
		return err
	}
	slices.Reverse(down)
	if !slices.Equal(up, down) || len(up) != 1000 && len(up) != left || len(below) < len(up)-1 {
		return fmt.Errorf("%d keys upwards, %d downwards, %d below the last", len(up), len(down), len(below))
	}
	return nil
}

func testRollback(t *testing.T, e storage.Engine) {
	must(t, write(t, e, "a", "1"))
	err := update(t.Context(), e, func(_ storage.Reader, ws *storage.WriteSet) error {
		ws.Put([]byte("a"), []byte("2"))
		ws.Put([]byte("b"), []byte("2"))
		return fmt.Errorf("wrapped: %w", errRefused)
	})
	if err == nil || err.Error() != "wrapped: "+errRefused.Error() {
		t.Errorf("error of the closure came back as %v", err)
	}
	equal(t, "content", content(t, e), []pair{{"a", "1"}})
}

func testRollbackAlone(t *testing.T, e storage.Engine) {
	const callers = 200
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			err := update(t.Context(), e, func(r storage.Reader, ws *storage.WriteSet) error {
				if err := addOne(r, ws, "counter"); err != nil {
					return err
				}
				ws.Put(fmt.Appendf(nil, "caller %d", i), nil)
				if i%3 == 0 {
					return errRefused
				}
				return nil
			})
			if (i%3 == 0) != errors.Is(err, errRefused) {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	all.Wait()
	equal(t, "counter", count(t, e, "counter"), callers*2/3)
	equal(t, "rows", len(content(t, e)), callers*2/3+1)
}

func testPanic(t *testing.T, e storage.Engine) {
	boom := fmt.Errorf("boom: %w", errRefused)
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			raised := func() (p any) {
				defer func() { p = recover() }()
				must(t, update(t.Context(), e, func(r storage.Reader, ws *storage.WriteSet) error {
					if err := addOne(r, ws, "counter"); err != nil {
						return err
					}
					switch i % 3 {
					case 0:
						panic(boom)
					case 1:
						panic("boom")
					}
					return nil
				}))
				return nil
			}()
			checkRaised(t, i%3, raised, boom)
		})
	}
	all.Wait()
	equal(t, "counter", count(t, e, "counter"), 20)
}

// checkRaised sees that the panic of the closure arrived, bare or wrapped.
func checkRaised(t *testing.T, kind int, raised any, boom error) {
	switch {
	case kind == 2:
		equal(t, "panic", raised, nil)
	case raised == nil || !strings.Contains(fmt.Sprint(raised), "boom"):
		t.Errorf("panic of the closure arrived as %v", raised)
	case kind == 0:
		if err, _ := raised.(error); !errors.Is(err, boom) {
			t.Errorf("panic with an error arrived without it: %v", raised)
		}
	}
}

func testGoexit(t *testing.T, e storage.Engine) {
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			must(t, update(t.Context(), e, func(r storage.Reader, ws *storage.WriteSet) error {
				if err := addOne(r, ws, "counter"); err != nil {
					return err
				}
				if i%3 == 0 {
					runtime.Goexit() // as t.FailNow does
				}
				return nil
			}))
			if i%3 == 0 {
				t.Error("Update returned, but its closure ended the goroutine")
			}
		})
	}
	all.Wait()
	equal(t, "counter", count(t, e, "counter"), 20)
}

func testShards(t *testing.T, e storage.Engine) {
	n := e.Shards()
	if n < 1 || n > 256 || n != e.Shards() {
		t.Errorf("shards: %d, then %d; want a constant from 1 to 256", n, e.Shards())
	}
}

// testModel compares the engine, step for step, with a map.
func testModel(t *testing.T, e storage.Engine) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{engine: e, prefix: string(random(8)), rows: map[string]string{}}
		rt.Repeat(map[string]func(*rapid.T){"update": m.update, "scan": m.scan, "get": m.get})
	})
}

// model is what an engine should hold under a prefix.
type model struct {
	engine storage.Engine
	prefix string
	rows   map[string]string
}

var (
	modelKeys   = rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 'a', 'b', 0x7f}), 0, 3, -1)
	modelValues = rapid.SliceOfN(rapid.Byte(), 0, 300)
)

// update puts and deletes, in this order; one in five is refused by its closure.
func (m *model) update(rt *rapid.T) {
	puts := rapid.MapOfN(modelKeys, modelValues, 0, 20).Draw(rt, "puts")
	deletes := rapid.SliceOfN(modelKeys, 0, 20).Draw(rt, "deletes")
	refused := rapid.IntRange(0, 4).Draw(rt, "refused") == 0
	err := update(context.Background(), m.engine, func(_ storage.Reader, ws *storage.WriteSet) error {
		for key, value := range puts {
			ws.Put([]byte(m.prefix+key), value)
		}
		for _, key := range deletes {
			ws.Delete([]byte(m.prefix + key))
		}
		if refused {
			return errRefused
		}
		return nil
	})
	if refused != (err != nil) {
		rt.Fatalf("update: %v", err)
	}
	if refused {
		return
	}
	for key, value := range puts {
		m.rows[m.prefix+key] = string(value)
	}
	for _, key := range deletes {
		delete(m.rows, m.prefix+key)
	}
}

// scan compares a range, as View and as Peek show it.
func (m *model) scan(rt *rapid.T) {
	in := storage.Prefix([]byte(m.prefix))
	if rapid.Bool().Draw(rt, "bounded") {
		in.From = []byte(m.prefix + modelKeys.Draw(rt, "from"))
		in.To = []byte(m.prefix + modelKeys.Draw(rt, "to"))
	}
	in.Reverse = rapid.Bool().Draw(rt, "reverse")
	var viewed, peeked []pair
	err := m.engine.View(context.Background(), func(r storage.Reader) (err error) {
		viewed, err = scan(r, in)
		return err
	})
	if err == nil {
		err = m.engine.Peek(context.Background(), in, func(key, value []byte) bool {
			peeked = append(peeked, pair{string(key), string(value)})
			return true
		})
	}
	want := modelScan(m.rows, in)
	if err != nil || !slices.Equal(viewed, want) || !slices.Equal(peeked, want) {
		rt.Fatalf("scan of %+v: %v, %v, %v; want %v", in, viewed, peeked, err, want)
	}
}

// get compares one row.
func (m *model) get(rt *rapid.T) {
	key := m.prefix + modelKeys.Draw(rt, "key")
	want, known := m.rows[key]
	err := m.engine.View(context.Background(), func(r storage.Reader) error {
		value, err := r.Get([]byte(key))
		if known != (value != nil) || !bytes.Equal(value, []byte(want)) {
			rt.Fatalf("value of %q: %q, want %q", key, value, want)
		}
		return err
	})
	if err != nil {
		rt.Fatal(err)
	}
}

func modelScan(rows map[string]string, in storage.Range) (pairs []pair) {
	for key, value := range rows {
		if in.Contains([]byte(key)) {
			pairs = append(pairs, pair{key, value})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	if in.Reverse {
		slices.Reverse(pairs)
	}
	return pairs
}
