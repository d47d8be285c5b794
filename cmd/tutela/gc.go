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
// What the server holds by itself is a few tens of MB, so collecting at twice that would cost a twelfth of its CPU to save
// memory that nobody misses. With thousands of waiting callers it is other people's memory: at fivefold what they leave
// behind on their way would take more than they do (BenchmarkLimits/waits).
func tuneGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(growthOfSmall)
	watchGC(&gcWatch{apply: func(percent int) { debug.SetGCPercent(percent) }})
}

// gcWatch lies on the heap to be collected: so the runtime calls after each collection. It holds a pointer, for the
// runtime packs what is small and has none with others, and may then never call.
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

// growthOf is how far a heap of so many live bytes may grow, in percent. In tens: each change stops the program for a
// moment.
func growthOf(live uint64) int {
	percent := int(roomOfSmall * 100 / max(live, 1) / 10 * 10)
	return min(max(percent, growthOfLarge), growthOfSmall)
}

// liveBytes is what the last collection found alive: the heap, and the stacks, which the runtime counts with it.
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
