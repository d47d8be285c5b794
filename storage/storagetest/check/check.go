// Package check holds what every test says: that something must go well, or fail in one way. It imports nothing of ours,
// so that the tests of any package can use it.
package check

import (
	"errors"
	"testing"
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
