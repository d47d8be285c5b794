package bolt

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"tutela/storage"
)

// BenchmarkWrites measures durable transactions per second of the engine, beside what bbolt itself can do in the
// same run: a bare combining loop (a channel, one goroutine, one db.Update a group), which is the limit, and
// bbolt's own DB.Batch. Two shapes: one random key; and a login: four keys beside each other under a random prefix,
// and four appended. Run it with
//
//	go test ./storage/bolt -run '^$' -bench Writes -benchtime 5s
//
// A disk-B/op is what the process had written to the disk by the kernel's count (/proc/self/io).
func BenchmarkWrites(b *testing.B) {
	shapes := []struct {
		name  string
		write func(*storage.WriteSet)
	}{{"one", oneKey}, {"login", loginKeys}}
	systems := []struct {
		name string
		open func(*testing.B) (update func(*storage.WriteSet) error)
	}{{"engine", openEngine}, {"loop", openLoop}, {"batch", openBatch}}
	for _, shape := range shapes {
		for _, callers := range []int{1, 64, 256} {
			for _, system := range systems {
				b.Run(fmt.Sprintf("%s/%d/%s", shape.name, callers, system.name), func(b *testing.B) {
					measure(b, callers, shape.write, system.open(b))
				})
			}
		}
	}
}

func measure(b *testing.B, callers int, write func(*storage.WriteSet), update func(*storage.WriteSet) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	before := bytesWritten(b)
	begun := time.Now()
	b.ResetTimer()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				ws := storage.NewWriteSet()
				write(ws)
				if err := update(ws); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "writes/s")
	b.ReportMetric(float64(bytesWritten(b)-before)/float64(b.N), "disk-B/op")
}

func oneKey(ws *storage.WriteSet) {
	key := make([]byte, 16)
	rand.Read(key)
	ws.Put(key, make([]byte, 100))
}

var appended atomic.Uint64

func loginKeys(ws *storage.WriteSet) {
	key := make([]byte, 16)
	rand.Read(key)
	for i := range byte(4) {
		ws.Put(append(append([]byte{1}, key...), i), make([]byte, 250))
		ws.Put(append(binary.BigEndian.AppendUint64([]byte{2 + i}, appended.Add(1)), key...), make([]byte, 60))
	}
}

func openEngine(b *testing.B) func(*storage.WriteSet) error {
	e, err := Open(b.Context(), filepath.Join(b.TempDir(), "data"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closed(b, e.Close()) })
	return func(ws *storage.WriteSet) error {
		return e.Update(context.Background(), func(storage.Reader) (*storage.WriteSet, error) { return ws, nil })
	}
}

func openBare(b *testing.B) *bbolt.DB {
	d, err := openOrCreate(b.Context(), filepath.Join(b.TempDir(), "data"), Options{}.withDefaults())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closed(b, d.close()) })
	return d.db
}

func closed(b *testing.B, err error) {
	if err != nil {
		b.Error(err)
	}
}

func put(tx *bbolt.Tx, ws *storage.WriteSet) error {
	bucket := tx.Bucket(bucketName)
	return ws.Each(func(key string, value []byte) error { return bucket.Put([]byte(key), value) })
}

// openLoop is the least that a combining writer can be.
func openLoop(b *testing.B) func(*storage.WriteSet) error {
	db := openBare(b)
	type request struct {
		ws   *storage.WriteSet
		done chan error
	}
	requests := make(chan request, 1024)
	b.Cleanup(func() { close(requests) })
	go func() {
		for first := range requests {
			group := []request{first}
			err := db.Update(func(tx *bbolt.Tx) error {
				if err := put(tx, first.ws); err != nil {
					return err
				}
				for {
					select {
					case r, ok := <-requests:
						if !ok {
							return nil
						}
						group = append(group, r)
						if err := put(tx, r.ws); err != nil {
							return err
						}
					default:
						return nil
					}
				}
			})
			for _, r := range group {
				r.done <- err
			}
		}
	}()
	return func(ws *storage.WriteSet) error {
		done := make(chan error, 1)
		requests <- request{ws, done}
		return <-done
	}
}

func openBatch(b *testing.B) func(*storage.WriteSet) error {
	db := openBare(b)
	return func(ws *storage.WriteSet) error { return db.Batch(func(tx *bbolt.Tx) error { return put(tx, ws) }) }
}

// bytesWritten is what the kernel wrote to disks for this process, or 0 where it does not say.
func bytesWritten(b *testing.B) int64 {
	b.Helper()
	stat, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	var n int64
	if _, after, ok := strings.Cut(string(stat), "\nwrite_bytes: "); ok {
		fmt.Sscan(after, &n) //nolint:errcheck // 0 then
	}
	return n
}

// BenchmarkInspect measures how fast a file is read before it is opened, in bytes of the file.
func BenchmarkInspect(b *testing.B) {
	path := newPath(b)
	e := open(b, path, Options{})
	for i := range 40 {
		fill(b, e, fmt.Sprint("row", i), 5000)
	}
	must(b, e.Close())
	info, err := os.Stat(path)
	must(b, err)
	b.SetBytes(info.Size())
	for b.Loop() {
		must(b, Inspect(path))
	}
}
