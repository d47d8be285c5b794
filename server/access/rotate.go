package access

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"tutela/storage"
	"tutela/storage/audit"
)

// Rotation is what RotateAll did.
type Rotation struct {
	Ring     uint32 `json:"ring"`     // the ring's newest version
	Resealed int    `json:"resealed"` // how many rows were sealed again under it
}

// RotateAll makes a new version of the ring of keys, seals all sealed data again under it, and makes successors of the
// signing keys. After an error it can be called again: nothing is lost.
func (s *Service) RotateAll(ctx context.Context, actor audit.Actor) (done Rotation, err error) {
	if done.Ring, err = s.ring.Rotate(ctx); err != nil {
		return done, err
	}
	ring := strconv.FormatUint(uint64(done.Ring), 10)
	e := audit.Event{Type: audit.KeyRotated, Facts: audit.Facts{audit.FactRing: audit.Word(ring)}}
	recorded := s.store.Update(ctx, func(tx *storage.Tx) error { return audit.Record(tx, actor, e, audit.Detail{}) })
	if done.Resealed, err = s.store.Reseal(ctx); err != nil {
		return done, errors.Join(fmt.Errorf("seal the data under the new key: %w", err), recorded)
	}
	return done, errors.Join(recorded, s.Rotate(ctx, actor))
}
