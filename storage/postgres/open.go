package postgres

import (
	"context"
	"errors"
	"time"
)

// oldestOpen looks at transactions of our own programs only: others, such as a dump, write none of our rows. A
// transaction that waits for the synchronous standby counts as open.
const oldestOpen = `select coalesce(extract(epoch from clock_timestamp() - min(xact_start)), 0)::float8 from pg_stat_activity
	where application_name = current_setting('application_name') and datname = current_database() and xact_start is not null and pid <> pg_backend_pid()`

// OldestOpen returns the age of the oldest open transaction of any of our servers; 0 when none is open.
//
// Errors: Unavailable. A database that does not tell counts as one with none open.
func (e *Engine) OldestOpen(ctx context.Context) (time.Duration, error) {
	done, err := e.begin()
	if err != nil {
		return 0, err
	}
	defer done()
	conn, err := e.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer release(conn)
	var seconds float64
	err = conn.QueryRow(ctx, oldestOpen).Scan(&seconds)
	if err != nil && codeOf(err) == "" {
		return 0, unavailable(err)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// unbegun is how long a closure may run before the database knows of its transaction. [storage.Store.Settled] relies on
// it.
const unbegun = time.Second

// errStale reports a transaction that reached the database too late (see unbegun).
var errStale = errors.New("the transaction was held up before it began")
