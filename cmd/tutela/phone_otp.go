package main

import (
	"time"

	"tutela/device/phone"
)

type phoneOTPCmd struct{}

// Help is the long help of "tutela phone code".
func (phoneOTPCmd) Help() string {
	return `Shows the six digits that a person types where the push does not arrive. Each code counts once.

  tutela phone code`
}

// Run shows the one-time code.
func (r *phoneOTPCmd) Run(c *phoneCmd) error {
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	code, err := p.OneTimeCode()
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		return c.printJSON(code)
	}
	half := len(code.Code) / 2
	c.say("%s %s   for %d s\n", code.Code[:half], code.Code[half:], int(code.Left/time.Second)+1)
	return nil
}
