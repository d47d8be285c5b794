// Package meter counts what a server does. The package that owns a fact declares a figure for it, as a package-level
// variable, and adds to it. It does not know who reads the figures, such as an exporter of metrics.
//
// Figures are kept in a [Set], one for each server, in memory only. Counting takes a few nanoseconds and no lock.
//
// The memory of a figure is bounded, whatever callers send: a label takes the words that its declaration lists, and any
// other word counts as [Other]. A figure that has a label without a list has at most maxOpen series.
package meter

import (
	"fmt"
	"slices"
	"sync"
)

// Other stands for every word that is not in its label's list.
const Other = "other"

// Label divides a figure into series. Values lists the words that it takes. Without a list the words come from the code
// that counts, never from a caller, and that code bounds their number.
type Label struct {
	Name   string
	Values []string

	places map[string]int // of a long list
}

// Words makes a label that takes these words.
func Words[W ~string](name string, words ...W) Label {
	l := Label{Name: name, Values: make([]string, len(words))}
	for i, w := range words {
		l.Values[i] = string(w)
	}
	return l
}

// learn prepares a long list.
func (l *Label) learn() {
	if len(l.Values) < longList {
		return
	}
	l.places = make(map[string]int, len(l.Values))
	for at, word := range l.Values {
		l.places[word] = at
	}
}

// place returns the index of a word in the label's list; for any other word, the length of the list.
func (l *Label) place(word string) int {
	if l.places != nil {
		if at, known := l.places[word]; known {
			return at
		}
		return len(l.Values)
	}
	for i, known := range l.Values {
		if known == word {
			return i
		}
	}
	return len(l.Values)
}

// Kind is what a figure is.
type Kind string

// The kinds.
const (
	KindCounter   Kind = "counter"   // it only grows
	KindHistogram Kind = "histogram" // how values are distributed over buckets
	KindGauge     Kind = "gauge"     // it is read when somebody asks
)

// Figure describes a figure.
type Figure struct {
	Name   string // as Prometheus names metrics: tutela_, base units
	Help   string // one sentence for operators
	Kind   Kind
	Labels []Label
	Bounds []float64 // of a histogram: the upper bounds of its buckets, ascending; +Inf is left out

	place int // among all figures
}

// longList is the length from which a list of words is looked up in a map instead of searched.
const longList = 16

// registry is the figures of this program.
var registry struct {
	mu      sync.Mutex
	figures []*Figure
}

func declare(f *Figure) *Figure {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	for i := range f.Labels {
		f.Labels[i].learn()
	}
	f.place = len(registry.figures)
	registry.figures = append(registry.figures, f)
	return f
}

// Figures returns every figure that was declared, sorted by name.
func Figures() []*Figure {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	all := slices.Clone(registry.figures)
	slices.SortFunc(all, func(a, b *Figure) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	return all
}

// isOpen reports whether one of the labels has no list.
func (f *Figure) isOpen() bool {
	return slices.ContainsFunc(f.Labels, func(l Label) bool { return l.Values == nil })
}

// size is how many series the figure has, including those of Other. Only for a figure that is not open.
func (f *Figure) size() int {
	size := 1
	for i := range f.Labels {
		size *= len(f.Labels[i].Values) + 1
	}
	return size
}

// at returns the index of the series with these words, one a label. A missing word counts as Other.
func (f *Figure) at(words []string) int {
	at := 0
	for i := range f.Labels {
		l := &f.Labels[i]
		p := len(l.Values)
		if i < len(words) {
			p = l.place(words[i])
		}
		at = at*(len(l.Values)+1) + p
	}
	return at
}

// wordsAt is the reverse of at: the words of the series at an index. known is false when one of them is Other.
func (f *Figure) wordsAt(at int) (words []string, known bool) {
	words = make([]string, len(f.Labels))
	known = true
	for i := len(f.Labels) - 1; i >= 0; i-- {
		values := f.Labels[i].Values
		p := at % (len(values) + 1)
		at /= len(values) + 1
		if p == len(values) {
			words[i] = Other
			known = false
			continue
		}
		words[i] = values[p]
	}
	return words, known
}

// LabelNames are the names of the figure's labels.
func (f *Figure) LabelNames() []string {
	names := make([]string, len(f.Labels))
	for i, l := range f.Labels {
		names[i] = l.Name
	}
	return names
}

// String names the figure with its labels.
func (f *Figure) String() string { return fmt.Sprintf("%s%v", f.Name, f.LabelNames()) }

// Counter is a figure that only grows. Safe for concurrent use.
type Counter struct{ figure *Figure }

// NewCounter declares a counter. It is called once for each, from a package-level variable.
func NewCounter(name, help string, labels ...Label) *Counter {
	return &Counter{declare(&Figure{
		Name:   name,
		Help:   help,
		Kind:   KindCounter,
		Labels: labels,
	})}
}

// Figure describes the counter.
func (c *Counter) Figure() *Figure { return c.figure }

// Add counts n more, in the series of these words, one a label. A nil Set counts nothing.
func (c *Counter) Add(s *Set, n uint64, words ...string) {
	if cell := c.Cell(s, words...); cell != nil {
		cell.Add(n)
	}
}

// Cell returns the series of these words, for callers that count in it often, or later. It is nil for a nil Set.
func (c *Counter) Cell(s *Set, words ...string) *Cell {
	if s == nil {
		return nil
	}
	return &s.series(c.figure, words).cell
}

// Histogram is a figure that shows how values are distributed. Safe for concurrent use.
type Histogram struct{ figure *Figure }

// NewHistogram declares a histogram with the upper bounds of its buckets, ascending.
func NewHistogram(name, help string, bounds []float64, labels ...Label) *Histogram {
	return &Histogram{declare(&Figure{
		Name:   name,
		Help:   help,
		Kind:   KindHistogram,
		Labels: labels,
		Bounds: bounds,
	})}
}

// Figure describes the histogram.
func (h *Histogram) Figure() *Figure { return h.figure }

// Observe counts a value, in the base unit of the figure, in the series of these words. A nil Set counts nothing.
func (h *Histogram) Observe(s *Set, value float64, words ...string) {
	if d := h.Distribution(s, words...); d != nil {
		d.Observe(value)
	}
}

// Distribution returns the series of these words, for callers that count in it often. It is nil for a nil Set.
func (h *Histogram) Distribution(s *Set, words ...string) *Distribution {
	if s == nil {
		return nil
	}
	return &s.series(h.figure, words).distribution
}

// Gauge is a figure that is read when somebody asks.
type Gauge struct{ figure *Figure }

// NewGauge declares a gauge.
func NewGauge(name, help string, labels ...Label) *Gauge {
	return &Gauge{declare(&Figure{
		Name:   name,
		Help:   help,
		Kind:   KindGauge,
		Labels: labels,
	})}
}

// Figure describes the gauge.
func (g *Gauge) Figure() *Figure { return g.figure }

// Seconds are the bounds of a histogram of how long a call takes, from a millisecond to ten seconds.
var Seconds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
