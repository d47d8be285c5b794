// Package postgres is the engine for installations that outgrow one machine: one table of keys and values in a PostgreSQL
// database, which several servers share.
//
// What always holds, and who keeps it so:
//
//   - A transaction is isolated: it runs at isolation level SERIALIZABLE, and runs again when the database finds a
//     conflict ([Engine.Update]). A closure's error counts only when the closure's reads were serializable. So its
//     transaction is committed, too, without its writes.
//   - Acknowledged means committed, and on the synchronous standby where there is one: a COMMIT that did not wait for
//     the standby is not a success (commit.go).
//   - Nothing is done twice. A transaction runs again only when it is certain that nothing of it was kept. If the
//     connection broke during COMMIT, the rows are looked up: each holds the number of the transaction that wrote it.
//     If they do not tell, the result is [storage.ErrOutcomeUnknown].
//   - An old primary that comes back is not written to, because a server remembers the highest timeline that it has
//     seen (connect.go).
//
// The SQL is limited to what CockroachDB and YugabyteDB document, too: one table, whose rows are found by the primary
// key only.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"tutela/storage"
	"tutela/storage/meter"
)

// Options says how to open a database. The zero value is right for production.
type Options struct {
	Logger *slog.Logger // default: slog.Default()
	Meter  *meter.Set   // this server's figures; nil: nothing is counted

	// Patience is how long a call tries before it returns Unavailable: to get a connection, and to run a
	// transaction that conflicts with others. Default: 10 s.
	Patience time.Duration

	// Alone opens the database for this process only: no server may have it open meanwhile. Only one goroutine may
	// use the engine then.
	Alone bool
}

// Engine is an open database: a [storage.Engine]. Safe for concurrent use.
type Engine struct {
	pool     *pgxpool.Pool
	options  Options
	timeline atomic.Int64 // the highest that was seen

	// turn lets a transaction that has failed often run alone at this server: that one holds it for writing, all
	// others for reading.
	turn sync.RWMutex

	mu     sync.Mutex
	closed bool           // guarded by mu
	calls  sync.WaitGroup // calls that have begun; added to under mu
}

var errClosed = storage.ErrUnavailable.With("the store is closed")

// Open connects to the database that url names, and makes the table in an empty one. url is a connection string of libpq, as a
// URL or as words: postgres://user@host1,host2/tutela?target_session_attrs=read-write. What it leaves out comes from the
// environment (PGHOST, PGPASSWORD, PGPASSFILE …).
//
// Errors: [ErrURL]; [ErrPooler]; [ErrInUse]; Unavailable, when no server answers.
func Open(ctx context.Context, url string, o Options) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	e := &Engine{options: o}
	config, err := e.config(url)
	if err != nil {
		return nil, err
	}
	if err := e.refusePooler(ctx, config.ConnConfig); err != nil {
		return nil, err
	}
	if e.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, unavailable(err)
	}
	if err := e.prepare(ctx); err != nil {
		e.pool.Close()
		return nil, err
	}
	return e, nil
}

// schema is run by each server that opens the database. It changes nothing that exists.
//
// v is bytea, not jsonb, which takes no U+0000. w is the number of the transaction that wrote the row.
var schema = []string{
	`create table if not exists tutela_kv (k bytea primary key, v bytea not null, w bigint not null)`,
	`create table if not exists tutela_engine (name text primary key, value bigint not null)`,
	`insert into tutela_engine (name, value) values ('layout', 1) on conflict (name) do nothing`,
}

// layout is the newest form of the tables that this program knows.
const layout = 1

// prepare makes the tables and reads the highest timeline. If two servers do it at once, PostgreSQL refuses one of
// them, which tries again.
//
// Errors: Invalid, when a newer program made the tables; Unavailable.
func (e *Engine) prepare(ctx context.Context) error {
	var made int64
	deadline := time.Now().Add(e.options.Patience)
	for attempt := 0; ; attempt++ {
		err := e.makeTables(ctx)
		if err == nil {
			e.pool.Reset() // connections from before the tables have no prepared statements
			err = e.pool.QueryRow(ctx, `select value from tutela_engine where name = 'layout'`).Scan(&made)
		}
		if err == nil {
			break
		}
		// Another server is making the tables, too, or a command that has the database open is about to end.
		again := isCollision(err) && attempt < 10 || errors.Is(err, ErrInUse) && time.Now().Before(deadline)
		switch {
		case again && pause(ctx, attempt):
		case errors.Is(err, ErrInUse):
			return err
		default:
			return unavailable(err)
		}
	}
	if made > layout {
		return storage.ErrForeign.With("the database has tables of form %d, and this program knows them up to %d: start a newer one", made, layout)
	}
	return nil
}

func (e *Engine) makeTables(ctx context.Context) error {
	for _, statement := range schema {
		if _, err := e.pool.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// shards is over how many shards appended keys are spread, so that two transactions that append seldom touch the same
// page of the index.
const shards = 64

// Shards is the number of shards over which appended keys are spread.
func (e *Engine) Shards() int { return shards }

// Healthy reports whether the database answers.
//
// Errors: Unavailable.
func (e *Engine) Healthy() error {
	done, err := e.begin()
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), e.options.Patience)
	defer cancel()
	return unavailable(e.pool.Ping(ctx))
}

// begin counts a call that begins; done counts its end.
//
// Errors: Unavailable, when the engine is closed.
func (e *Engine) begin() (done func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errClosed
	}
	e.calls.Add(1)
	return e.calls.Done, nil
}

// Close waits for the calls that have begun, and closes all connections.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.calls.Wait()
	e.pool.Close()
	return nil
}

// ErrURL reports a connection string that cannot be read.
var ErrURL = errors.New("this is not the address of a database")

func urlError(err error) error { return fmt.Errorf("%w: %w", ErrURL, err) }
