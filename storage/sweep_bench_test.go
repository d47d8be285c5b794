package storage_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"tutela/storage"
)

// BenchmarkWritesWhileSweeping measures how long a write takes, first alone and then while the sweeper works through a
// backlog, such as a server finds that was off for a while. The aim: the 99th percentile at most doubles. Run it with
//
//	go test ./storage -run '^$' -bench WritesWhileSweeping -benchtime 1x
func BenchmarkWritesWhileSweeping(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("%d", callers), func(b *testing.B) {
			const (
				backlog = 20_000
				phase   = 4 * time.Second
			)
			for range b.N {
				s := benchStore(b)
				fillExpired(b, s, backlog)
				quiet := latencies(b, s, callers, phase)
				ctx, stop := context.WithCancel(b.Context())
				var sweeper sync.WaitGroup
				sweeper.Go(func() { s.RunSweeper(ctx) })
				before := expiredRows(b, s)
				sweeping := latencies(b, s, callers, phase)
				swept := before - expiredRows(b, s)
				stop()
				sweeper.Wait()
				for name, at := range map[string]float64{"p50": 0.5, "p99": 0.99} {
					b.ReportMetric(percentile(quiet, at).Seconds()*1000, "quiet-"+name+"-ms")
					b.ReportMetric(percentile(sweeping, at).Seconds()*1000, "sweeping-"+name+"-ms")
				}
				b.ReportMetric(percentile(sweeping, 0.99).Seconds()/percentile(quiet, 0.99).Seconds(), "p99-ratio")
				b.ReportMetric(float64(swept)/phase.Seconds(), "swept/s")
				b.ReportMetric(float64(len(sweeping))/float64(len(quiet)), "writes-ratio")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// fillExpired writes rows of many users that are past their expiry.
func fillExpired(b *testing.B, s *storage.Store, rows int) {
	const perUser = 2
	must(b, s.UpdateEach(b.Context(), rows/perUser, func(tx *storage.Tx, _ int) error {
		uid := storage.NewUID()
		for i := range perUser {
			row := &benchRow{Hash: storage.NewID("", 16), Text: text(200), Until: tx.Now().Add(-time.Duration(i+1) * time.Second)}
			if err := benchRows.Put(tx, uid, fmt.Sprint(i), row); err != nil {
				return err
			}
		}
		return nil
	}))
}

// expiredRows counts the expiry entries.
func expiredRows(b *testing.B, s *storage.Store) (n int) {
	must(b, s.Engine().Peek(b.Context(), storage.Prefix([]byte{'x'}), func(_, _ []byte) bool {
		n++
		return true
	}))
	return n
}

// latencies has callers write one row after the other for a time, and returns how long each write took, in order.
func latencies(b *testing.B, s *storage.Store, callers int, phase time.Duration) []time.Duration {
	var mu sync.Mutex
	var all []time.Duration
	var group sync.WaitGroup
	end := time.Now().Add(phase)
	for range callers {
		group.Go(func() {
			var took []time.Duration
			for time.Now().Before(end) {
				begun := time.Now()
				if err := s.Update(b.Context(), writeOne); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	group.Wait()
	slices.Sort(all)
	return all
}

func percentile(sorted []time.Duration, at float64) time.Duration {
	return sorted[min(int(float64(len(sorted))*at), len(sorted)-1)]
}
