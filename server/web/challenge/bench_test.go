package challenge

import (
	"strconv"
	"testing"

	"tutela/server/web/webtest"
)

// seen is how a page came, in milliseconds since it was asked for: when something was first seen, when it was seen, its scripts had
// run and no task of more than 50 ms was left, and how much longer than 50 ms tasks took. Observers tell of tasks that are over as soon as they can.
const seen = `new Promise((done) => {
	const tasks = [];
	new PerformanceObserver((list) => tasks.push(...list.getEntries())).observe({ type: "longtask", buffered: true });
	setTimeout(() => {
		const nav = performance.getEntriesByType("navigation")[0];
		const paint = performance.getEntriesByName("first-contentful-paint")[0].startTime;
		done([paint, Math.max(paint, nav.domContentLoadedEventEnd, ...tasks.map((t) => t.startTime + t.duration)), tasks.reduce((sum, t) => sum + t.duration - 50, 0)]);
	}, 500);
})`

// BenchmarkChallengePage loads the challenge page in a browser whose cache is empty, on a processor that is four times as slow.
func BenchmarkChallengePage(b *testing.B) {
	h := newHouse(b)
	c := webtest.Open(b)
	c.Size(390, "light")
	var sums [3]float64
	n := 0
	for b.Loop() {
		userID := "user-" + strconv.Itoa(n)
		h.phone(userID)
		c.Call("Network.clearBrowserCache", nil)
		c.Call("Network.clearBrowserCookies", nil)
		c.Call("Emulation.setCPUThrottlingRate", map[string]any{"rate": 4})
		c.Go(h.link(userID))
		c.Sees("Is it you? Answer on your phone")
		times, _ := c.Eval(seen).([]any)
		c.Call("Emulation.setCPUThrottlingRate", map[string]any{"rate": 1})
		if len(times) != len(sums) {
			b.Fatal(times)
		}
		for i := range sums {
			ms, _ := times[i].(float64)
			sums[i] += ms
		}
		n++
	}
	for i, unit := range []string{"first-paint-ms", "interactive-ms", "blocked-ms"} {
		b.ReportMetric(sums[i]/float64(n), unit)
	}
}
