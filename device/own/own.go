// Package own is a person's own page: what she sees of her devices, her recovery code and what happened lately, and what she does
// about it herself.
//
// A session is opened by a login that a client has asked for with purpose manage, and that she has proven: never by a remembered
// browser, and never by an approval that was tapped. It lasts for 20 minutes, and ends before that with a reset, a block, the deletion
// of the user, and with whatever it stands on: the client, and the factors that were proven in it. [Service.enter] holds that, in the
// transaction of each use case.
//
// What adds or removes an authenticator, or replaces the recovery code, asks for the proof of an enrolment token, and is one
// ([held.strong]): a session that was opened by less steps up first.
//
// Source: login-api.md §2 "Enrolment token", §3.
package own

import (
	"time"

	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/keyring"
)

// Service is the use cases of a person's own page. Safe for concurrent use.
type Service struct {
	store    *storage.Store
	ring     *keyring.Ring
	codes    *recovery.Service
	devices  *device.Service
	logins   *login.Service
	restores *restore.Service
}

// New makes the service.
func New(
	store *storage.Store, ring *keyring.Ring, codes *recovery.Service, devices *device.Service, logins *login.Service, restores *restore.Service,
) *Service {
	return &Service{
		store:    store,
		ring:     ring,
		codes:    codes,
		devices:  devices,
		logins:   logins,
		restores: restores,
	}
}

const (
	lasts     = 20 * time.Minute // a session
	codeShown = 10 * time.Minute // a recovery code that nobody confirms
)

// Errors of own pages.
var (
	ErrSession = storage.NewError(storage.Denied, "this page is closed: open it again from where you log in")
	ErrStepUp  = storage.NewError(storage.Denied, "this asks for more proof: your recovery code, a passkey, or a number on your phone")
	ErrNoCode  = storage.NewError(storage.NotFound, "there is no code to show: it was confirmed, or its time is over")
	ErrNoLine  = storage.NewError(storage.NotFound, "there is no such line")
	ErrTooMuch = storage.NewError(storage.Limited, "that is enough for one visit: call the help desk, or open the page again later")
)
