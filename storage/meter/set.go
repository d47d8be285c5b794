package meter

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// maxOpen bounds the series of a figure that has a label without a list. Beyond it everything is counted in one series,
// whose words are all Other.
const maxOpen = 4096

// Set holds the figures of one server. A nil Set counts nothing. Safe for concurrent use.
type Set struct {
	counted []atomic.Pointer[counted] // by the figure's place

	mu    sync.Mutex // guards what is below, and the making of what is above
	reads []read
}

// NewSet makes an empty set. All figures must be declared before.
func NewSet() *Set {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	return &Set{counted: make([]atomic.Pointer[counted], len(registry.figures))}
}

// counted is a figure's series.
type counted struct {
	figure *Figure
	closed []series // by index, for a figure whose labels all have lists

	mu   sync.RWMutex       // guards open
	open map[string]*series // by their words, for any other figure
}

// series is one series of a figure: its cell, or its distribution.
type series struct {
	words        []string // of an open figure
	cell         Cell
	distribution Distribution
}

// Cell is one series of a counter. Safe for concurrent use.
type Cell struct{ n atomic.Uint64 }

// Add counts n more. A nil Cell counts nothing.
func (c *Cell) Add(n uint64) {
	if c != nil {
		c.n.Add(n)
	}
}

// Distribution is one series of a histogram. Safe for concurrent use.
type Distribution struct {
	bounds  []float64
	buckets []atomic.Uint64 // one a bound, and one for what is larger
	sum     atomic.Uint64   // the bits of a float64
}

// Observe counts a value. A nil Distribution counts nothing.
func (d *Distribution) Observe(value float64) {
	if d == nil {
		return
	}
	at := 0
	for at < len(d.bounds) && value > d.bounds[at] {
		at++
	}
	d.buckets[at].Add(1)
	for {
		old := d.sum.Load()
		if d.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+value)) {
			return
		}
	}
}

// of returns the series of a figure, and makes them at the first call.
func (s *Set) of(f *Figure) *counted {
	if c := s.counted[f.place].Load(); c != nil {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.counted[f.place].Load(); c != nil {
		return c
	}
	c := &counted{figure: f}
	if f.isOpen() {
		c.open = map[string]*series{}
	} else {
		c.closed = make([]series, f.size())
		for i := range c.closed {
			c.closed[i].distribution.make(f)
		}
	}
	s.counted[f.place].Store(c)
	return c
}

func (d *Distribution) make(f *Figure) {
	if f.Kind == KindHistogram {
		d.bounds = f.Bounds
		d.buckets = make([]atomic.Uint64, len(f.Bounds)+1)
	}
}

func (s *Set) series(f *Figure, words []string) *series {
	c := s.of(f)
	if c.closed != nil {
		return &c.closed[f.at(words)]
	}
	key := strings.Join(words, "\x00")
	c.mu.RLock()
	one := c.open[key]
	c.mu.RUnlock()
	if one != nil {
		return one
	}
	return c.make(key, words)
}

// make makes a series of an open figure.
func (c *counted) make(key string, words []string) *series {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.open[key]; one != nil {
		return one
	}
	if len(c.open) >= maxOpen {
		words = slices.Repeat([]string{Other}, len(c.figure.Labels))
		key = strings.Join(words, "\x00")
		if one := c.open[key]; one != nil {
			return one
		}
	}
	one := &series{words: slices.Clone(words)}
	one.distribution.make(c.figure)
	c.open[key] = one
	return one
}

// Reading is the present value of one series of a gauge.
type Reading struct {
	Value float64
	Words []string // one a label
}

// Read returns the present values of a gauge. When ctx ends it returns the values that it has.
type Read func(ctx context.Context) []Reading

type read struct {
	gauge *Figure
	from  Read
}

// Provide sets the function that the gauge reads its values with. A later Provide replaces it.
func (g *Gauge) Provide(s *Set, from Read) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = slices.DeleteFunc(s.reads, func(r read) bool { return r.gauge == g.figure })
	s.reads = append(s.reads, read{g.figure, from})
}

// ProvideOne is Provide for a gauge without labels.
func (g *Gauge) ProvideOne(s *Set, from func() float64) {
	g.Provide(s, func(context.Context) []Reading { return []Reading{{Value: from()}} })
}

// Sample is one series as it is now.
type Sample struct {
	Figure  *Figure
	Words   []string // one a label
	Value   float64  // of a counter or a gauge; of a histogram the sum of its values
	Count   uint64   // of a histogram: how many values
	Buckets []uint64 // of a histogram: how many values are at most the bound, one a bound
}

// Samples returns the series of a counter, including those that are zero, but not those of Other words that are zero.
func (c *Counter) Samples(s *Set) []Sample { return s.samples(c.figure) }

// Samples returns all series of all figures as they are now.
func (s *Set) Samples(ctx context.Context) []Sample {
	var all []Sample
	for _, f := range Figures() {
		if f.Kind != KindGauge && f.place < len(s.counted) {
			all = append(all, s.samples(f)...)
		}
	}
	s.mu.Lock()
	reads := slices.Clone(s.reads)
	s.mu.Unlock()
	for _, r := range reads {
		for _, reading := range r.from(ctx) {
			all = append(all, Sample{Figure: r.gauge, Words: reading.Words, Value: reading.Value})
		}
	}
	return all
}

// samples returns the series of a counter or a histogram. A zero series shows that nothing has happened yet. A zero
// series of Other words is left out, since it would only puzzle readers.
func (s *Set) samples(f *Figure) []Sample {
	var list []Sample
	c := s.of(f)
	for i := range c.closed {
		words, known := f.wordsAt(i)
		one := c.closed[i].sample(f, words)
		if known || one.Count > 0 || f.Kind == KindCounter && one.Value > 0 {
			list = append(list, one)
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, open := range c.open {
		list = append(list, open.sample(f, open.words))
	}
	return list
}

func (s *series) sample(f *Figure, words []string) Sample {
	if f.Kind == KindCounter {
		return Sample{Figure: f, Words: words, Value: float64(s.cell.n.Load())}
	}
	one := Sample{
		Figure:  f,
		Words:   words,
		Value:   math.Float64frombits(s.distribution.sum.Load()),
		Buckets: make([]uint64, len(f.Bounds)),
	}
	for i := range s.distribution.buckets {
		one.Count += s.distribution.buckets[i].Load()
		if i < len(one.Buckets) {
			one.Buckets[i] = one.Count
		}
	}
	return one
}
