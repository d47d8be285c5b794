package storage

import (
	"context"
	"time"
)

// Follower is an engine on which a transaction may commit after a transaction that began later.
type Follower interface {
	// OldestOpen returns the age of the oldest open transaction; 0 when none is open.
	OldestOpen(ctx context.Context) (time.Duration, error)
}

// unbegunTime is how long a transaction may have run at another server before the engine knows of it: longer ones are run
// again. A third of it is left to the network.
const unbegunTime = 3 * time.Second

// Settled returns a time before which no more entries will appear, in data that is ordered by its transaction's time
// ([Tx.Now], [Tx.Stamp]). A reader that follows such data and has read up to there misses nothing. The zero time means
// that everything visible is settled.
//
// Errors: those of the engine.
func (s *Store) Settled(ctx context.Context) (time.Time, error) {
	engine, ok := s.engine.(Follower)
	if !ok {
		return time.Time{}, nil
	}
	before := s.Now()
	open, err := engine.OldestOpen(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if s.leases.holder != "" {
		open += unbegunTime
	}
	if open == 0 {
		return time.Time{}, nil
	}
	return before.Add(-open), nil
}
