package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"tutela/storage"
)

// Peek scans part by part; each part shows a state of its own.
//
// Errors: ctx's; Unavailable.
func (e *Engine) Peek(ctx context.Context, in storage.Range, fn func(key, value []byte) bool) error {
	return scan(in, func(name string, args []any, take func(pgx.Rows) error) error { return e.peek(ctx, name, args, take) }, fn)
}

// peek fetches one part and gives its connection back, so that fn may call the engine.
func (e *Engine) peek(ctx context.Context, name string, args []any, take func(pgx.Rows) error) error {
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
	rows, err := conn.Query(ctx, name, args...)
	if err == nil {
		err = each(rows, take)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return unavailable(err)
}
