package access

import (
	"context"
	"strconv"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// failureWindow is how long, after the first, equal failures are counted and recorded as one event.
const failureWindow = time.Minute

// RecordFailure records that a management call has failed. call is the call's word, status the HTTP status of its answer. It
// records the first failure at once. Further failures of the same client, call and status within a minute become one event
// with their number. Nobody knows whose data a failed call was about, so the event keeps neither path nor address.
func (s *Service) RecordFailure(ctx context.Context, actor audit.Actor, call audit.Word, status int) error {
	facts := audit.Facts{audit.FactCall: call, audit.FactStatus: audit.Word(strconv.Itoa(status))}
	e := audit.Event{Type: audit.ManagementFailed, Facts: facts}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		return audit.FoldRepeats(tx, actor, e, audit.Detail{}, "", failureWindow)
	})
}
