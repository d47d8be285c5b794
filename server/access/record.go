package access

import (
	"context"
	"strconv"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// failureWindow is how long failures that are alike are counted, after the first, and recorded as one.
const failureWindow = time.Minute

// RecordFailure records that a management call has failed: call is its word, status the answer's. The first is recorded at
// once; those of the same client, call and status in the minute after it are counted, and recorded as one event. Whose data
// it was about is not known, so nothing is kept of the path and the address.
func (s *Service) RecordFailure(ctx context.Context, actor audit.Actor, call audit.Word, status int) error {
	facts := audit.Facts{audit.FactCall: call, audit.FactStatus: audit.Word(strconv.Itoa(status))}
	e := audit.Event{Type: audit.ManagementFailed, Facts: facts}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		return audit.FoldRepeats(tx, actor, e, audit.Detail{}, "", failureWindow)
	})
}
