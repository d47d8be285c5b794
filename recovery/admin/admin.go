// Package admin holds what one person does to another person's MFA: the operator with the command line, an admin's program
// with a management call. A use case is a method of [Service] and one transaction. It finds the user, asks [May] whether the
// actor may act on her, acts through the packages below, and records who did it. Only this package asks that question and
// takes these steps.
//
//	who a user is      AddUser  ChangeUser  SetRole  SetBlocked  Delete
//	how she gets in    NewTicket  Suspend  Resume  RemoveEnrollment  ImportMethod  ReplaceMethods  RemoveMethod  …
//	how she gets back  Regenerate  Unlock  CheckCaller  Reset
//	what is known      ReadUser  PageUsers  SearchUsers  StandingOf  DetailOf  EnrollmentsOf  Backups  Restores  …
//	what a signed-in admin sees              ListUsers  CountedUsers  SeenBy  WhoMay  HistoryOf  ReceiptOf  LatestCallerCheck
//
// Reads do not ask May: the scopes of the call, or access to the operator's socket, have allowed them. Reads by a
// signed-in admin check that he is still an admin.
package admin

import (
	"tutela/backup/restore"
	"tutela/device"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/storage"
)

// Service is the use cases of admins. Safe for concurrent use.
type Service struct {
	store    *storage.Store
	codes    *recovery.Service
	devices  *device.Service
	restores *restore.Service
	logins   *login.Service
}

// New makes the service.
func New(store *storage.Store, codes *recovery.Service, devices *device.Service, restores *restore.Service, logins *login.Service) *Service {
	return &Service{
		store:    store,
		codes:    codes,
		devices:  devices,
		restores: restores,
		logins:   logins,
	}
}
