package postgres

import (
	"errors"
	"time"

	"tutela/storage"
	"tutela/storage/meter"
)

// What is counted of the database.
var (
	commitTime = meter.NewHistogram("tutela_database_commit_duration_seconds",
		"How long it took to write a transaction to the database and to commit it.", meter.Seconds)
	conflicts = meter.NewCounter("tutela_database_conflicts_total",
		"Times that a transaction was run again because the database rolled it back for a concurrent one (40001, 40P01).")
	failures = meter.NewCounter("tutela_database_failures_total",
		"Commits that failed, by what is known of them: nothing was written, or it is not known.", meter.Words("outcome", nothingWritten, notKnown))
)

// What is known of a commit that failed.
const (
	nothingWritten = "nothing"
	notKnown       = "unknown"
)

// count counts the end of a commit.
func (e *Engine) count(began time.Time, err error) {
	var again *againError
	switch {
	case err == nil:
		commitTime.Observe(e.options.Meter, time.Since(began).Seconds())
	case errors.Is(err, storage.ErrOutcomeUnknown):
		failures.Add(e.options.Meter, 1, notKnown)
	case !errors.As(err, &again): // a transaction that runs again is counted as a rerun
		failures.Add(e.options.Meter, 1, nothingWritten)
	}
}
