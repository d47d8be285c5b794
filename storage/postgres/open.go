package postgres

import (
	"context"
	"errors"
	"time"
)

// oldestOpen counts the transactions of our programs alone: what another holds open, a dump say, writes nothing of ours. A
// transaction that waits for the synchronous standby is open too.
const oldestOpen = `select coalesce(extract(epoch from clock_timestamp() - min(xact_start)), 0)::float8 from pg_stat_activity
	where application_name = current_setting('application_name') and datname = current_database() and xact_start is not null and pid <> pg_backend_pid()`

// OldestOpen returns for how long the oldest transaction of a server that is open has been so; 0 when none is.
//
// Errors: Unavailable; a database that does not tell is one that has none open.
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

// unbegun is how long a closure may run before the database knows of its transaction. Whoever follows what is ordered by the
// time of transactions counts on it (storage.Store, Settled).
const unbegun = time.Second

// errStale is for a transaction of which the database did not know in time.
var errStale = errors.New("the transaction was held up before it began")
