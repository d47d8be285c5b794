package storage

import (
	"context"
	"sync"
	"time"
)

// leaseTime is for how long a server has a job of the background. It asks again when a third is left. A server that dies with a
// job leaves it undone for as long at most.
const leaseTime = 30 * time.Second

// leases are what a server knows of the jobs that servers over one store share. Safe for concurrent use.
type leases struct {
	mu     sync.Mutex
	holder string // this server's name among them; "": nobody shares the store
	known  map[string]lease
}

// lease is who has a job, as stored under its name.
type lease struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

func leaseName(job string) string { return "lease/" + job }

// Leads reports whether this server does a job of the background now. Of the servers that share a store one does, and another when
// that one has been silent for leaseTime; of a store that nobody shares its only server does all. It is there so that servers do not
// do the same at once: what a job does must be right all the same when two do it.
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

// take takes or renews the lease of a job, unless another has it, and returns who has it.
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
