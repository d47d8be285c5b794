package operator

import (
	"context"
	"time"

	"tutela/recovery/admin"
)

// StatsQuery is the days that somebody asks for, both included.
type StatsQuery struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Stats returns the numbers of days, with all that this server has counted until now.
var Stats = declare("stats", func(l *Local, ctx context.Context, q StatsQuery) ([]admin.DayStats, error) {
	if err := l.Tally.Fold(ctx); err != nil {
		return nil, err
	}
	return l.Admins.Stats(ctx, q.From, q.To)
})
