package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How far the heap may grow between two collections, in percent of what lives.
const (
	growthOfSmall = 400
	growthOfLarge = 50
	roomOfSmall   = 48 << 20 // bytes that a small heap may grow by
)

// tuneGC lets a small heap grow fivefold between collections, and a large one by half, unless GOGC says otherwise.
//
// The server by itself holds a few tens of MB. To collect at twice that would cost a twelfth of its CPU and save
// little. Thousands of waiting callers make the heap large: if it grew fivefold, their garbage would take more memory
// than they do (BenchmarkLimits/waits).
func tuneGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(growthOfSmall)
	watchGC(&gcWatch{apply: func(percent int) { debug.SetGCPercent(percent) }})
}

// gcWatch is garbage whose finalizer the runtime runs after each collection. It must hold a pointer: the runtime
// packs small values without pointers together, and may never run their finalizers.
type gcWatch struct {
	percent int
	apply   func(percent int)
}

func watchGC(w *gcWatch) {
	runtime.SetFinalizer(w, func(w *gcWatch) {
		if percent := growthOf(liveBytes()); percent != w.percent {
			w.percent = percent
			w.apply(percent)
		}
		watchGC(w)
	})
}

// growthOf returns by how many percent a heap with so many live bytes may grow. It returns tens, since each change
// stops the program for a moment.
func growthOf(live uint64) int {
	percent := int(roomOfSmall * 100 / max(live, 1) / 10 * 10)
	return min(max(percent, growthOfLarge), growthOfSmall)
}

// liveBytes returns how many bytes the last collection found alive: the heap, and the stacks, which the runtime
// counts with it.
func liveBytes() uint64 {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	metrics.Read(samples)
	var sum uint64
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return sum
}
