package main

import (
	"context"
	"errors"

	"tutela/device/phone"
)

type phoneStatusCmd struct{}

// Help is the long help of "tutela phone status".
func (phoneStatusCmd) Help() string {
	return `Asks the server, too. A recovery code that was not shown yet is shown.

  tutela phone status
  tutela phone status --json | jq -r .enrollment_id`
}

// phoneStatus is what status prints as JSON.
type phoneStatus struct {
	Name            string               `json:"name"`
	Identifier      string               `json:"identifier"`
	Server          string               `json:"server,omitempty"`
	UserID          string               `json:"user_id,omitempty"`
	EnrollmentID    string               `json:"enrollment_id,omitempty"`
	KnownToServer   string               `json:"known_to_server"` // yes, no, suspended, or unknown when it did not answer
	Account         *phone.DeviceAccount `json:"account,omitempty"`
	Accounts        []string             `json:"accounts"`
	Generation      int64                `json:"backup_generation"`
	RestoreHandle   bool                 `json:"has_restore_handle"`
	RestoreUnderWay string               `json:"restore,omitempty"`
}

// Run shows the phone.
func (s *phoneStatusCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	status, err := statusOf(ctx, p)
	if c.JSON {
		return errors.Join(c.printJSON(status), err)
	}
	c.showStatus(p, status)
	if err != nil {
		return c.explain(p, err)
	}
	if p.UnseenRecoveryCode() != "" {
		return c.showRecoveryCode(p)
	}
	return nil
}

// statusOf gathers the status. A server that says that it does not know the phone, or has suspended it, is a status;
// one that cannot be reached is an error.
func statusOf(ctx context.Context, p *phone.Phone) (phoneStatus, error) {
	backup := p.PlatformBackup()
	status := phoneStatus{
		Name:            p.Name(),
		Identifier:      p.Identifier(),
		Server:          p.Base(),
		UserID:          backup.UserID,
		KnownToServer:   "no",
		Accounts:        accountNames(p.Accounts()),
		Generation:      backup.Generation,
		RestoreHandle:   backup.RestoreHandle != "",
		RestoreUnderWay: p.Restoring(),
	}
	e := p.Enrollment()
	if e == nil {
		return status, nil
	}
	status.EnrollmentID = e.ID
	account, err := p.Status(ctx)
	switch phone.CodeOf(err) {
	case "device_account_not_found":
		return status, nil
	case "enrollment_suspended":
		status.KnownToServer = "suspended"
		return status, nil
	}
	if err != nil {
		status.KnownToServer = "unknown"
		return status, err
	}
	status.KnownToServer = "yes"
	status.Account = &account
	return status, nil
}
