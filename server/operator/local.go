package operator

import (
	"context"
	"io"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/admin/signin"
	"tutela/recovery/signal"
	"tutela/recovery/webhook"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/tally"
)

// Services are what the calls use.
type Services struct {
	Access  *access.Service
	Admins  *admin.Service
	Codes   *recovery.Service // only to compact
	Devices *device.Service   // only for the links of tickets
	SignIn  *signin.Service
	Tally   *tally.Folder  // only to have what was counted written down
	Store   *storage.Store // only for the event log, the clock and the copy

	Webhooks *webhook.Service
	Signals  *signal.Service
}

// Local makes the operator's calls in this process. Safe for concurrent use.
type Local struct {
	Services
	actor audit.Actor
}

var _ Service = (*Local)(nil)

// NewLocal returns the calls of an operator. osUserID is his user id in the operating system.
func NewLocal(services Services, osUserID int) *Local {
	return &Local{Services: services, actor: audit.ByOperator(osUserID)}
}

// BySudo names the person who acts as the operator by sudo, for the event log; see [audit.Actor.BySudo].
func (l *Local) BySudo(name string) *Local {
	return &Local{Services: l.Services, actor: l.actor.BySudo(name)}
}

func (l *Local) perform(_ context.Context, _ string, _, _ any, here func(*Local) error) error {
	return here(l)
}

// ErrNoCopy reports a store without a data file. Such a store has tools of its own for copies.
var ErrNoCopy = storage.NewError(storage.Invalid, "this store has no data file to copy")

// CopyTo writes a consistent copy of the data file.
//
// Errors: ErrNoCopy; those of storage.Copier.
func (l *Local) CopyTo(ctx context.Context, w io.Writer) (int64, error) {
	engine, ok := l.Store.Engine().(storage.Copier)
	if !ok {
		return 0, ErrNoCopy
	}
	return engine.CopyTo(ctx, w)
}
