// Package signin lets admins into the dashboard. An admin is a user with a role and a passkey of the kind that opens the dashboard
// (package passkey). The first passkey is made by an invite; with one the admin signs in, which makes a session; within a session he
// shows his passkey again before what is grave.
//
//	invites    Invite  OpenInvite  SpendInvite  AcceptInvite
//	sign-in    Ask  SignIn  ProveAgain  SignOut
//	sessions   Open  SessionsOf  Team  EndSession  RemovePasskey
//
// Who is signed in is looked at anew on every call: a session ends when its passkey is removed, when its user is given another role,
// is blocked, reset or deleted, after half an hour without use and after half a day in any case.
package signin

import (
	"time"

	"tutela/device"
	"tutela/device/passkey"
	"tutela/storage"
	"tutela/storage/keyring"
)

// Service is the use cases of signing in. Safe for concurrent use.
type Service struct {
	store    *storage.Store
	ring     *keyring.Ring
	passkeys *passkey.Service
	base     string // the first public URL
}

// New makes the service.
func New(store *storage.Store, ring *keyring.Ring, passkeys *passkey.Service, bases device.Bases) *Service {
	return &Service{
		store:    store,
		ring:     ring,
		passkeys: passkeys,
		base:     bases.Public(),
	}
}

// The times of the dashboard.
const (
	InviteLife = time.Hour
	IdleLife   = 30 * time.Minute // of a session that nobody uses
	MostLife   = 12 * time.Hour   // of any session
	ProofLife  = 5 * time.Minute  // how long a passkey that was shown counts as shown just now
)

// secretLength is the length of the secrets of invites and sessions, of 62 characters: 256 bits.
const secretLength = 43

// NewSecret draws a secret for a browser: of a session, or by which an invite knows it again.
func NewSecret() string { return storage.NewID("", secretLength) }

// Errors of signing in.
var (
	// ErrInvite reports an invite that is unknown, used or too old.
	ErrInvite = storage.NewError(storage.NotFound, "the invite is unknown, used or too old: ask for a new one")

	// ErrOtherBrowser reports an invite that another browser has begun to use.
	ErrOtherBrowser = storage.NewError(storage.Denied, "the invite was opened in another browser: go on there, or ask for a new one")

	// ErrInviteRole reports an invite that gives no role to somebody who has none.
	ErrInviteRole = storage.NewError(storage.Invalid, "the user has no role yet: say which (viewer, helpdesk, admin or owner)")

	// ErrBlocked reports an invite for a user who is blocked.
	ErrBlocked = storage.NewError(storage.Conflict, "the user is blocked: take that back first")

	// ErrNoSession reports a session that is unknown or has ended.
	ErrNoSession = storage.NewError(storage.Denied, "the session has ended: sign in again")

	// ErrSomebodyElse reports a passkey that is not of the admin whose session it is.
	ErrSomebodyElse = storage.NewError(storage.Denied, "this passkey is another admin's")
)
