package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"

	"tutela/storage"
	"tutela/storage/bolt/boltfile"
)

// overwrite changes n rows of those that fill made, all over the store, in each of several transactions.
func overwrite(t testing.TB, e *Engine, prefix string, rows, n, transactions int) {
	t.Helper()
	for range transactions {
		must(t, e.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) {
			ws := storage.NewWriteSet()
			for range n {
				ws.Put(fmt.Appendf(nil, "%s%06d", prefix, rand.IntN(rows)), fmt.Appendf(nil, "%0300d", rand.Int()))
			}
			return ws, nil
		}))
	}
}

func sizeOf(t testing.TB, e *Engine) int64 {
	t.Helper()
	size, err := fileSize(e.file)
	must(t, err)
	return size
}

// TestCompact_CostsLittleUnderLoad writes between any two pieces about as much again as the store holds. With a snapshot of
// the whole the file would grow by that, and with a log of what was written the memory.
func TestCompact_CostsLittleUnderLoad(t *testing.T) {
	const rows = 40_000
	var e *Engine
	var before, grown int64
	pieces := 0
	kept := 0
	e = open(t, newPath(t), Options{step: func(step string) {
		if step != "piece" {
			return
		}
		pieces++
		overwrite(t, e, "row", rows, 200, 25)
		kept = max(kept, e.changed.Load().size())
		grown = max(grown, sizeOf(t, e)-before)
	}})
	for i := range rows / 5000 {
		fillFrom(t, e, "row", i*5000, 5000)
	}
	before = sizeOf(t, e)
	_, err := e.Compact(t.Context())
	must(t, err)
	if pieces < 3 || grown > boltfile.GrowthBytes {
		t.Errorf("the file grew by %d bytes in %d pieces", grown, pieces)
	}
	if kept > maxChanged {
		t.Errorf("%d bytes of keys were kept; at most %d may be", kept, maxChanged)
	}
}

// A writer that is faster than a build is held back, and goes on when the build has taken what it wrote.
func TestChanges_HoldTheWriterAtTheirBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChanges()
		c.reading()
		ws := storage.NewWriteSet()
		for i := range maxChanged/(8+keyOverhead) + 1 {
			ws.Put(fmt.Appendf(nil, "%08d", i), nil)
		}
		c.add([]*call{{writes: ws}})
		waited := make(chan struct{})
		go func() {
			c.wait()
			close(waited)
		}()
		synctest.Wait()
		select {
		case <-waited:
			t.Error("the writer was not held back")
		default:
		}
		if keys := c.take(); len(keys) != ws.Len() || !slices.IsSorted(keys) {
			t.Errorf("%d keys were taken, of %d", len(keys), ws.Len())
		}
		<-waited
		c.add([]*call{{writes: ws}})
		go c.end()
		c.wait()
	})
}

func TestChanges_KeepWhatLiesBehindTheBuild(t *testing.T) {
	c := newChanges()
	add := func(keys ...string) {
		ws := storage.NewWriteSet()
		for _, key := range keys {
			ws.Put([]byte(key), nil)
		}
		c.add([]*call{{writes: ws}, {}})
	}
	add("a", "z") // before the first piece: it will be read
	c.reading()
	add("b", "x")
	c.read([]byte("m"))
	add("c", "m", "y")
	c.reading()
	add("o", "d")
	c.read(nil)
	add("q", "d")
	if keys := c.take(); !slices.Equal(keys, []string{"b", "c", "d", "o", "q"}) || c.size() != 0 {
		t.Errorf("kept %v, %d bytes left", keys, c.size())
	}
}

func TestCompact_IsRefusedWithoutRoom(t *testing.T) {
	path := newPath(t)
	free := int64(1 << 40)
	e := open(t, path, Options{free: func(folder string) (int64, error) { return free, nil }})
	fill(t, e, "row", 20_000)
	before := content(t, e)
	free = 5<<20 + ReserveBytes
	_, err := e.Compact(t.Context())
	if !errors.Is(err, ErrNoRoom) || !strings.Contains(err.Error(), "69 MiB are free") || !strings.Contains(err.Error(), path) {
		t.Errorf("compact: %v", err)
	}
	free = 100 << 20
	if _, err := e.Compact(t.Context()); err != nil || !maps.Equal(content(t, e), before) {
		t.Errorf("compact with room: %v", err)
	}
}

func TestCompact_GivesUpWhenItsRoomGoesToOthers(t *testing.T) {
	path := newPath(t)
	free := int64(1 << 40)
	var e *Engine
	e = open(t, path, Options{
		free: func(string) (int64, error) { return free, nil },
		step: func(step string) {
			if step == "piece" {
				free = ReserveBytes
				must(t, write(e, "while it is built", "1"))
			}
		},
	})
	fill(t, e, "row", 20_000)
	if _, err := e.Compact(t.Context()); !errors.Is(err, ErrNoRoom) {
		t.Errorf("compact: %v", err)
	}
	if left := files(t, path); !slices.Equal(left, []string{"tutela.db", "tutela.db.lock"}) {
		t.Errorf("files: %v", left)
	}
	if n := len(content(t, e)); n != 20_001 {
		t.Errorf("%d rows", n)
	}
	must(t, e.Healthy())
}

