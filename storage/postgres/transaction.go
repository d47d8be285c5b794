package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"tutela/storage"
)

// patient is how often a transaction yields to others before it runs alone at this server.
const patient = 3

// Update runs fn in a serializable transaction, on the caller's goroutine. It runs fn again while the database rolls
// the transaction back for concurrent ones, or is lost before anything was kept.
//
// Errors: those of fn; ctx's, when it ended before the first run of fn; Unavailable, with nothing done, when the
// database is not reached in time; [storage.ErrOutcomeUnknown], when the answer to COMMIT was lost and the rows do not
// tell.
func (e *Engine) Update(ctx context.Context, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := e.begin()
	if err != nil {
		return err
	}
	defer done()
	deadline := time.Now().Add(e.options.Patience)
	for attempt := 0; ; attempt++ {
		err := e.attempt(ctx, attempt >= patient, deadline, fn)
		var doubt *doubtError
		if errors.As(err, &doubt) { // after its connection was given back, since all connections may be in doubt at once
			err = e.lookUp(doubt)
			e.count(time.Now(), err)
		}
		var again *againError
		if !errors.As(err, &again) {
			return err
		}
		if again.taken {
			ctx = context.WithoutCancel(ctx)
		}
		if time.Now().After(deadline) {
			return unavailable(again.cause)
		}
		if isConflict(again.cause) {
			conflicts.Add(e.options.Meter, 1)
		}
		if !pause(ctx, attempt) {
			return ctx.Err()
		}
	}
}

// againError reports an attempt that kept nothing and may be repeated.
type againError struct {
	cause error
	taken bool // fn has run, so the caller waits for the outcome
}

func (a *againError) Error() string { return a.cause.Error() }
func (a *againError) Unwrap() error { return a.cause }

// attempt runs fn once. alone keeps the other transactions of this server away meanwhile.
//
// Errors: *againError, *doubtError, and those of Update.
func (e *Engine) attempt(ctx context.Context, alone bool, deadline time.Time, fn func(storage.Reader) (*storage.WriteSet, error)) error {
	if alone {
		e.turn.Lock()
		defer e.turn.Unlock()
	} else {
		e.turn.RLock()
		defer e.turn.RUnlock()
	}
	conn, err := e.acquire(ctx, deadline)
	if err != nil {
		return err
	}
	defer release(conn)
	// Once fn has begun, the transaction goes on to its outcome even when the caller gives up.
	taken, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.options.Patience)
	defer cancel()
	r := &reader{
		ctx:   taken,
		conn:  conn.Conn(),
		start: beginSerializable,
		made:  time.Now(),
	}
	ws, failed := fn(r)
	if r.err != nil {
		return r.beforeCommit(r.err)
	}
	if failed != nil || ws == nil || ws.Len() == 0 {
		if err := r.validate(); err != nil {
			return r.beforeCommit(err)
		}
		return failed
	}
	began := time.Now()
	err = e.commit(taken, r, ws)
	var doubt *doubtError
	if !errors.As(err, &doubt) { // an outcome in doubt is counted when it is known
		e.count(began, err)
	}
	return err
}

// beforeCommit turns an error of the database before COMMIT was sent: nothing was kept.
func (r *reader) beforeCommit(err error) error {
	if isLost(err) && !errors.Is(err, errStale) {
		drop(r.conn)
	}
	if isConflict(err) || isLost(err) || errors.Is(err, errStale) {
		return &againError{cause: err, taken: true}
	}
	return unavailable(fmt.Errorf("before the commit: %w", err))
}

// validate commits a transaction that writes nothing. If that succeeds, its reads were serializable.
func (r *reader) validate() error {
	if !r.begun {
		return nil
	}
	_, err := r.conn.Exec(r.ctx, commit)
	return err
}

// acquire takes a connection.
//
// Errors: ctx's; *againError.
func (e *Engine) acquire(ctx context.Context, deadline time.Time) (*pgxpool.Conn, error) {
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := e.pool.Acquire(bounded)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, &againError{cause: err}
}

// connect takes a connection for a call that is not repeated.
//
// Errors: ctx's; Unavailable.
func (e *Engine) connect(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := e.acquire(ctx, time.Now().Add(e.options.Patience))
	var again *againError
	if errors.As(err, &again) {
		return nil, unavailable(again.cause)
	}
	return conn, err
}

// release gives a connection back, outside of any transaction.
func release(conn *pgxpool.Conn) {
	defer conn.Release()
	if c := conn.Conn(); c.PgConn().TxStatus() != 'I' && !c.IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = c.Exec(ctx, "rollback") // else the pool closes it
	}
}

// View runs fn on one state of the database, which holds every commit that was acknowledged before. It is a snapshot
// (repeatable read) and not a serializable transaction: each View is consistent, but two Views may see two independent
// commits in different orders. To act on what it shows, read it again in an Update.
//
// Errors: those of fn; ctx's; Unavailable.
func (e *Engine) View(ctx context.Context, fn func(storage.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := e.begin()
	if err != nil {
		return err
	}
	defer done()
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer release(conn)
	// An error of the database counts more than fn's: fn may have seen too little.
	r := &reader{
		ctx:   ctx,
		conn:  conn.Conn(),
		start: beginReading,
	}
	err = fn(r)
	switch {
	case r.err != nil && ctx.Err() != nil:
		return ctx.Err()
	case r.err != nil:
		return unavailable(r.err)
	}
	return err
}
