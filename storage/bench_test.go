package storage_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"tutela/storage"
	"tutela/storage/bolt"
)

// BenchmarkUpdate measures durable transactions per second through the tables, beside the limit in the same run: a
// bare combining loop over bbolt (a channel, one goroutine, one db.Update a group) that is handed the finished write
// sets of the same transactions. Two shapes: one row under a random key; and a login, with what a login writes: its
// row with an expiry, the user's pace, an outbox payload and pointer, two events. Run it with
//
//	go test ./storage -run '^$' -bench Update -benchtime 3s
func BenchmarkUpdate(b *testing.B) {
	shapes := []struct {
		name  string
		write func(*storage.Tx) error
	}{{"one", writeOne}, {"login", writeLogin}}
	for _, shape := range shapes {
		for _, callers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d/tables", shape.name, callers), func(b *testing.B) {
				s := benchStore(b)
				measure(b, callers, func() error { return s.Update(context.Background(), shape.write) })
			})
			b.Run(fmt.Sprintf("%s/%d/loop", shape.name, callers), func(b *testing.B) {
				recorder := recordingEngine{benchStore(b).Engine(), make(chan *storage.WriteSet, 1)}
				s, err := storage.Open(context.Background(), recorder, storage.Options{Logger: quiet})
				must(b, err)
				sets := make(chan *storage.WriteSet, b.N)
				for range b.N {
					must(b, s.Update(context.Background(), shape.write))
					sets <- <-recorder.sets
				}
				update := bareLoop(b)
				measure(b, callers, func() error { return update(<-sets) })
			})
		}
	}
}

// BenchmarkTransaction measures what the tables cost of the writer's time: the closure alone, nothing committed.
func BenchmarkTransaction(b *testing.B) {
	s := benchStore(b)
	uid := storage.NewUID()
	must(b, s.Update(context.Background(), func(tx *storage.Tx) error {
		return benchRows.Put(tx, uid, "read", &benchRow{Hash: "x", Text: text(200)})
	}))
	for _, c := range []struct {
		name string
		fn   func(*storage.Tx) error
	}{
		{"one", writeOne},
		{"login", writeLogin},
		{"get", func(tx *storage.Tx) error {
			_, err := benchRows.Get(tx, uid, "read")
			return err
		}},
		{"find", func(tx *storage.Tx) error {
			_, err := benchByHash.Find(tx, "x")
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			must(b, s.View(context.Background(), func(*storage.Tx) error { return nil }))
			undo := errors.New("undo")
			err := s.Engine().Update(context.Background(), func(r storage.Reader) (*storage.WriteSet, error) {
				inner, err := storage.Open(context.Background(), oneReader{r}, storage.Options{Logger: quiet})
				if err != nil {
					return nil, err
				}
				for b.Loop() {
					if err := inner.Update(context.Background(), c.fn); err != nil {
						return nil, err
					}
				}
				return nil, undo
			})
			if !errors.Is(err, undo) {
				b.Fatal(err)
			}
		})
	}
}

// oneReader runs closures on a reader that is there, and forgets what they write.
type oneReader struct{ storage.Reader }

func (e oneReader) Update(_ context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	_, err := fn(e.Reader)
	return err
}

func (e oneReader) View(_ context.Context, fn func(storage.Reader) error) error { return fn(e.Reader) }

func (oneReader) Peek(context.Context, storage.Range, func(k, v []byte) bool) error { return nil }
func (oneReader) Shards() int                                                       { return 1 }
func (oneReader) Close() error                                                      { return nil }

type benchRow struct {
	Hash    string    `json:"hash,omitempty"`
	Text    string    `json:"text"`
	Created time.Time `json:"created"`
	Until   time.Time `json:"until,omitzero"`
}

var (
	benchRows   = storage.Declare(storage.Spec[benchRow]{Name: "bench", Class: storage.MFA, Expires: func(r *benchRow) time.Time { return r.Until }})
	benchByHash = benchRows.Unique("hash", func(r *benchRow) []string {
		if r.Hash == "" {
			return nil
		}
		return []string{r.Hash}
	})
	benchRaw = storage.Declare(storage.Spec[[]byte]{Name: "bench_raw", Class: storage.Evidence, Raw: true})
	benchLog = storage.DeclareLog("bench")
)

var filler = make([]byte, 1024)

func init() {
	for i := range filler {
		filler[i] = 'a' + byte(i%26)
	}
}

func text(n int) string { return string(filler[:n]) }

func writeOne(tx *storage.Tx) error {
	return benchRows.Put(tx, storage.NewUID(), "", &benchRow{Text: text(60), Created: tx.Now()})
}

func writeLogin(tx *storage.Tx) error {
	uid := storage.NewUID()
	now := tx.Now()
	stamp := func() string { return fmt.Sprintf("%019d", tx.Stamp()) }
	event := func(detail bool) error {
		id := stamp()
		err := errors.Join(benchLog.Append(tx, uid, id, filler[:180]), benchRaw.Put(tx, uid, id, &[]byte{}))
		if detail {
			err = errors.Join(err, benchRows.Put(tx, uid, id, &benchRow{Text: text(100), Created: now}))
		}
		return err
	}
	return errors.Join(
		benchRows.Insert(tx, uid, "login", &benchRow{Text: text(600), Created: now, Until: now.Add(5 * time.Minute)}),
		benchRows.Put(tx, uid, "pace", &benchRow{Text: text(150), Created: now}),
		benchRows.Put(tx, uid, "outbox", &benchRow{Text: text(150), Created: now}),
		benchLog.Append(tx, uid, stamp()+"o", filler[:80]),
		event(true), event(false))
}

func benchStore(b *testing.B) *storage.Store {
	b.Helper()
	e, err := bolt.Open(context.Background(), filepath.Join(b.TempDir(), "data"), bolt.Options{Logger: quiet})
	must(b, err)
	s, err := storage.Open(context.Background(), e, storage.Options{Logger: quiet})
	must(b, err)
	b.Cleanup(func() { must(b, s.Close()) })
	return s
}

func measure(b *testing.B, callers int, update func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	begun := time.Now()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := update(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "writes/s")
}

// recordingEngine hands out the write sets of its transactions, which it does not commit.
type recordingEngine struct {
	storage.Engine
	sets chan *storage.WriteSet
}

func (e recordingEngine) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	return e.View(ctx, func(r storage.Reader) error {
		ws, err := fn(r)
		if err == nil {
			e.sets <- ws
		}
		return err
	})
}

// bareLoop is the least that a combining writer can be.
func bareLoop(b *testing.B) func(*storage.WriteSet) error {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "loop"), 0o600, &bbolt.Options{
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30})
	must(b, err)
	bucket := []byte("b")
	must(b, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucket)
		return err
	}))
	type request struct {
		ws   *storage.WriteSet
		done chan error
	}
	requests := make(chan request, 1024)
	ended := make(chan struct{})
	b.Cleanup(func() {
		close(requests)
		<-ended
		must(b, db.Close())
	})
	go func() {
		defer close(ended)
		for first := range requests {
			group := []request{first}
			err := db.Update(func(tx *bbolt.Tx) error {
				for i := 0; i < len(group); i++ {
					if err := group[i].ws.Each(func(k string, v []byte) error { return tx.Bucket(bucket).Put([]byte(k), v) }); err != nil {
						return err
					}
					select {
					case r, ok := <-requests:
						if ok {
							group = append(group, r)
						}
					default:
					}
				}
				return nil
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
