//go:build race

package storagetest

import (
	"flag"

	_ "pgregory.net/rapid" // declares the flag
)

// The race detector makes a step of a random test ten times as slow, and most of these have one goroutine. So under it they
// take a quarter of their steps: what they look for is found as well without it (make quick, make soak). A flag that is given,
// -rapid.checks=1000, comes after this and counts.
func init() {
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
}
