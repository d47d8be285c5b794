package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"tutela/storage"
)

const (
	// clockPause is how often the database is asked for its time.
	clockPause = 10 * time.Second

	// clockTries is how often it is asked in a row; the quickest answer is the most precise.
	clockTries = 3
)

// Clock is a machine's clock, corrected by the database's, so that all servers over one database have one time. It is a
// [storage.Clock]. Safe for concurrent use.
//
// It asks the database now and then, in the background. An answer is as uncertain as the time it took. The clock is
// corrected only when its time lies outside of that uncertainty, so machines whose clocks are right use their own.
type Clock struct {
	storage.Clock // the machine's

	engine *Engine
	log    *slog.Logger
	offset atomic.Int64 // in nanoseconds, to be added to the machine's wall
}

// Clock asks the database for its time, and makes a clock that follows it.
//
// Errors: Unavailable.
func (e *Engine) Clock(ctx context.Context, machine storage.Clock) (*Clock, error) {
	c := &Clock{
		Clock:  machine,
		engine: e,
		log:    e.options.Logger,
	}
	err := c.look(ctx)
	return c, err
}

// Wall is the database's time, in UTC.
func (c *Clock) Wall() time.Time { return c.Clock.Wall().Add(c.Offset()) }

// Offset is how far the database's clock is ahead of the machine's.
func (c *Clock) Offset() time.Duration { return time.Duration(c.offset.Load()) }

// Run asks the database again and again until ctx ends. While the database does not answer, the clock keeps its last
// correction.
func (c *Clock) Run(ctx context.Context) {
	ticker := time.NewTicker(clockPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := c.look(ctx); err != nil && ctx.Err() == nil {
			c.log.Debug("postgres: the database's time is not known", "err", err)
		}
	}
}

// look asks the database, and corrects the clock if it is certainly wrong.
func (c *Clock) look(ctx context.Context) error {
	var best measurement
	for try := range clockTries {
		m, err := c.measure(ctx)
		if err != nil {
			return err
		}
		if try == 0 || m.around < best.around {
			best = m
		}
	}
	was := c.Offset()
	if difference := best.offset - was; difference.Abs() <= best.around {
		return nil
	}
	c.offset.Store(int64(best.offset))
	c.log.Info("the machine's clock differs from the database's, which counts", "ahead", (-best.offset).Round(time.Millisecond))
	return nil
}

// measurement is how far the database's clock is ahead of the machine's, plus or minus around.
type measurement struct{ offset, around time.Duration }

func (c *Clock) measure(ctx context.Context) (measurement, error) {
	done, err := c.engine.begin()
	if err != nil {
		return measurement{}, err
	}
	defer done()
	conn, err := c.engine.connect(ctx)
	if err != nil {
		return measurement{}, err
	}
	defer release(conn)
	asked := c.Clock.Wall()
	begun := c.Steady()
	var there time.Time
	if err := conn.QueryRow(ctx, databaseTime).Scan(&there); err != nil {
		return measurement{}, fmt.Errorf("ask for the database's time: %w", unavailable(err))
	}
	half := (c.Steady() - begun) / 2
	return measurement{
		offset: there.Sub(asked) - half,
		around: half + time.Microsecond, // what the database rounds to
	}, nil
}

const databaseTime = `select clock_timestamp()`
