package dashboard

import (
	"context"
	"maps"
	"slices"
	"time"

	"tutela/storage"
	"tutela/storage/outbox"
)

// health is a thing that the server looks at.
type health struct{ Name, Says string }

// OK reports whether nothing is wrong with it.
func (h health) OK() bool { return h.Says == "ok" }

// knownChecks are those that have words in the catalogue, below admin_overview.health.check.
var knownChecks = []string{"store", "disk", "clock", "clock_step", "outbox", "damage", "push", "database_clock"}

// Known reports whether it has words.
func (h health) Known() bool { return slices.Contains(knownChecks, h.Name) }

// Figures that the server counts for /metrics, and the overview shows too.
const (
	fileFigure   = "tutela_data_file_bytes"
	waitsFigure  = "tutela_outbox_entries"
	oldestFigure = "tutela_outbox_oldest_seconds"
)

// system is how the server stands, also when nothing is wrong.
type system struct {
	Checks  []health
	File    uint64 // MB of the data file, 1 at least; 0: the data lie in a database
	Waits   uint64 // entries of the outbox
	Oldest  uint64 // minutes for which the one that waits longest has
	Away    []string
	Ends    time.Time // of the certificate; zero: there is no TLS here
	Soon    bool      // that is soon
	Clock   storage.ClockState
	Differs uint64 // seconds by which the machine's clock has moved
}

// soonEnds is how long before its end a certificate is spoken of.
const soonEnds = 14 * 24 * time.Hour

// standing returns how the server stands.
func (p *pages) standing(ctx context.Context) (s system, err error) {
	checks := p.Checks()
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		s.Checks = append(s.Checks, health{name, checks[name]})
	}
	for _, one := range p.Store.Meter().Samples(ctx) {
		switch one.Figure.Name {
		case fileFigure:
			s.File = max(1, uint64(one.Value)>>20)
		case waitsFigure:
			s.Waits += uint64(one.Value)
		case oldestFigure:
			s.Oldest = max(s.Oldest, uint64(one.Value)/60)
		}
	}
	state, err := p.Outbox(ctx)
	for _, one := range state.Providers {
		if one.State == outbox.Open {
			s.Away = append(s.Away, one.Name)
		}
	}
	s.Clock = p.Store.ClockState()
	s.Differs = uint64(s.Clock.Jump.Abs() / time.Second)
	s.Ends = p.TLSEnd()
	s.Soon = !s.Ends.IsZero() && s.Ends.Sub(p.Store.Wall()) < soonEnds
	return s, err
}
