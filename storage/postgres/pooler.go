package postgres

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/jackc/pgx/v5"
)

// ErrPooler reports a pooler in transaction mode, which gives each transaction any free connection to the database.
// That does not work, because prepared statements, LISTEN and the locks of a server belong to one connection.
var ErrPooler = errors.New("there is a pooler in transaction mode in front of the database: connect to PostgreSQL itself, or set the pooler to session mode (PgBouncer: pool_mode = session)")

// refusePooler is [refusePoolerAt] within the engine's patience.
//
// Errors: [ErrPooler]; Unavailable.
func (e *Engine) refusePooler(ctx context.Context, config *pgx.ConnConfig) error {
	bounded, cancel := context.WithTimeout(ctx, e.options.Patience)
	defer cancel()
	err := refusePoolerAt(bounded, config)
	if errors.Is(err, ErrPooler) {
		return err
	}
	return unavailable(err)
}

// refusePoolerAt returns ErrPooler when two transactions of one client connection can run on different connections to
// the database.
//
// Errors: [ErrPooler]; the database's.
func refusePoolerAt(ctx context.Context, config *pgx.ConnConfig) error {
	mine, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer closeSoon(ctx, mine)
	var pid uint32
	if err := mine.QueryRow(ctx, `select pg_backend_pid()::int8`, pgx.QueryExecModeSimpleProtocol).Scan(&pid); err != nil || pid == mine.PgConn().PID() {
		if codeOf(err) != "" {
			return nil // a database without processes
		}
		return err // the database itself has answered, not a pooler
	}
	mark := rand.Text()
	if _, err := mine.Exec(ctx, `select set_config('tutela.session', $1, false)`, pgx.QueryExecModeSimpleProtocol, mark); err != nil {
		return err
	}
	return askAnother(ctx, config, mine, mark)
}

// askAnother opens a transaction on a second client connection and then asks mine for the mark. Behind a pooler the
// second takes the free connection to the database, so that mine gets another one, without the mark.
func askAnother(ctx context.Context, config *pgx.ConnConfig, mine *pgx.Conn, mark string) error {
	other, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer closeSoon(ctx, other)
	if _, err := other.Exec(ctx, `begin`, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	var there, here string
	for conn, into := range map[*pgx.Conn]*string{other: &there, mine: &here} {
		if err := conn.QueryRow(ctx, sessionMark, pgx.QueryExecModeSimpleProtocol).Scan(into); err != nil {
			return err
		}
	}
	if there == mark || here != mark {
		return ErrPooler
	}
	return nil
}

const sessionMark = `select coalesce(current_setting('tutela.session', true), '')`

func closeSoon(ctx context.Context, c *pgx.Conn) { _ = c.Close(context.WithoutCancel(ctx)) }
