package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tutela/storage"
)

// commit sends a transaction's writes and its COMMIT in one round trip.
//
// Errors: *againError, when nothing was kept; *doubtError, when the outcome must be looked up; Unavailable;
// [storage.ErrOutcomeUnknown].
func (e *Engine) commit(ctx context.Context, r *reader, ws *storage.WriteSet) error {
	w := writing{number: rand.Int64()} //nolint:gosec // tells transactions apart, and guards nothing
	_ = ws.Each(func(key string, value []byte) error {
		if value == nil {
			w.deleted = append(w.deleted, []byte(key))
			return nil
		}
		w.keys = append(w.keys, []byte(key))
		w.values = append(w.values, value)
		return nil
	})
	if err := w.check(); err != nil {
		return err
	}
	if !r.begun && r.stale() {
		return r.beforeCommit(errStale)
	}
	before := unsyncedOf(r.conn.PgConn()).n.Load()
	err := w.send(ctx, r)
	if err == nil && unsyncedOf(r.conn.PgConn()).n.Load() != before {
		return unknown(errUnsynced)
	}
	if err == nil {
		return nil
	}
	// If the database answered with an error and the connection still works, the transaction was rolled back.
	// Otherwise its outcome is not known.
	var answer *pgconn.PgError
	if errors.As(err, &answer) && !isLost(err) {
		if isConflict(err) {
			return &againError{cause: err, taken: true}
		}
		return unavailable(err)
	}
	drop(r.conn)
	return &doubtError{
		pid:   r.conn.PgConn().PID(),
		w:     w,
		cause: err,
	}
}

// doubtError reports a COMMIT whose answer was lost.
type doubtError struct {
	pid   uint32 // of the connection's process
	w     writing
	cause error
}

func (d *doubtError) Error() string { return d.cause.Error() }
func (d *doubtError) Unwrap() error { return d.cause }

// errUnsynced reports a commit that did not wait for the synchronous standby.
var errUnsynced = errors.New("the synchronous standby has not confirmed it")

// writing holds the writes of a transaction.
type writing struct {
	number  int64 // identifies the transaction; stored with each row that it writes
	keys    [][]byte
	values  [][]byte
	deleted [][]byte
}

// check returns an error for keys that no engine takes.
func (w writing) check() error {
	for _, keys := range [][][]byte{w.keys, w.deleted} {
		for _, key := range keys {
			if len(key) == 0 || len(key) > storage.MaxKeyBytes {
				return fmt.Errorf("a key of %d bytes: keys have 1 to %d", len(key), storage.MaxKeyBytes)
			}
		}
	}
	return nil
}

func (w writing) send(ctx context.Context, r *reader) error {
	batch := new(pgx.Batch)
	if !r.begun {
		batch.Queue(r.start)
	}
	if len(w.deleted) > 0 {
		batch.Queue(deleteAll, w.deleted)
	}
	if len(w.keys) > 0 {
		batch.Queue(putAll, w.keys, w.values, w.number)
	}
	batch.Queue(commit)
	answers := r.conn.SendBatch(ctx, batch)
	for range batch.Len() {
		if _, err := answers.Exec(); err != nil {
			_ = answers.Close()
			return err
		}
	}
	return answers.Close()
}

// unknown is [storage.ErrOutcomeUnknown] with its cause, which is for the log.
func unknown(cause error) error { return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, cause) }

// lookUp finds out the outcome of a COMMIT whose answer was lost. If a row has the transaction's number, the
// transaction was kept. It asks once the old connection's process has ended, or another database server has taken over.
//
// Errors: [storage.ErrOutcomeUnknown], when no row has it: later transactions may have overwritten its rows.
func (e *Engine) lookUp(d *doubtError) error {
	ctx, cancel := context.WithTimeout(context.Background(), e.options.Patience)
	defer cancel()
	for attempt := 0; ; attempt++ {
		kept, over, err := e.wasKept(ctx, d.pid, d.w)
		if err == nil && kept {
			return nil
		}
		if errors.Is(err, errUnsynced) || err == nil && over || !pause(ctx, attempt+5) {
			return unknown(d.cause)
		}
	}
}

// wasKept looks for rows with the transaction's number. over means that the transaction cannot be committed any more.
func (e *Engine) wasKept(ctx context.Context, pid uint32, w writing) (kept, over bool, err error) {
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return false, false, err
	}
	defer release(conn)
	var alive int
	if err := conn.QueryRow(ctx, `select count(*) from pg_stat_activity where pid = $1 and application_name = current_setting('application_name')`, int64(pid)).Scan(&alive); err != nil {
		return false, false, err
	}
	if alive > 0 {
		_, err := conn.Exec(ctx, `select pg_terminate_backend($1)`, int32(pid))
		return false, false, err
	}
	var n int
	if err := conn.QueryRow(ctx, writtenBy, w.keys, w.number).Scan(&n); err != nil || n == 0 {
		return false, err == nil, err
	}
	return true, true, synced(ctx, conn.Conn())
}

// synced waits until everything committed so far is on the synchronous standby, too. A visible row only shows that it
// was committed here, perhaps by a process that ended while it waited for the standby. synced makes a commit of its
// own, which waits for all earlier ones.
//
// Errors: the database's; one that says that this commit did not wait either.
func synced(ctx context.Context, c *pgx.Conn) error {
	before := unsyncedOf(c.PgConn()).n.Load()
	if _, err := c.Exec(ctx, `update tutela_engine set value = value where name = 'layout'`); err != nil {
		return err
	}
	if unsyncedOf(c.PgConn()).n.Load() != before {
		return errUnsynced
	}
	return nil
}
