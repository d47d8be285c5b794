// Package ground is what the tests of the packages above storage stand on: a store over a real data file, with its ring
// of keys and a clock that the test owns. It lies apart from storagetest, which the engines' own tests use.
package ground

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/bolt"
	"tutela/storage/keyring"
	"tutela/storage/outbox"
	"tutela/storage/postgres"
	"tutela/storage/storagetest"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

// Start is what the clock shows in the beginning. Its fraction shows who cuts times off.
var Start = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// Options says how the ground is laid. The zero value is bolt as it is.
type Options struct {
	Chaos bool                                       // closures are run again at random
	Wrap  func(engine storage.Engine) storage.Engine // around the engine, to watch it
	Clock *storage.FakeClock                         // default: one that shows Start
	Log   *slog.Logger                               // default: none
}

// NeedsFile skips a test of what only a data file has, or that owns all time and so waits for no database, where the tests run
// beside a PostgreSQL.
func NeedsFile(t testing.TB) {
	t.Helper()
	if os.Getenv(pgtest.Variable) != "" {
		t.Skip("is about a data file")
	}
}

// Ground is an open store. It is closed when its test ends.
type Ground struct {
	Path  string
	Clock *storage.FakeClock
	Store *storage.Store
	Ring  *keyring.Ring

	t      testing.TB
	o      Options
	master []byte
	wakes  storage.Wakes // of all stores over the engine

	database string // its connection string, when it is no file
}

// OnEveryEngine runs a test on the bolt engine, bare and, unless the run is a short one, with closures that are run again.
func OnEveryEngine(t *testing.T, test func(t *testing.T, o Options)) {
	t.Helper()
	t.Run("bolt", func(t *testing.T) { test(t, Options{}) })
	t.Run("chaos", func(t *testing.T) {
		if testing.Short() {
			t.Skip("the same with closures that are run again: run it without -short")
		}
		test(t, Options{Chaos: true})
	})
}

// Open makes a data file of the test's own and opens it.
func Open(t testing.TB, o Options) *Ground {
	t.Helper()
	if o.Clock == nil {
		o.Clock = storage.NewFakeClock(Start)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Ground{
		Path:   filepath.Join(t.TempDir(), "tutela.db"),
		Clock:  o.Clock,
		t:      t,
		o:      o,
		master: make([]byte, keyring.KeyBytes),
		wakes:  storage.NewWakes(),
	}
	_, _ = rand.Read(g.master)
	g.open()
	t.Cleanup(func() { check.Must(g.t, g.Store.Close()) })
	return g
}

// Reopen closes the store and opens it again, as a server that restarts does, with the wall moved by jump in between.
func (g *Ground) Reopen(jump time.Duration) {
	g.t.Helper()
	check.Must(g.t, g.Store.Close())
	g.Clock.Jump(jump)
	g.open()
}

// Drain does what is due in the outbox, and what comes due by it, with a sender of its own. Entries that fail stay; so do
// those of a kind without a handler.
func (g *Ground) Drain(handlers ...outbox.Handler) {
	g.t.Helper()
	sender, err := outbox.NewSender(g.Store, outbox.Options{Handlers: handlers, Log: g.o.Log})
	check.Must(g.t, err)
	check.Must(g.t, sender.Drain(g.t.Context()))
}

func (g *Ground) open() {
	g.t.Helper()
	ctx := context.Background()
	bare := g.engine(ctx)
	engine := storagetest.Watch(g.t, bare)
	if g.o.Chaos {
		engine = storagetest.Chaos(g.t, bare)
	}
	if g.o.Wrap != nil {
		engine = g.o.Wrap(engine)
	}
	var err error
	g.Store, err = storage.Open(ctx, engine, storage.Options{Clock: g.Clock, Logger: g.o.Log, Wakes: g.wakes})
	check.Must(g.t, err)
	g.Ring, err = keyring.Open(ctx, g.Store, g.master)
	check.Must(g.t, err)
}

// Beside opens another store over the same engine, as another server does: what is written by one is seen by the other, and wakes go to
// both. It lasts as long as g.
func (g *Ground) Beside() *Ground {
	g.t.Helper()
	other := *g
	ctx := context.Background()
	var err error
	other.Store, err = storage.Open(ctx, g.Store.Engine(), storage.Options{Clock: g.Clock, Logger: g.o.Log, Wakes: g.wakes})
	check.Must(g.t, err)
	other.Ring, err = keyring.Open(ctx, other.Store, g.master)
	check.Must(g.t, err)
	return &other
}

// engine opens the data file, or where the tests run beside a PostgreSQL, the database.
func (g *Ground) engine(ctx context.Context) storage.Engine {
	g.t.Helper()
	if os.Getenv(pgtest.Variable) == "" {
		file, err := bolt.Open(ctx, g.Path, bolt.Options{Logger: g.o.Log})
		check.Must(g.t, err)
		return file
	}
	if g.database == "" {
		g.database = pgtest.Database(g.t)
	}
	database, err := postgres.Open(ctx, g.database, postgres.Options{Logger: g.o.Log})
	check.Must(g.t, err)
	return database
}
