package outbox

import (
	"context"
	"fmt"
	"strings"

	"tutela/storage"
)

// Status says how a sender does.
type Status struct {
	Destinations []DestinationStatus // those in use or in trouble, by name
	Aside        int                 // entries that could not be read, and lie aside
}

// Status says how the sender does.
//
// Errors: those of the store.
func (s *Sender) Status(ctx context.Context) (Status, error) {
	aside, err := countAside(ctx, s.store)
	now := s.store.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{Destinations: s.roster.status(now), Aside: aside}, err
}

// ErrTrouble reports what a person should know of the outbox. The server works on.
var ErrTrouble = storage.NewError(storage.Unavailable, "the outbox is in trouble")

// Trouble says what a person should know: how many destinations do not answer, and how many entries lie aside. It
// names none, for anybody may read it. It returns nil when all is well.
//
// Errors: ErrTrouble; those of the store.
func (s *Sender) Trouble(ctx context.Context) error {
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	away := 0
	for _, d := range status.Destinations {
		if d.State != Closed {
			away++
		}
	}
	var troubles []string
	if away > 0 {
		troubles = append(troubles, fmt.Sprintf("destinations that do not answer: %d", away))
	}
	if status.Aside > 0 {
		troubles = append(troubles, fmt.Sprintf("entries that cannot be read: %d", status.Aside))
	}
	if troubles == nil {
		return nil
	}
	return ErrTrouble.With("%s", strings.Join(troubles, "; "))
}
