package outbox

import (
	"context"
	"strings"
	"sync"
	"time"

	"tutela/storage/meter"
)

// What is counted of the outbox. The kinds are those that this program handles, and the providers those that
// Options.Provider knows: a destination may name a host, and never becomes a label.
var (
	depth = meter.NewGauge("tutela_outbox_entries",
		"Entries that wait in the outbox, by kind and push provider. Counting stops at 100 000.",
		meter.Label{Name: "kind"}, meter.Label{Name: "provider"})
	oldest = meter.NewGauge("tutela_outbox_oldest_seconds",
		"How long ago the entry was added that waits longest, by kind and push provider.",
		meter.Label{Name: "kind"}, meter.Label{Name: "provider"})
	breakers = meter.NewGauge("tutela_outbox_breakers",
		"Destinations whose breaker is not closed, by kind, push provider and state.",
		meter.Label{Name: "kind"}, meter.Label{Name: "provider"}, meter.Words("state", Open, HalfOpen))
	inHandNow = meter.NewGauge("tutela_outbox_attempts", "Attempts to do an entry of the outbox that are under way.")
	asideNow  = meter.NewGauge("tutela_outbox_aside_entries", "Entries of the outbox that cannot be read, and lie aside.")
)

const (
	maxDepth = 100_000         // most pointers that one count of the depth reads
	depthAge = 5 * time.Second // a count is used again for this long
)

// noProvider is the word for entries that go through no push provider.
const noProvider = "none"

// provide makes the gauges read this sender.
func (s *Sender) provide() {
	set := s.store.Meter()
	inHandNow.ProvideOne(set, func() float64 { return float64(s.attempts()) })
	asideNow.Provide(set, func(ctx context.Context) []meter.Reading {
		n, err := countAside(ctx, s.store)
		if err != nil {
			return nil
		}
		return []meter.Reading{{Value: float64(n)}}
	})
	breakers.Provide(set, func(context.Context) []meter.Reading { return s.readBreakers() })
	l := &lines{sender: s}
	depth.Provide(set, func(ctx context.Context) []meter.Reading {
		return l.read(ctx, func(w waiting) float64 { return float64(w.entries) })
	})
	oldest.Provide(set, func(ctx context.Context) []meter.Reading {
		now := s.store.Now()
		return l.read(ctx, func(w waiting) float64 { return max(0, now.Sub(w.oldest).Seconds()) })
	})
}

// readBreakers counts the breakers that are not closed.
func (s *Sender) readBreakers() []meter.Reading {
	now := s.store.Now()
	s.mu.Lock()
	destinations := s.roster.status(now)
	s.mu.Unlock()
	counted := map[[3]string]int{}
	for _, kind := range s.kinds() {
		for _, provider := range s.providers {
			for _, state := range []BreakerState{Open, HalfOpen} {
				counted[[3]string{kind, provider, string(state)}] = 0
			}
		}
	}
	for _, d := range destinations {
		if d.State != Closed {
			kind, provider := s.wordsOf(d.Name)
			counted[[3]string{kind, provider, string(d.State)}]++
		}
	}
	list := make([]meter.Reading, 0, len(counted))
	for words, n := range counted {
		list = append(list, meter.Reading{Value: float64(n), Words: words[:]})
	}
	return list
}

// wordsOf returns the labels under which a destination is counted.
func (s *Sender) wordsOf(destination string) (kind, provider string) {
	kind, where, _ := strings.Cut(destination, "/")
	if _, handled := s.handlers[kind]; !handled {
		kind = meter.Other
	}
	if where == "" || s.provider == nil {
		return kind, noProvider
	}
	return kind, s.provider(where)
}

// waiting sums up the lines that are counted together.
type waiting struct {
	entries int
	oldest  time.Time
}

// lines counts the waiting entries. Safe for concurrent use.
type lines struct {
	sender *Sender

	mu     sync.Mutex // guards what is below; held during a count, so that one count serves all who wait
	looked time.Time
	latest map[[2]string]waiting
}

func (l *lines) read(ctx context.Context, value func(waiting) float64) []meter.Reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.sender.store.Now()
	if age := now.Sub(l.looked); l.latest == nil || age < 0 || age >= depthAge {
		latest, err := l.sender.depths(ctx)
		if err != nil {
			return nil
		}
		l.latest = latest
		l.looked = now
	}
	list := make([]meter.Reading, 0, len(l.latest))
	for words, w := range l.latest {
		list = append(list, meter.Reading{Value: value(w), Words: []string{words[0], words[1]}})
	}
	return list
}

// depths counts the pointers of all lines. The result has every kind and provider, even when nothing waits.
func (s *Sender) depths(ctx context.Context) (map[[2]string]waiting, error) {
	now := s.store.Now()
	counted := map[[2]string]waiting{}
	for _, kind := range s.kinds() {
		for _, provider := range s.providers {
			counted[[2]string{kind, provider}] = waiting{oldest: now}
		}
	}
	read := 0
	err := pointers.Peek(ctx, s.store, "", "", false, func(key string, value []byte) bool {
		read++
		if p, err := parsePointer(key, value); err == nil {
			kind, provider := s.wordsOf(p.destination)
			words := [2]string{kind, provider}
			w, known := counted[words]
			if added := p.addedBy(now); !known || added.Before(w.oldest) {
				w.oldest = added
			}
			w.entries++
			counted[words] = w
		}
		return read < maxDepth && ctx.Err() == nil
	})
	return counted, err
}

// addedBy returns when an entry was added. If the pointer does not say, it returns the earlier of now and when the
// entry is due.
func (p *pointer) addedBy(now time.Time) time.Time {
	switch {
	case p.Added > 0:
		return time.UnixMilli(p.Added)
	case p.due.Before(now):
		return p.due
	default:
		return now
	}
}

// kinds are the kinds that this sender handles.
func (s *Sender) kinds() []string {
	list := make([]string, 0, len(s.handlers))
	for kind := range s.handlers {
		list = append(list, kind)
	}
	return list
}
