package storage

import (
	"context"
	"fmt"
	"slices"
)

// shardsName is the meta key of the numbers of shards.
const shardsName = "shards"

// shards says over how many shards the appended keys of a store are spread. It is kept in the store, since a server
// with another number would not find what others have appended. A move to an engine that wants another number adds that
// number. Entries appended before stay where they are, and are still found there.
type shards struct {
	Ever []int `json:"ever"` // all numbers so far, oldest first; new entries are appended by the last
}

// now is the number of shards over which new entries are spread.
func (s shards) now() int { return s.Ever[len(s.Ever)-1] }

// most is how many shards may hold entries.
func (s shards) most() int { return slices.Max(s.Ever) }

// of returns the shard for new entries of an owner; first is the first byte of the owner's uid.
func (s shards) of(first byte) byte { return shardAmong(first, s.now()) }

// all returns the shards that may hold entries of an owner, the likeliest first.
func (s shards) all(first byte) []byte {
	if len(s.Ever) == 1 {
		return []byte{s.of(first)}
	}
	found := make([]byte, 0, len(s.Ever))
	for _, n := range slices.Backward(s.Ever) {
		if shard := shardAmong(first, n); !slices.Contains(found, shard) {
			found = append(found, shard)
		}
	}
	return found
}

func shardAmong(first byte, n int) byte { return first % byte(min(n, 255)) }

// moved returns the shards after a move to an engine that wants n of them.
func (s shards) moved(n int) shards {
	if s.now() == n {
		return s
	}
	return shards{Ever: append(slices.Clone(s.Ever), n)}
}

// shardsOf reads the shards; found is false for a store that has none written down yet.
func (tx *Tx) shardsOf() (s shards, found bool, err error) {
	if found, err = tx.getMeta(shardsName, &s); err != nil || !found {
		return s, false, err
	}
	for _, n := range s.Ever {
		if n < 1 || n > 256 {
			return s, false, ErrForeign
		}
	}
	if len(s.Ever) == 0 {
		return s, false, ErrForeign
	}
	return s, true, nil
}

// spread reads the store's shards. A store that has none stored takes its engine's number.
func (s *Store) spread(ctx context.Context) error {
	var kept shards
	var found bool
	err := s.View(ctx, func(tx *Tx) (err error) {
		kept, found, err = tx.shardsOf()
		return err
	})
	if err == nil && !found {
		err = s.Update(ctx, func(tx *Tx) error {
			// Another server may have written them meanwhile.
			kept, found, err = tx.shardsOf()
			if err != nil || found {
				return err
			}
			kept = shards{Ever: []int{s.engine.Shards()}}
			return tx.putMeta(shardsName, kept)
		})
	}
	if err != nil {
		return fmt.Errorf("read the number of shards: %w", err)
	}
	s.shards = kept
	return nil
}
