package storage

import (
	"context"
	"time"
)

// Follower is an engine on which a transaction may be committed after one that began later.
type Follower interface {
	// OldestOpen returns for how long the oldest transaction that is open has been so; 0 when none is.
	OldestOpen(ctx context.Context) (time.Duration, error)
}

// unbegunTime is how long a transaction may have run at another server before the engine knows of it: longer ones are run
// again. A third of it is left to the network.
const unbegunTime = 3 * time.Second

// Settled returns the time before which nothing is added any more to what is ordered by the time of the transaction that writes it
// ([Tx.Now], [Tx.Stamp]): a follower that has read up to there misses nothing. The zero time says that whatever is seen is settled.
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
