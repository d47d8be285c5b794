package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"tutela/device/passkey"
	"tutela/server/operator"
	"tutela/storage/setting"
	"tutela/storage/setting/brand"
)

// policyCmd is "tutela policy".
type policyCmd struct {
	List policyListCmd `cmd:"" help:"Show all policies, what they rule and what they take."`
	Get  policyGetCmd  `cmd:"" help:"Print the value of a policy."`
	Set  policySetCmd  `cmd:"" help:"Set a policy."`
}

type policyListCmd struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON, for scripts."`
}

// Run shows the policies.
func (c *policyListCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		policies, err := operator.ListPolicies.Do(ctx, s, operator.None{})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(policies)
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		say(table, "POLICY\tVALUE\tTAKES\tRULES\n")
		for _, p := range policies {
			mark := ""
			if p.Value != p.Default {
				mark = " *"
			}
			say(table, "%s\t%s%s\t%s\t%s\n", p.Name, cut(p.Value), mark, p.Accepts, p.About)
		}
		return table.Flush()
	})
}

type policyGetCmd struct {
	dataFlags
	Name string `arg:"" help:"The policy, as policy list shows it."`
}

// Run prints the policy's value alone.
func (c *policyGetCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		policies, err := operator.ListPolicies.Do(ctx, s, operator.None{})
		if err != nil {
			return err
		}
		for _, p := range policies {
			if p.Name == c.Name {
				fmt.Println(p.Value)
				return nil
			}
		}
		return setting.ErrUnknown.With("there is no policy %q: see tutela policy list", c.Name)
	})
}

type policySetCmd struct {
	dataFlags
	Name  string `arg:"" help:"The policy, as policy list shows it."`
	Value string `arg:"" help:"What it is to be. @FILE: what is in a file, for brand.logo."`
	Force bool   `help:"Also when that locks something out, as a new passkey.rp_id does with passkeys."`
}

// Help is the long help of "tutela policy set".
func (policySetCmd) Help() string {
	return `Takes effect at once, and is an event. What each takes is shown by tutela policy list.

  tutela policy set approval.presence number       only apps that match numbers are asked, or may enrol
  tutela policy set restore.veto on                a restore waits while the old phone still calls
  tutela policy set restore.wait 5m                so long, 1m to 14m
  tutela policy set enrollment.after_reset ticket  a user who was reset needs a ticket to enrol again
  tutela policy set brand.logo @logo.svg           your logo on every page of people`
}

// Run sets the policy.
func (c *policySetCmd) Run(ctx context.Context) error {
	if file, is := strings.CutPrefix(c.Value, "@"); is && c.Name == "brand.logo" {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if c.Value, err = brand.DataURL(content); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		p, err := operator.SetPolicy.Do(ctx, s, operator.PolicyChange{Name: c.Name, Value: c.Value, Force: c.Force})
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s is %s.\n", p.Name, cut(p.Value))
		if warning := warningOf(p); warning != "" {
			fmt.Fprintln(os.Stderr, "Warning: "+warning)
		}
		return nil
	})
}

// mostShown is how much of a value is shown to people: a logo has many thousand characters.
const mostShown = 64

// cut cuts a value that is too long for a line.
func cut(value string) string {
	if len(value) <= mostShown {
		return value
	}
	return value[:mostShown] + "…"
}

// fewestDigits is how many digits an approval should show at least.
//
// Source: NIST SP 800-63B-4 §3.1.3 (at least six decimal digits).
const fewestDigits = 6

// warningOf returns what speaks against the value of a policy; "" when nothing does.
func warningOf(p setting.Info) string {
	if p.Name == "passkey.clone" && p.Value == passkey.CloneAccept {
		return "passkey.clone is accept: somebody who has copied a passkey logs in with it, and its owner is only told"
	}
	digits, err := strconv.Atoi(p.Value)
	if p.Name != "approval.digits" || err != nil || digits >= fewestDigits {
		return ""
	}
	return fmt.Sprintf("approval.digits is %d: NIST SP 800-63B-4 asks for at least %d, since fewer are guessed too easily",
		digits, fewestDigits)
}

// warnOfPolicies logs a warning for each policy whose value weakens something.
func (h *house) warnOfPolicies(ctx context.Context, log *slog.Logger) error {
	policies, err := h.access.Policies(ctx)
	for _, p := range policies {
		if warning := warningOf(p); warning != "" {
			log.Warn(warning)
		}
	}
	return err
}
