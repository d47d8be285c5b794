package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrInUse reports a database that is in use: by servers or commands, when it is wanted alone; or by somebody who has it
// alone.
var ErrInUse = errors.New("the database is in use")

// lockClass is the upper half of the number of the advisory lock of a database; the lower half is the number of its table.
// Each connection holds the lock: shared, or alone when [Options].Alone asks for it. So nobody has a connection while
// another has the database alone, and whoever loses that connection has lost the lock with it.
const lockClass = 0x74757465

// lock takes the lock of the database for a connection. exists is false before the tables were made. A database that knows no
// such locks gives it to everybody.
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