// A commit that fails in its last step may be there all the same, and what it wrote is not known any more.
func TestCompact_EndsWithACommitThatFailed(t *testing.T) {
	path := newPath(t)
	failing := false
	var e *Engine
	e = open(t, path, Options{
		commit: func(tx *bbolt.Tx) error {
			if failing {
				return errors.Join(tx.Rollback(), syscall.EIO)
			}
			return tx.Commit()
		},
		step: func(step string) {
			if step == "filled" {
				failing = true
				if write(e, "a", "1") == nil {
					t.Error("a commit was to fail")
				}
				failing = false
			}
		},
	})
	fill(t, e, "row", 1000)
	before, err := os.Stat(path)
	must(t, err)
	if _, err := e.Compact(t.Context()); storage.CodeOf(err) != storage.Unavailable {
		t.Errorf("compact: %v", err)
	}
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the data file was replaced: %v", err)
	}
}

// slowReceiver takes the first bytes of a copy, and no more before go on is closed.
type slowReceiver struct {
	bytes.Buffer
	begun, goOn chan struct{}
}

func newSlowReceiver() *slowReceiver {
	return &slowReceiver{begun: make(chan struct{}), goOn: make(chan struct{})}
}

func (r *slowReceiver) Write(b []byte) (int, error) {
	if r.Len() == 0 {
		close(r.begun)
		<-r.goOn
	}
	return r.Buffer.Write(b)
}

func TestCopyTo_ASlowReceiverCostsNothing(t *testing.T) {
	path := newPath(t)
	e := open(t, path, Options{})
	fill(t, e, "row", 20_000)
	want := content(t, e)
	before := sizeOf(t, e)
	slow := newSlowReceiver()
	copied := make(chan error)
	go func() {
		_, err := e.CopyTo(t.Context(), slow)
		copied <- err
	}()
	<-slow.begun
	if left := files(t, path); !slices.Equal(left, []string{"tutela.db", "tutela.db.lock"}) {
		t.Errorf("files while the copy is sent: %v", left)
	}
	overwrite(t, e, "row", 20_000, 200, 50)
	if grown := sizeOf(t, e) - before; grown > boltfile.GrowthBytes {
		t.Errorf("the file grew by %d bytes", grown)
	}
	_, err := e.Compact(t.Context()) // which the copy is not in the way of
	must(t, err)
	close(slow.goOn)
	must(t, <-copied)
	to := newPath(t)
	must(t, os.WriteFile(to, slow.Bytes(), 0o600))
	must(t, Inspect(to))
	if !maps.Equal(content(t, open(t, to, Options{})), want) {
		t.Error("the copy is not what the store was when it began to be sent")
	}
}

func TestCopyTo_WithoutRoomIsSentFromASnapshot(t *testing.T) {
	e := open(t, newPath(t), Options{free: func(string) (int64, error) { return ReserveBytes, nil }})
	fill(t, e, "row", 20_000)
	var out bytes.Buffer
	n, err := e.CopyTo(t.Context(), &out)
	if err != nil || n != int64(out.Len()) {
		t.Errorf("copy of %d bytes: %v", n, err)
	}
	to := newPath(t)
	must(t, os.WriteFile(to, out.Bytes(), 0o600))
	if !maps.Equal(content(t, open(t, to, Options{})), content(t, e)) {
		t.Error("the copy's content differs")
	}
}

func TestCopyTo_WithoutRoomASlowReceiverIsGivenUp(t *testing.T) {
	e := open(t, newPath(t), Options{free: func(string) (int64, error) { return ReserveBytes, nil }})
	fill(t, e, "row", 20_000)
	before := sizeOf(t, e)
	slow := newSlowReceiver()
	copied := make(chan error)
	go func() {
		_, err := e.CopyTo(t.Context(), slow)
		copied <- err
	}()
	<-slow.begun
	// Each of these transactions frees about two hundred pages, which the snapshot keeps from being used.
	overwrite(t, e, "row", 20_000, 200, 100)
	if grown := sizeOf(t, e) - before; grown > 2*boltfile.GrowthBytes {
		t.Errorf("the file grew by %d bytes", grown)
	}
	close(slow.goOn)
	if err := <-copied; !errors.Is(err, ErrSlowCopy) {
		t.Errorf("copy to a slow receiver: %v", err)
	}
	must(t, write(e, "a", "1"))
}

// Whoever closes the engine does not wait for a receiver.
func TestClose_EndsASnapshotWhoseReceiverIsStuck(t *testing.T) {
	e := open(t, newPath(t), Options{free: func(string) (int64, error) { return ReserveBytes, nil }})
	fill(t, e, "row", 20_000)
	slow := newSlowReceiver()
	copied := make(chan error)
	go func() {
		_, err := e.CopyTo(context.Background(), slow)
		copied <- err
	}()
	<-slow.begun
	must(t, e.Close())
	close(slow.goOn)
	if err := <-copied; storage.CodeOf(err) != storage.Unavailable {
		t.Errorf("copy: %v", err)
	}
}

func TestCopyTo_WaitsForACompaction(t *testing.T) {
	var e *Engine
	var out bytes.Buffer
	copied := make(chan error, 1)
	e = open(t, newPath(t), Options{step: func(step string) {
		if step == "filled" && e.compacting.TryLock() {
			e.compacting.Unlock() // the copy's own step
		} else if step == "filled" {
			go func() {
				_, err := e.CopyTo(t.Context(), &out)
				copied <- err
			}()
		}
	}})
	fill(t, e, "row", 1000)
	_, err := e.Compact(t.Context())
	must(t, err)
	must(t, <-copied)
	to := newPath(t)
	must(t, os.WriteFile(to, out.Bytes(), 0o600))
	must(t, Inspect(to))
}
