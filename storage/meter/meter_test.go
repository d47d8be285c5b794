package meter_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tutela/storage/meter"
)

var (
	apples = meter.NewCounter("tutela_test_apples_total", "Apples that were eaten.",
		meter.Words("colour", "red", "green"), meter.Words("size", "big", "small"))
	visits = meter.NewCounter("tutela_test_visits_total", "Visits.", meter.Label{Name: "place"})
	walks  = meter.NewHistogram("tutela_test_walk_seconds", "How long a walk took.", []float64{1, 2, 4})
	rooms  = meter.NewGauge("tutela_test_rooms", "Rooms that are free.", meter.Words("floor", "upper", "lower"))
)

// shown are the samples of a figure, each with its words.
func shown(s *meter.Set, name string) map[string]float64 {
	list := map[string]float64{}
	for _, one := range s.Samples(context.Background()) {
		if one.Figure.Name == name {
			list[strings.Join(one.Words, " ")] = one.Value
		}
	}
	return list
}

func TestCounter_CountsByItsWordsAndAnyOtherAsOther(t *testing.T) {
	s := meter.NewSet()
	apples.Add(s, 2, "red", "big")
	apples.Add(s, 1, "red", "big")
	apples.Add(s, 1, "blue", "small")
	apples.Add(s, 1, "blue", "huge")
	apples.Add(s, 1, "green")
	apples.Add(nil, 9, "red", "big")
	want := map[string]float64{
		"red big": 3, "red small": 0, "green big": 0, "green small": 0, "other small": 1, "other other": 1, "green other": 1,
	}
	if diff := cmp.Diff(want, shown(s, "tutela_test_apples_total")); diff != "" {
		t.Error(diff)
	}
	if other := shown(meter.NewSet(), "tutela_test_apples_total")["red big"]; other != 0 {
		t.Errorf("another server has counted %v", other)
	}
}

func TestCounter_OfOpenWordsIsBounded(t *testing.T) {
	s := meter.NewSet()
	const many = 10_000
	for i := range many {
		visits.Add(s, 1, fmt.Sprint("place ", i))
	}
	list := shown(s, "tutela_test_visits_total")
	total := 0.0
	for _, n := range list {
		total += n
	}
	if len(list) > 4097 || total != many || list[meter.Other] < many-4097 {
		t.Errorf("%d series, %v counted, %v as other", len(list), total, list[meter.Other])
	}
}

func TestHistogram_CountsWhatIsAtMostEachBound(t *testing.T) {
	s := meter.NewSet()
	for _, seconds := range []float64{0.5, 1, 1.5, 3, 100} {
		walks.Observe(s, seconds)
	}
	all := s.Samples(t.Context())
	at := slices.IndexFunc(all, func(one meter.Sample) bool { return one.Figure == walks.Figure() })
	if got := all[at]; got.Count != 5 || got.Value != 106 || !slices.Equal(got.Buckets, []uint64{2, 3, 4}) {
		t.Errorf("%+v", got)
	}
}

func TestGauge_ReadsWhatProvidesItLast(t *testing.T) {
	s := meter.NewSet()
	provide := func(free float64) {
		rooms.Provide(s, func(context.Context) []meter.Reading { return []meter.Reading{{free, []string{"upper"}}} })
	}
	provide(1)
	provide(7)
	if diff := cmp.Diff(map[string]float64{"upper": 7}, shown(s, "tutela_test_rooms")); diff != "" {
		t.Error(diff)
	}
}

func TestSet_IsSafeForConcurrentUse(t *testing.T) {
	s := meter.NewSet()
	var group sync.WaitGroup
	const each = 1000
	for range 8 {
		group.Go(func() {
			for i := range each {
				apples.Add(s, 1, "red", "small")
				visits.Add(s, 1, fmt.Sprint(i%10))
				walks.Observe(s, 1)
				if i%100 == 0 {
					s.Samples(context.Background())
				}
			}
		})
	}
	group.Wait()
	if got := shown(s, "tutela_test_apples_total")["red small"]; got != 8*each {
		t.Errorf("%v apples", got)
	}
	if got := shown(s, "tutela_test_walk_seconds")[""]; got != 8*each {
		t.Errorf("%v seconds", got)
	}
	if got := shown(s, "tutela_test_visits_total")["7"]; got != 8*each/10 {
		t.Errorf("%v visits", got)
	}
}

func TestFigures_AreDeclaredOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range meter.Figures() {
		if seen[f.Name] {
			t.Errorf("%s is declared twice", f)
		}
		seen[f.Name] = true
	}
}

func BenchmarkCount(b *testing.B) {
	s := meter.NewSet()
	b.Run("counter", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			apples.Add(s, 1, "green", "small")
		}
	})
	b.Run("histogram", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			walks.Observe(s, 3)
		}
	})
}
