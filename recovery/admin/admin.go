// Package admin is what one person does to another's MFA: the operator by the command line, an admin's program by a
// management call. A use case is a method of [Service] and one transaction: it finds the user, asks [May] whether the actor
// may, acts by the packages below, and records who did it. No other package asks that question, and nobody else takes these
// steps.
//
//	who a user is      AddUser  SetRole  SetBlocked  Delete
//	how she gets in    NewTicket  Suspend  Resume  RemoveEnrollment
//	how she gets back  Regenerate  Unlock  Reset
//	what is known      ReadUser  PageUsers  SearchUsers  StandingOf  DetailOf  EnrollmentsOf  Backups  Restores  …
//
// Reading asks nobody: the scopes of a call, or the socket of the operator, have opened it.
package admin

import (
	"tutela/backup/restore"
	"tutela/device"
	"tutela/recovery"
	"tutela/storage"
)

// Service is the use cases of admins. Safe for concurrent use.
type Service struct {
	store    *storage.Store
	codes    *recovery.Service
	devices  *device.Service
	restores *restore.Service
}

// New makes the service.
func New(store *storage.Store, codes *recovery.Service, devices *device.Service, restores *restore.Service) *Service {
	return &Service{
		store:    store,
		codes:    codes,
		devices:  devices,
		restores: restores,
	}
}
