package storage_test

import (
	"context"
	"testing"
	"time"

	"tutela/storage"
)

// sharing opens a further store over the engine of a house, as another server does.
func sharing(t testing.TB, h *house) *storage.Store {
	t.Helper()
	s, err := storage.Open(background, h.Engine(), storage.Options{Clock: h.clock, Logger: quiet, Shared: true})
	must(t, err)
	return s
}

func TestLeads_OneOfSeveralServersAndAnotherWhenItIsSilent(t *testing.T) {
	h := newHouse(t)
	one := sharing(t, h)
	other := sharing(t, h)
	for range 10 { // as long as it asks it has the job
		equal(t, one.Leads(background, "sweep"), true)
		equal(t, other.Leads(background, "sweep"), false)
		h.clock.Advance(20 * time.Second)
	}
	h.clock.Advance(20 * time.Second)
	equal(t, other.Leads(background, "sweep"), true)
	equal(t, one.Leads(background, "sweep"), false)
	equal(t, one.Leads(background, "trim"), true) // each job by itself
}

func TestLeads_NobodyWhoCannotAsk(t *testing.T) {
	h := newHouse(t)
	one := sharing(t, h)
	ended, cancel := context.WithCancel(background)
	cancel()
	equal(t, one.Leads(ended, "sweep"), false)
	equal(t, one.Leads(background, "sweep"), true)
	h.clock.Advance(25 * time.Second)
	equal(t, one.Leads(ended, "sweep"), true) // it has it still
	h.clock.Advance(10 * time.Second)
	equal(t, one.Leads(ended, "sweep"), false)
}

func TestLeads_AStoreThatNobodySharesDoesAllByItself(t *testing.T) {
	h := newHouse(t)
	equal(t, h.Leads(background, "sweep"), true)
}

// Of two servers only the one that has the job removes what is past its time.
func TestRunSweeper_IsRunByOneOfTheServers(t *testing.T) {
	h := newHouse(t)
	one := sharing(t, h)
	other := sharing(t, h)
	equal(t, one.Leads(background, "sweep"), true)
	h.put(storage.UID{1}, "k", note{Until: begin.Add(time.Minute)})
	h.clock.Advance(2 * time.Minute)
	equal(t, one.Leads(background, "sweep"), true)
	n, err := other.SweepWhenLeading(background)
	must(t, err)
	equal(t, n, 0)
	n, err = one.SweepWhenLeading(background)
	must(t, err)
	equal(t, n, 1)
}
