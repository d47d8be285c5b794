package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"

	"tutela/storage"
)

func TestCompact_LeavesNothingThatWasRemovedBefore(t *testing.T) {
	path := newPath(t)
	e := open(t, path, Options{})
	fill(t, e, "planted", 3000)
	fill(t, e, "kept", 1000)
	removeAll(t, e, "planted", 3000)
	before := content(t, e)
	sizes, err := e.Compact(t.Context())
	must(t, err)
	raw, err := os.ReadFile(path)
	must(t, err)
	if bytes.Contains(raw, []byte("planted")) {
		t.Error("the file holds what was removed")
	}
	if sizes.After >= sizes.Before || sizes.After != int64(len(raw)) {
		t.Errorf("sizes %+v; the file has %d", sizes, len(raw))
	}
	must(t, write(e, "another", "row"))
	must(t, e.Close())
	must(t, Inspect(path))
	before["another"] = "row"
	if !maps.Equal(content(t, open(t, path, Options{})), before) {
		t.Error("the content differs")
	}
	if left := files(t, path); !slices.Equal(left, []string{"tutela.db", "tutela.db.lock"}) {
		t.Errorf("files: %v", left)
	}
}

// TestCompact_KeepsWhatIsWrittenMeanwhile compacts again and again under writers and readers. A value that a closure
// read and put elsewhere lies in the map of a file that is closed soon.
func TestCompact_KeepsWhatIsWrittenMeanwhile(t *testing.T) {
	path := newPath(t)
	e := open(t, path, Options{})
	fill(t, e, "row", 5000)
	stop := writeForever(t, e)
	done := make(chan struct{})
	var all sync.WaitGroup
	written := 0
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			must(t, e.Update(t.Context(), func(r storage.Reader) (*storage.WriteSet, error) {
				ws := storage.NewWriteSet()
				value, err := r.Get(fmt.Appendf(nil, "row%06d", written%5000))
				ws.Put(fmt.Appendf(nil, "moved%06d", written), value)
				return ws, err
			}))
			written++
		}
	})
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				checkPairs(t, content(t, e))
			}
		}
	})
	for range 10 {
		if _, err := e.Compact(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(done)
	all.Wait()
	stop()
	live := content(t, e)
	must(t, e.Close())
	stored := content(t, open(t, path, Options{}))
	checkPairs(t, stored)
	if !maps.Equal(live, stored) {
		t.Error("the content after a reopening differs")
	}
	for i := range written {
		if stored[fmt.Sprintf("moved%06d", i)] != stored[fmt.Sprintf("row%06d", i%5000)] {
			t.Fatalf("row %d that was moved differs", i)
		}
	}
}

func TestCompact_CrashAtAnyStepLeavesAWholeFile(t *testing.T) {
	path := newPath(t)
	acknowledged := map[string]string{}
	var e *Engine
	steps := 0
	e = open(t, path, Options{step: func(step string) {
		if e == nil {
			return
		}
		if step == "piece" {
			return
		}
		steps++
		if step == "begun" || step == "filled" {
			must(t, write(e, "at "+step, "1"))
			acknowledged["at "+step] = "1"
		}
		after := copyFolder(t, path)
		crashed := open(t, after, Options{})
		if !maps.Equal(content(t, crashed), acknowledged) {
			t.Errorf("after a crash at %q the content differs", step)
		}
		if left := files(t, after); !slices.Equal(left, []string{"tutela.db", "tutela.db.lock"}) {
			t.Errorf("after a crash at %q: files %v", step, left)
		}
	}})
	fill(t, e, "row", 1000)
	maps.Copy(acknowledged, content(t, e))
	if _, err := e.Compact(t.Context()); err != nil || steps != 4 {
		t.Errorf("compact: %v, with %d steps looked at", err, steps)
	}
	if !maps.Equal(content(t, e), acknowledged) {
		t.Error("the content differs")
	}
}

func TestCompact_SecondAtOnceGetsConflict(t *testing.T) {
	var e *Engine
	var second error
	e = open(t, newPath(t), Options{step: func(step string) {
		if step == "filled" {
			_, second = e.Compact(context.Background())
		}
	}})
	if _, err := e.Compact(t.Context()); err != nil || storage.CodeOf(second) != storage.Conflict {
		t.Errorf("first: %v, second: %v", err, second)
	}
	if _, err := e.Compact(t.Context()); err != nil {
		t.Errorf("third: %v", err)
	}
}

func TestCompact_EndsWithItsContextAndWithClose(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	path := newPath(t)
	closing := make(chan error, 1)
	var e *Engine
	e = open(t, path, Options{step: func(step string) {
		if step != "begun" {
			return
		}
		if ctx.Err() == nil {
			cancel()
			return
		}
		go func() { closing <- e.Close() }()
		<-e.closing.Done()
	}})
	fill(t, e, "row", 1000)
	before := content(t, e)
	if _, err := e.Compact(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("compact whose context ended: %v", err)
	}
	must(t, write(e, "another", "row"))
	before["another"] = "row"
	if _, err := e.Compact(t.Context()); storage.CodeOf(err) != storage.Unavailable {
		t.Errorf("compact while the engine is closed: %v", err)
	}
	must(t, <-closing)
	if left := files(t, path); !slices.Equal(left, []string{"tutela.db", "tutela.db.clean"}) {
		t.Errorf("files: %v", left)
	}
	if !maps.Equal(content(t, open(t, path, Options{})), before) {
		t.Error("the content differs")
	}
}

func TestCompact_ReadersOfTheOldFileGoOn(t *testing.T) {
	e := open(t, newPath(t), Options{})
	fill(t, e, "row", 2000)
	must(t, e.View(t.Context(), func(r storage.Reader) error {
		if _, err := e.Compact(t.Context()); err != nil {
			t.Error(err)
		}
		must(t, write(e, "later", "row"))
		rows := 0
		must(t, r.Scan(storage.Range{}, func(_, _ []byte) bool {
			rows++
			return true
		}))
		if rows != 2000 {
			t.Errorf("the view that began before sees %d rows", rows)
		}
		return nil
	}))
	if n := len(content(t, e)); n != 2001 {
		t.Errorf("%d rows", n)
	}
}
