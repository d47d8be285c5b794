package access

import (
	"context"
	"strconv"

	"tutela/storage"
	"tutela/storage/audit"
)

// RecordFailure records that a management call has failed: call is its word, status the answer's. Whose data it was
// about is not known, so nothing is kept of the path and the address.
func (s *Service) RecordFailure(ctx context.Context, actor audit.Actor, call audit.Word, status int) error {
	facts := audit.Facts{audit.FactCall: call, audit.FactStatus: audit.Word(strconv.Itoa(status))}
	e := audit.Event{Type: audit.ManagementFailed, Facts: facts}
	return s.store.Update(ctx, func(tx *storage.Tx) error { return audit.Record(tx, actor, e, audit.Detail{}) })
}
