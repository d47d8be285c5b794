package bolt

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tutela/storage"
)

// BenchmarkCompact compacts a data file while 64 callers write to it as fast as they can, and tells what it costs: by how
// much the file grew meanwhile, how much heap was in use at most, and how long the writes took, beside as many callers
// without a Compact just before (alone). For a large file:
//
//	TUTELA_BENCH_MIB=1400 go test ./storage/bolt -run '^$' -bench Compact -benchtime 1x
func BenchmarkCompact(b *testing.B) {
	path := bigFile(b)
	var heap atomic.Uint64
	e := open(b, path, Options{step: func(string) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap.Store(max(heap.Load(), m.HeapInuse))
	}})
	for b.Loop() {
		for range 2 { // the second takes what pools kept from the first
			runtime.GC()
		}
		heap.Store(0)
		stop := writeAndTime(b, e)
		<-time.After(2 * time.Second)
		alone := stop()
		b.ReportMetric(float64(len(alone))/2, "alone-writes/s")
		b.ReportMetric(float64(alone[len(alone)*99/100].Microseconds())/1000, "alone-p99-ms")
		before := sizeOf(b, e)
		stop = writeAndTime(b, e)
		begun := time.Now()
		sizes, err := e.Compact(b.Context())
		took := time.Since(begun)
		must(b, err)
		writes := stop()
		b.ReportMetric(float64(sizes.Before-before)/(1<<20), "grown-MiB")
		b.ReportMetric(float64(heap.Load())/(1<<20), "heap-MiB")
		b.ReportMetric(float64(len(writes))/took.Seconds(), "writes/s")
		b.ReportMetric(float64(writes[len(writes)*99/100].Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(writes[len(writes)-1].Microseconds())/1000, "longest-ms")
	}
}

// writeAndTime has 64 callers write logins until stop, which returns how long each took, in order.
func writeAndTime(b *testing.B, e *Engine) (stop func() []time.Duration) {
	b.Helper()
	done := make(chan struct{})
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			var mine []time.Duration
			for running := true; running; {
				ws := storage.NewWriteSet()
				loginKeys(ws)
				begun := time.Now()
				must(b, e.Update(b.Context(), func(storage.Reader) (*storage.WriteSet, error) { return ws, nil }))
				mine = append(mine, time.Since(begun))
				select {
				case <-done:
					running = false
				default:
				}
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	return func() []time.Duration {
		close(done)
		all.Wait()
		slices.Sort(took)
		return took
	}
}
