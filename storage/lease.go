package storage

import (
	"context"
	"sync"
	"time"
)

// leaseTime is how long a server holds a background job. It renews the lease when a third of the time is left. When a
// server dies, its job rests for at most this long.
const leaseTime = 30 * time.Second

// leases holds what a server knows of the background jobs that servers with one store share. Safe for concurrent use.
type leases struct {
	mu     sync.Mutex
	holder string // this server's name; "" when no other server shares the store
	known  map[string]lease
}

// lease says who has a job; it is stored under the job's name.
type lease struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

func leaseName(job string) string { return "lease/" + job }

// Leads reports whether this server does a background job now. Of the servers that share a store one does it; another
// takes over when that one has been silent for leaseTime. A server that shares its store with nobody does every job.
// This only saves work: a job must also be right when two servers do it at once.
func (s *Store) Leads(ctx context.Context, job string) bool {
	l := &s.leases
	if l.holder == "" {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := s.Now()
	known := l.known[job]
	mine := known.Holder == l.holder
	left := known.Until.Sub(now)
	if left > leaseTime/3 || left > 0 && !mine {
		return mine
	}
	found, err := s.take(ctx, job)
	if err != nil {
		return mine && left > 0
	}
	l.known[job] = found
	return found.Holder == l.holder
}

// take takes or renews the lease of a job, unless another server has it, and returns the lease as it now stands.
func (s *Store) take(ctx context.Context, job string) (found lease, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		there, err := tx.getMeta(leaseName(job), &found)
		if err != nil || there && found.Holder != s.leases.holder && tx.now.Before(found.Until) {
			return err
		}
		found = lease{Holder: s.leases.holder, Until: tx.now.Add(leaseTime)}
		return tx.putMeta(leaseName(job), found)
	})
	return found, err
}
