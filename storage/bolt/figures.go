package bolt

import (
	"context"
	"time"

	"tutela/storage"
	"tutela/storage/meter"
)

// What is counted of the data file.
var (
	commitTime = meter.NewHistogram("tutela_commit_duration_seconds",
		"How long it took to write a commit to the data file and to sync it.", meter.Seconds)
	commitCalls = meter.NewHistogram("tutela_commit_transactions",
		"How many transactions shared a commit.", []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024})
	commitBytes = meter.NewHistogram("tutela_commit_bytes",
		"How many bytes of keys and values a commit wrote.", []float64{1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20})
	commitFailures = meter.NewCounter("tutela_commit_failures_total",
		"Commits that failed: of each, every caller was told that nothing was written, or that it is not known.")

	compactionsDone = meter.NewCounter("tutela_compactions_total",
		"Times that the data file was written anew, by outcome.", meter.Words("outcome", compactionDone, compactionFailed))
	compactionTime = meter.NewHistogram("tutela_compaction_duration_seconds",
		"How long it took to write the data file anew.", []float64{0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800})
	compactionFreed = meter.NewCounter("tutela_compaction_freed_bytes_total",
		"How many bytes smaller the data file became by being written anew.")
	fileBytes = meter.NewGauge("tutela_data_file_bytes", "Size of the data file.")
)

// The outcomes of a compaction.
const (
	compactionDone   = "done"
	compactionFailed = "failed"
)

// provide has the gauges read this engine.
func (e *Engine) provide() {
	fileBytes.Provide(e.options.Meter, func(context.Context) []meter.Reading {
		size, err := e.size()
		if err != nil {
			return nil
		}
		return []meter.Reading{{Value: float64(size)}}
	})
}

// size is how many bytes the data file has.
//
// Errors: Unavailable when the engine is closed; those of the file system.
func (e *Engine) size() (int64, error) {
	e.swap.RLock()
	defer e.swap.RUnlock()
	if e.file == nil {
		return 0, errClosed
	}
	return fileSize(e.file)
}

// count counts a commit that wrote something. Its callers wait still: it must be quick.
func (e *Engine) count(g *group, began time.Time) {
	if g.err != nil {
		commitFailures.Add(e.options.Meter, 1)
		return
	}
	commitTime.Observe(e.options.Meter, time.Since(began).Seconds())
	commitCalls.Observe(e.options.Meter, float64(len(g.calls)))
	commitBytes.Observe(e.options.Meter, float64(g.bytes))
}

// countCompaction counts a compaction that has ended.
func (e *Engine) countCompaction(began time.Time, sizes storage.Compaction, err error) {
	if err != nil {
		compactionsDone.Add(e.options.Meter, 1, compactionFailed)
		return
	}
	compactionsDone.Add(e.options.Meter, 1, compactionDone)
	compactionTime.Observe(e.options.Meter, time.Since(began).Seconds())
	if freed := sizes.Before - sizes.After; freed > 0 {
		compactionFreed.Add(e.options.Meter, uint64(freed))
	}
}
