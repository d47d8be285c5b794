package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The statements, by the names under which each connection prepares them.
const (
	beginSerializable = "tutela_begin"
	beginReading      = "tutela_read"
	getOne            = "tutela_get"
	getMany           = "tutela_many"
	scanUp            = "tutela_up"
	scanUpToEnd       = "tutela_up_end"
	scanDown          = "tutela_down"
	scanDownFromEnd   = "tutela_down_end"
	putAll            = "tutela_put"
	deleteAll         = "tutela_delete"
	writtenBy         = "tutela_written"
	commit            = "tutela_commit"
)

var statements = map[string]string{
	beginSerializable: `begin isolation level serializable`,
	beginReading:      `begin isolation level repeatable read read only`,
	commit:            `commit`,
	getOne:            `select v from tutela_kv where k = $1`,
	getMany:           `select k, v from tutela_kv where k = any($1::bytea[])`,
	scanUp:            `select k, v from tutela_kv where k >= $1 and k < $2 order by k limit $3`,
	scanUpToEnd:       `select k, v from tutela_kv where k >= $1 order by k limit $2`,
	scanDown:          `select k, v from tutela_kv where k >= $1 and k < $2 order by k desc limit $3`,
	scanDownFromEnd:   `select k, v from tutela_kv where k >= $1 order by k desc limit $2`,
	putAll: `insert into tutela_kv (k, v, w) select put.k, put.v, $3 from unnest($1::bytea[], $2::bytea[]) as put (k, v)
		on conflict (k) do update set v = excluded.v, w = excluded.w`,
	deleteAll: `delete from tutela_kv where k = any($1::bytea[])`,
	writtenBy: `select count(*) from tutela_kv where k = any($1::bytea[]) and w = $2`,
}

// settings are made on each connection. A plan that reads the whole table, which the planner prefers while the table is
// small, would make a serializable transaction conflict with every other. A database may refuse settings that it does
// not know.
var settings = []string{
	`set enable_seqscan = off`,
	`set plan_cache_mode = force_generic_plan`,
	`set idle_in_transaction_session_timeout = '60s'`,
}

// connections is how many connections a server has, unless the connection string says pool_max_conns.
const connections = 24

// config reads a connection string.
//
// Errors: [ErrURL], which shows no password.
func (e *Engine) config(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, urlError(err)
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = connections
	}
	if e.options.Alone {
		config.MaxConns = 2 // a second one to look up what a lost one did
	} else {
		config.MinConns = 1 // it holds the lock even while nobody calls
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "tutela"
	}
	config.HealthCheckPeriod = 5 * time.Second
	config.AfterConnect = e.connected
	config.ConnConfig.OnNotice = noticed
	return config, nil
}

// Describe names the database of a connection string for people, without password.
func Describe(url string) string {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return "a database"
	}
	return fmt.Sprintf("the database %s at %s:%d", config.Database, config.Host, config.Port)
}

// connected prepares a new connection.
//
// Errors: errOldPrimary; [ErrInUse]; the database's.
func (e *Engine) connected(ctx context.Context, c *pgx.Conn) error {
	if err := e.fence(ctx, c); err != nil {
		return err
	}
	for _, setting := range settings {
		if _, err := c.Exec(ctx, setting); err != nil && codeOf(err) == "" {
			return err
		}
	}
	exists, err := e.lock(ctx, c)
	if err != nil || !exists {
		return err // this one makes it; prepare resets the pool
	}
	return ready(ctx, c)
}

// ready prepares the statements of a connection.
func ready(ctx context.Context, c *pgx.Conn) error {
	for name, sql := range statements {
		if _, err := c.Prepare(ctx, name, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// fence refuses a database server on a lower timeline than one that was seen before. A promotion begins a new timeline,
// so an old primary that comes back is on a lower one. When fence sees a higher timeline, it gives up the connections
// to the old primary.
func (e *Engine) fence(ctx context.Context, c *pgx.Conn) error {
	var now int64
	err := c.QueryRow(ctx, `select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int8`).Scan(&now)
	if codeOf(err) != "" {
		return nil // a database without timelines, or one in recovery, which takes no writes anyway
	}
	if err != nil {
		return err
	}
	for {
		highest := e.timeline.Load()
		if now < highest {
			return fmt.Errorf("%w: it is on timeline %d, and %d was seen", errOldPrimary, now, highest)
		}
		if e.timeline.CompareAndSwap(highest, now) {
			if highest != 0 && now > highest {
				e.options.Logger.Warn("the database was failed over", "timeline", now, "before", highest)
				go e.pool.Reset()
			}
			return nil
		}
	}
}

// unsynced counts, for each connection, how often COMMIT said that it did not wait for the synchronous standby.
type unsynced struct{ n atomic.Int64 }

const unsyncedKey = "tutela.unsynced"

// noticed handles a notice of the database. PostgreSQL says only by a warning that a commit is not on the standby
// (SyncRepWaitForLSN).
func noticed(c *pgconn.PgConn, notice *pgconn.Notice) {
	if !strings.Contains(notice.Message, "synchronous replication") && notice.Code != "57014" {
		return
	}
	unsyncedOf(c).n.Add(1)
}

// unsyncedOf returns the count of a connection.
func unsyncedOf(c *pgconn.PgConn) *unsynced {
	data := c.CustomData()
	if known, ok := data[unsyncedKey].(*unsynced); ok {
		return known
	}
	made := new(unsynced)
	data[unsyncedKey] = made
	return made
}
