package ground

import (
	"strings"

	"tutela/storage/meter"
)

// Figure returns the series of a figure of this server that are not zero, by their words: of a histogram how many values.
func (g *Ground) Figure(name string) map[string]float64 {
	g.t.Helper()
	list := map[string]float64{}
	for _, s := range g.Store.Meter().Samples(g.t.Context()) {
		n := s.Value
		if s.Figure.Kind == meter.KindHistogram {
			n = float64(s.Count)
		}
		if s.Figure.Name == name && n != 0 {
			list[strings.Join(s.Words, " ")] = n
		}
	}
	return list
}
