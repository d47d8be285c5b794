package main

import (
	"context"
	"fmt"
	"os"

	"tutela/server/operator"
)

// keyCmd is "tutela key".
type keyCmd struct {
	Rotate keyRotateCmd `cmd:"" help:"Make new keys, and bring what is sealed to them."`
}

type keyRotateCmd struct{ dataFlags }

// Help is the long help of "tutela key rotate".
func (keyRotateCmd) Help() string {
	return `Makes a new version of the ring of keys, seals everything that is sealed anew under it, and makes successors of the keys that
sign tokens and receipts. Nothing that was given out dies: old keys go on verifying. The master key stays the same. May be run
at any time, while the server serves.`
}

// Run rotates the keys.
func (c *keyRotateCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		done, err := operator.RotateKeys.Do(ctx, s, operator.None{})
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "The ring has version %d; %s sealed under it. New signing keys sign in ten minutes.\n",
			done.Ring, plural(done.Resealed, "record"))
		return nil
	})
}
