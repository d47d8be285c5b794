package main

import (
	"context"
	"encoding/json"
	"os"

	"tutela/server/operator"
)

// userExportCmd is "tutela user export".
type userExportCmd struct {
	dataFlags
	ID string `arg:"" name:"user" help:"The login system's id of the user."`
}

// Help is the long help of "tutela user export".
func (userExportCmd) Help() string {
	return `Profile, phones, codes, tickets, logins, backups, restores, notices, receipts and events: for a person who asks what you know of her.
Secrets and the ciphertext of backups are left out.

  tutela user export maria > maria.json`
}

// Run prints the document.
func (c *userExportCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		document, err := operator.ExportUser.Do(ctx, s, c.ID)
		if err != nil {
			return err
		}
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(document)
	})
}
