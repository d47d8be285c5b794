// Package operator is what the command line calls: over the admin socket when a server runs ([Client]), or in the
// command's own process when none does ([Local]). Both are the same [Service].
//
// The operator is known by the user id of the operating system: the kernel says who is at the other end of the socket.
// Who may open the socket may do everything, so the folder that it lies in is the operator's alone before it exists.
package operator

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// Service is the operator's calls. Each stands in the event log as done by the operator. Their errors are those of the
// domain; over the socket they keep code and message.
type Service interface {
	AddClient(ctx context.Context, c NewClient) (Credentials, error)
	Clients(ctx context.Context) ([]access.Client, error)
	RemoveClient(ctx context.Context, id string) error

	// Users returns users in the order of their ids.
	Users(ctx context.Context, p Page) ([]User, error)
	User(ctx context.Context, id string) (UserDetail, error)
	SetRole(ctx context.Context, id string, role user.Role) error
	SetBlocked(ctx context.Context, id string, blocked bool) error
	// Unlock opens what wrong codes have closed for a user, and lifts vetoes on restores.
	Unlock(ctx context.Context, id string) error
	Reset(ctx context.Context, r Reset) (recovery.Receipt, error)
	Ticket(ctx context.Context, r TicketRequest) (Ticket, error)

	Policies(ctx context.Context) ([]setting.Info, error)
	SetPolicy(ctx context.Context, name, value string) (setting.Info, error)

	// Events returns events, oldest first.
	Events(ctx context.Context, q EventQuery) ([]Event, error)
	// JWKS returns the installation's public keys (RFC 7517 §5), by which receipts verify.
	JWKS(ctx context.Context) (json.RawMessage, error)

	// CopyTo writes a consistent copy of the data file, without the master key, and returns its size in bytes.
	CopyTo(ctx context.Context, w io.Writer) (int64, error)
	Compact(ctx context.Context) (storage.Compaction, error)
	RotateKeys(ctx context.Context) (access.Rotation, error)
}

// NewClient is a client to be registered; see access.Client.
type NewClient struct {
	Name         string          `json:"name"`
	Scopes       []string        `json:"scopes,omitempty"`
	Grants       []string        `json:"grants,omitempty"`
	RedirectURIs []string        `json:"redirect_uris,omitempty"`
	WebOrigins   []string        `json:"web_origins,omitempty"`
	IDTokenAlg   string          `json:"id_token_alg,omitempty"`
	Presence     access.Presence `json:"presence,omitempty"`
	ActsAs       string          `json:"acts_as,omitempty"` // a user's id
}

// Credentials are a new client's. The secret is told once.
type Credentials struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// Page is which users are listed: at most Take of those after the id After.
type Page struct {
	After string `json:"after,omitempty"`
	Take  int    `json:"take"`
}

// User is a user as the operator sees one.
type User struct {
	user.User
	UID   storage.UID `json:"uid"`
	State user.State  `json:"mfa_state"`
}

// UserDetail is all that an operator is shown of a user.
type UserDetail struct {
	User
	Enrollments []Enrollment       `json:"enrollments"`
	HasCode     bool               `json:"has_recovery_code"`
	Blocks      []recovery.Block   `json:"blocks"`
	Receipts    []recovery.Receipt `json:"receipts"`
}

// Enrollment is an enrollment of a user.
type Enrollment struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Status   string    `json:"status"` // active or suspended
	Enrolled time.Time `json:"enrolled_at"`
	LastAuth time.Time `json:"last_auth,omitzero"`
}

// Reset says whom to reset and why; see recovery.ResetRequest.
type Reset struct {
	UserID      string `json:"user_id"`
	Reason      string `json:"reason"`
	CallerCheck string `json:"caller_check,omitempty"`
	DryRun      bool   `json:"dry_run,omitempty"`
}

// TicketRequest says for whom a ticket is; a user not seen before is made.
type TicketRequest struct {
	UserID   string `json:"user_id"`
	Email    string `json:"email,omitempty"`    // of a user not seen before
	Multiple bool   `json:"multiple,omitempty"` // also for a user who is enrolled
}

// Ticket is a ticket to enrol with.
type Ticket struct {
	URL string `json:"url"` // of the page
	URI string `json:"uri"` // the text of its QR code, for an app
}

// EventQuery says which events are wanted: after an event's id those that follow it, else the newest.
type EventQuery struct {
	After  string       `json:"after,omitempty"`
	UserID string       `json:"user_id,omitempty"` // of this user only
	Types  []audit.Type `json:"types,omitempty"`   // of these types only
	Take   int          `json:"take"`              // at most so many
}

// Event is an event with what is still known about it.
type Event struct {
	audit.Event
	Detail audit.Detail `json:"detail,omitzero"`
	UserID string       `json:"user_id,omitempty"` // of the user it is about, while there is one
}
