package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrInUse reports a database that cannot be opened now: it was to be opened alone while others have it open, or
// another has it open alone.
var ErrInUse = errors.New("the database is in use")

// lockClass is the upper half of the number of the database's advisory lock; the lower half is the number of its table.
// Each connection holds the lock: shared, or exclusively with [Options].Alone. So nobody else has a connection while
// one process has the database alone, and that process loses the lock together with its connection.
const lockClass = 0x74757465

// lock takes the lock of the database for a connection. exists is false while there are no tables yet. On a database
// without advisory locks it always succeeds.
//
// Errors: [ErrInUse]; the database's.
func (e *Engine) lock(ctx context.Context, c *pgx.Conn) (exists bool, err error) {
	var table *int64
	if err := c.QueryRow(ctx, `select to_regclass('tutela_kv')::oid::bigint`).Scan(&table); err != nil || table == nil {
		return false, err
	}
	number := int64(lockClass)<<32 | *table
	statement := `select pg_try_advisory_lock_shared($1)`
	if e.options.Alone {
		statement = `select pg_try_advisory_lock($1)`
	}
	var got bool
	err = c.QueryRow(ctx, statement, number).Scan(&got)
	switch {
	case codeOf(err) != "":
		return true, nil
	case err != nil:
		return true, err
	case got:
		return true, nil
	case e.options.Alone:
		return true, fmt.Errorf("%w: a server or a command of tutela has it open", ErrInUse)
	}
	return true, fmt.Errorf("%w: a move between engines has it to itself", ErrInUse)
}
