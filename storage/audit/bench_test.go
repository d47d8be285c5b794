package audit_test

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// BenchmarkRecord measures what the events of a login cost of the writer's time: the closure alone, nothing committed,
// for a user who has events already. An empty closure stands beside them, for what the transaction itself costs. CPU is
// counted beside the time, for machines that are busy with other things. Run it with
//
//	go test ./storage/audit -run '^$' -bench Record
func BenchmarkRecord(b *testing.B) {
	g := ground.Open(b, ground.Options{})
	uid := storage.NewUID()
	asked := audit.Event{
		Type:   audit.StartAuth,
		UID:    uid,
		Client: "cl_0123456789abcdef",
		Facts:  audit.Facts{audit.FactPresence: audit.PresenceTap},
	}
	sent := audit.Event{Type: audit.SendPush, UID: uid, Client: "cl_0123456789abcdef"}
	house := audit.Event{Type: audit.TokenGiven, Client: "cl_0123456789abcdef"}
	system := audit.ByUser().WithOrigin("192.0.2.17", "shop/1.0 (login system)")
	record := func(tx *storage.Tx, actor audit.Actor, e audit.Event) error {
		return audit.Record(tx, actor, e, audit.Detail{})
	}
	must(b, g.Store.Update(b.Context(), func(tx *storage.Tx) error {
		return errors.Join(audit.EnsureKey(tx, uid), record(tx, system, asked))
	}))
	for _, c := range []struct {
		name string
		fn   func(*storage.Tx) error
	}{
		{"empty", func(*storage.Tx) error { return nil }},
		{"detail", func(tx *storage.Tx) error { return record(tx, system, asked) }},
		{"bare", func(tx *storage.Tx) error { return record(tx, audit.Actor{}, sent) }},
		{"house", func(tx *storage.Tx) error { return record(tx, audit.Actor{}, house) }},
	} {
		b.Run(c.name, func(b *testing.B) { forgetting(b, g, c.fn) })
	}
}

// forgetting runs a closure again and again on one state of the store. What it writes is thrown away.
func forgetting(b *testing.B, g *ground.Ground, fn func(*storage.Tx) error) {
	b.ReportAllocs()
	undo := errors.New("undo")
	err := g.Store.Engine().Update(b.Context(), func(r storage.Reader) (*storage.WriteSet, error) {
		inner, err := storage.Open(b.Context(), oneState{g.Store.Engine(), r}, storage.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		inner.SetSealer(g.Ring)
		begun := cpuTime(b)
		defer func() { b.ReportMetric(float64(cpuTime(b)-begun)/float64(b.N), "cpu-ns/op") }()
		for b.Loop() {
			if err := inner.Update(b.Context(), fn); err != nil {
				return nil, err
			}
		}
		return nil, undo
	})
	if !errors.Is(err, undo) {
		b.Fatal(err)
	}
}

// cpuTime is what the process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// oneState is an engine whose transactions all read one state and whose writes are thrown away.
type oneState struct {
	storage.Engine
	r storage.Reader
}

func (e oneState) Update(_ context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	_, err := fn(e.r)
	return err
}

func (e oneState) View(_ context.Context, fn func(storage.Reader) error) error { return fn(e.r) }
