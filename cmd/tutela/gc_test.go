package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

func TestGrowthOf_ALargeHeapGrowsByHalfAndASmallOneFivefold(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 1 << 20: 400, 12 << 20: 400, 24 << 20: 200, 48 << 20: 100, 1 << 30: 50} {
		if got := growthOf(live); got != want {
			t.Errorf("%d MiB: %d percent, want %d", live>>20, got, want)
		}
	}
}

func TestLiveBytes_CountsWhatACollectionLeft(t *testing.T) {
	kept := make([]byte, 64<<20)
	runtime.GC()
	if live := liveBytes(); live < 64<<20 {
		t.Errorf("%d bytes live", live)
	}
	runtime.KeepAlive(kept)
	for _, d := range metrics.All() {
		if d.Name == "/gc/scan/stack:bytes" {
			return
		}
	}
	t.Error("the runtime has no measure of the stacks by that name")
}

func TestWatchGC_LooksAfterEachCollection(t *testing.T) {
	applied := make(chan int, 1)
	watchGC(&gcWatch{percent: -1, apply: func(percent int) { applied <- percent }})
	kept := make([]byte, 256<<20)
	runtime.GC()
	if got := <-applied; got != growthOfLarge {
		t.Errorf("with 256 MiB alive: %d percent", got)
	}
	runtime.KeepAlive(kept)
	runtime.GC()
	if got := <-applied; got == growthOfLarge {
		t.Errorf("with little alive: %d percent", got)
	}
}
