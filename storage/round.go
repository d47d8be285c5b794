package storage

import (
	"context"
	"time"
)

// Round is work of the background that is done again and again.
type Round struct {
	Every time.Duration
	Job   string // of the servers that share the store one does it at a time, see [Store.Leads]; "": each does
	What  string // what it does, for the log: "trim events"
	Do    func(ctx context.Context) error
}

// Rounds does r every so often, the first time after r.Every, until ctx is done. What fails is logged, and done again.
func (s *Store) Rounds(ctx context.Context, r Round) {
	ticker := time.NewTicker(r.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if r.Job != "" && !s.Leads(ctx, r.Job) {
			continue
		}
		if err := r.Do(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn(r.What, "err", err)
		}
	}
}
