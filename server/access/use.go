package access

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"tutela/storage"
)

// useInterval is how often the uses of clients are written down. A server that dies forgets those since the last time, and the other
// servers over the store learn of them so much later: what they say of a client's last use is never more than this behind.
const useInterval = time.Minute

// useBatch is how many uses one transaction writes down.
const useBatch = 100

// uses remembers when each client was there last, until that is written down: a write at each call would be a commit more for each
// login. Safe for concurrent use.
type uses struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

// note notes that the client with an id was there.
func (u *uses) note(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[string]time.Time{}
	}
	if u.last[id].Before(at) {
		u.last[id] = at
	}
}

// all returns what is not written down.
func (u *uses) all() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.last)
}

// forget forgets what was written down of the client with an id, unless it was there again since.
func (u *uses) forget(id string, written time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last[id].Equal(written) {
		delete(u.last, id)
	}
}

// RunUses writes down when clients were there last, every minute until ctx is done. Every server that shares the store runs it.
func (s *Service) RunUses(ctx context.Context) {
	s.store.Rounds(ctx, storage.Round{
		Every: useInterval,
		What:  "write down the last use of clients",
		Do:    s.WriteUses,
	})
}

// WriteUses writes down when clients were there last. Of what several servers write of a client the newest stays.
//
// Errors: those of the store. What could not be written is written by the next WriteUses.
func (s *Service) WriteUses(ctx context.Context) error {
	seen := s.uses.all()
	ids := slices.Sorted(maps.Keys(seen))
	for batch := range slices.Chunk(ids, useBatch) {
		err := s.store.Update(ctx, func(tx *storage.Tx) (err error) {
			for _, id := range batch {
				err = errors.Join(err, writeUse(tx, id, seen[id]))
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, id := range batch {
			s.uses.forget(id, seen[id])
		}
	}
	return nil
}

// writeUse writes down when a client was there, unless it is gone, or was there later.
func writeUse(tx *storage.Tx, id string, at time.Time) error {
	c, err := client(tx, id)
	if errors.Is(err, ErrNoClient) {
		return nil
	}
	if err != nil || !c.LastUsed.Before(at) {
		return err
	}
	c.LastUsed = at
	return clients.Put(tx, storage.House, id, c)
}

// LastUses returns when each client was there last, by its id: when it showed its secret, signed by one of its keys, or called with a
// management token. One that never was is left out. Uses at other servers may be a minute behind, and are lost when such a server dies.
func (s *Service) LastUses(ctx context.Context) (at map[string]time.Time, err error) {
	at = map[string]time.Time{}
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		rows, err := clients.All(tx, storage.House)
		for _, row := range rows {
			if !row.Record.LastUsed.IsZero() {
				at[row.Record.ID] = row.Record.LastUsed
			}
		}
		return err
	})
	for id, here := range s.uses.all() {
		if at[id].Before(here) {
			at[id] = here
		}
	}
	return at, err
}
