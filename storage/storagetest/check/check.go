// Package check holds what every test says: that something must go well, or fail in one way. It imports nothing of ours,
// so that the tests of any package can use it.
package check

import (
	"errors"
	"os"
	"testing"
	"time"
)

// Must ends the test when err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Is ends the test unless err is want, or wraps it; a want of nil wants no error.
func Is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// Soak returns for how long a long test, TestSoak…, is to run: TUTELA_SOAK, which make soak sets. Without it the test is
// skipped.
func Soak(t testing.TB) time.Duration {
	t.Helper()
	long, err := time.ParseDuration(os.Getenv("TUTELA_SOAK"))
	if err != nil {
		t.Skip("a long test: run it with TUTELA_SOAK=10m, or make soak")
	}
	return long
}

// WithoutRace leaves a test to a run without the race detector, which make test has for these. It is for a long test that
// does one thing after another, or much of what a shorter one does under the detector: that makes it ten times as slow and
// has nothing to find. It must be the first statement of the test: make test finds it there.
func WithoutRace(t testing.TB) {
	t.Helper()
	if underRace {
		t.Skip("does one thing after another: make test runs it without the race detector")
	}
}
