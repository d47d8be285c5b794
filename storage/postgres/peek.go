package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"tutela/storage"
)

// Peek scans part by part, each part on a state of its own.
//
// Errors: ctx's; Unavailable.
func (e *Engine) Peek(ctx context.Context, in storage.Range, fn func(key, value []byte) bool) error {
	stopped := false
	return scan(in, func(name string, args []any, take func(pgx.Rows) error) error {
		if stopped {
			return nil
		}
		return e.peek(ctx, name, args, take)
	}, func(key, value []byte) bool {
		stopped = !fn(key, value)
		return !stopped
	})
}

// peek fetches a part, and holds no connection afterwards: fn may call the engine.
func (e *Engine) peek(ctx context.Context, name string, args []any, take func(pgx.Rows) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done, err := e.begin()
	if err != nil {
		return err
	}
	defer done()
	conn, err := e.acquire(ctx, time.Now().Add(e.options.Patience))
	if err != nil {
		var again *againError
		if errors.As(err, &again) {
			return unavailable(again.cause)
		}
		return err
	}
	defer release(conn)
	rows, err := conn.Query(ctx, name, args...)
	if err == nil {
		err = each(rows, take)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return unavailable(err)
}
