package operator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// House is what the calls stand on.
type House struct {
	Access   *access.Service
	Codes    *recovery.Service
	Devices  *device.Service
	Restores *restore.Service
	Store    *storage.Store // for the event log and the copy alone
}

// Local is the operator's calls in this process. Safe for concurrent use.
type Local struct {
	House
	actor audit.Actor
}

var _ Service = (*Local)(nil)

// NewLocal makes the calls of the operator with a user id of the operating system.
func NewLocal(h House, osUserID int) *Local {
	return &Local{House: h, actor: audit.ByOperator(osUserID)}
}

// AddClient registers a client.
func (l *Local) AddClient(ctx context.Context, c NewClient) (Credentials, error) {
	added := access.Client{
		Name: c.Name, Scopes: c.Scopes, Grants: c.Grants, RedirectURIs: c.RedirectURIs, WebOrigins: c.WebOrigins,
		IDTokenAlg: c.IDTokenAlg, Presence: c.Presence,
	}
	if c.ActsAs != "" {
		u, err := l.Devices.ReadUser(ctx, c.ActsAs)
		if err != nil {
			return Credentials{}, err
		}
		added.ActsAs = u.UID
	}
	added, secret, err := l.Access.AddClient(ctx, l.actor, added)
	return Credentials{ClientID: added.ID, ClientSecret: secret}, err
}

// Clients returns all clients, the oldest first.
func (l *Local) Clients(ctx context.Context) ([]access.Client, error) {
	return l.Access.ListClients(ctx)
}

// RemoveClient removes a client.
func (l *Local) RemoveClient(ctx context.Context, id string) error {
	return l.Access.RemoveClient(ctx, l.actor, id)
}

// Users returns users in the order of their ids.
func (l *Local) Users(ctx context.Context, p Page) ([]User, error) {
	listed, err := l.Devices.PageUsers(ctx, p.After, 0, p.Take)
	if err != nil {
		return nil, err
	}
	profiles, err := l.Devices.Profiles(ctx, listed)
	users := make([]User, 0, len(profiles))
	for _, p := range profiles {
		users = append(users, User{User: p.User, UID: p.UID, State: p.State})
	}
	return users, err
}

// User returns all that is shown of a user.
func (l *Local) User(ctx context.Context, id string) (UserDetail, error) {
	p, err := l.Devices.ReadUser(ctx, id)
	if err != nil {
		return UserDetail{}, err
	}
	detail := UserDetail{User: User{User: p.User, UID: p.UID, State: p.State}, Enrollments: []Enrollment{}}
	all, err := l.Devices.EnrollmentsOf(ctx, id)
	if err != nil {
		return UserDetail{}, err
	}
	for _, e := range all {
		detail.Enrollments = append(detail.Enrollments, Enrollment{
			ID: e.ID, Name: e.Name, Status: string(e.Status), Enrolled: e.Enrolled, LastAuth: e.LastAuth,
		})
	}
	standing, err := l.Codes.StandingOf(ctx, id)
	detail.HasCode, detail.Blocks, detail.Receipts = standing.HasCode, standing.Blocks, standing.Receipts
	return detail, err
}

// SetRole gives a user a role.
func (l *Local) SetRole(ctx context.Context, id string, role user.Role) error {
	return l.Codes.SetRole(ctx, id, role, l.actor)
}

// SetBlocked blocks a user, or takes the block back.
func (l *Local) SetBlocked(ctx context.Context, id string, blocked bool) error {
	return l.Codes.SetBlocked(ctx, id, blocked, l.actor)
}

// Unlock opens what wrong codes have closed for a user, and lifts vetoes on restores.
func (l *Local) Unlock(ctx context.Context, id string) error {
	return l.Restores.Unblock(ctx, id, l.actor)
}

// Reset removes every record of a user's MFA.
func (l *Local) Reset(ctx context.Context, r Reset) (recovery.Receipt, error) {
	return l.Codes.Reset(ctx, recovery.ResetRequest{
		UserID: r.UserID, Reason: r.Reason, CallerCheck: r.CallerCheck, DryRun: r.DryRun, Actor: l.actor,
	})
}

// ErrEnrolled is device.ErrEnrolled in the words of the command line.
var ErrEnrolled = device.ErrEnrolled.With("the user is enrolled already; --multiple makes a ticket for another phone")

// Ticket makes a ticket.
//
// Errors: ErrEnrolled; those of device.Service.NewTicket.
func (l *Local) Ticket(ctx context.Context, r TicketRequest) (Ticket, error) {
	secret, err := l.Devices.NewTicket(ctx, device.TicketRequest{
		User: user.User{ID: r.UserID, Email: r.Email}, AllowMultiple: r.Multiple, Actor: l.actor,
	})
	if errors.Is(err, device.ErrEnrolled) {
		return Ticket{}, ErrEnrolled
	}
	if err != nil {
		return Ticket{}, err
	}
	uri, err := l.Devices.TicketURI(ctx, secret)
	return Ticket{URL: l.Devices.TicketURL(secret), URI: uri}, err
}

// Policies returns all policies by name.
func (l *Local) Policies(ctx context.Context) ([]setting.Info, error) { return l.Access.Policies(ctx) }

// SetPolicy sets a policy and returns it as it stands.
func (l *Local) SetPolicy(ctx context.Context, name, value string) (setting.Info, error) {
	return l.Access.SetPolicy(ctx, l.actor, name, value)
}

// Events returns events, oldest first.
func (l *Local) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	wanted := audit.Query{After: q.After, Types: q.Types, Take: q.Take}
	if q.UserID != "" {
		u, err := l.Devices.ReadUser(ctx, q.UserID)
		if err != nil {
			return nil, err
		}
		wanted.UID = u.UID
	}
	entries, _, err := audit.List(ctx, l.Store, wanted, false)
	if err != nil {
		return nil, err
	}
	if q.After == "" {
		slices.Reverse(entries)
	}
	var uids []storage.UID
	for _, e := range entries {
		if !e.UID.IsZero() && !slices.Contains(uids, e.UID) {
			uids = append(uids, e.UID)
		}
	}
	users, err := l.Devices.UsersOf(ctx, uids)
	events := make([]Event, 0, len(entries))
	for _, e := range entries {
		events = append(events, Event{Event: e.Event, Detail: e.Detail, UserID: users[e.UID].ID})
	}
	return events, err
}

// JWKS returns the installation's public keys.
func (l *Local) JWKS(ctx context.Context) (json.RawMessage, error) { return l.Access.JWKS(ctx) }

// ErrNoCopy is that of a store that is copied by its own tools.
var ErrNoCopy = storage.NewError(storage.Invalid, "this store has no data file to copy")

// CopyTo writes a consistent copy of the data file.
func (l *Local) CopyTo(ctx context.Context, w io.Writer) (int64, error) {
	engine, ok := l.Store.Engine().(storage.Copier)
	if !ok {
		return 0, ErrNoCopy
	}
	return engine.CopyTo(ctx, w)
}

// Compact writes the data file anew.
func (l *Local) Compact(ctx context.Context) (storage.Compaction, error) { return l.Codes.Compact(ctx) }

// RotateKeys makes new keys and brings what is sealed to them.
func (l *Local) RotateKeys(ctx context.Context) (access.Rotation, error) {
	return l.Access.RotateAll(ctx, l.actor)
}
