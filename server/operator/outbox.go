package operator

import (
	"context"
	"errors"

	"tutela/storage"
	"tutela/storage/outbox"
)

// The calls about the outbox.
var (
	// ListAside returns the unreadable entries of the outbox, which were set aside.
	ListAside = declare("outbox/aside", (*Local).listAside)

	// ForgetAside removes one entry that was set aside, by its id. Errors: those of outbox.Forget.
	ForgetAside = declare("outbox/forget", (*Local).forgetAside)
)

func (l *Local) listAside(ctx context.Context, _ None) ([]outbox.Aside, error) {
	return outbox.Asides(ctx, l.Store)
}

func (l *Local) forgetAside(ctx context.Context, id string) (None, error) {
	err := outbox.Forget(ctx, l.Store, id)
	if errors.Is(err, storage.ErrNotFound) {
		err = storage.ErrNotFound.With("no entry lies aside with the id %q: see tutela outbox list", id)
	}
	return None{}, err
}
