package main

import (
	"errors"

	"tutela/device/phone"
)

type phonePractiseCmd struct {
	Code string `required:"" help:"The saved recovery code." placeholder:"CODE"`
}

// Help is the long help of "tutela phone practise".
func (phonePractiseCmd) Help() string {
	return `Says whether the saved code is the right one. It stays valid.

  tutela phone practise --code "7V3K Q9X2 M4T8 R6W5 Y1ZJ 0ABV"`
}

// Run checks the saved code.
func (r *phonePractiseCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	valid, err := p.CheckCode(ctx, r.Code)
	if err != nil {
		return c.explain(p, err)
	}
	if !valid {
		return errors.New("that is not the recovery code: look for the one that was saved last, or ask an admin for a new one")
	}
	c.say("That is the recovery code. It was not spent: keep it.\n")
	return nil
}

type phoneLoseCodeCmd struct{}

// Help is the long help of "tutela phone lose-code".
func (phoneLoseCodeCmd) Help() string {
	return `The code stays valid until another takes its place: at the next enrolment where one is shown. Every phone of the user is told.

  tutela phone lose-code`
}

// Run says that the code is lost.
func (r *phoneLoseCodeCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	if err := p.LoseCode(ctx); err != nil {
		return c.explain(p, err)
	}
	c.say("The recovery code is declared lost. The next phone that you connect shows a new one; ask for a link to do so.\n")
	return nil
}
