package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tutela/device/phone"
)

type phoneBackupCmd struct {
	Add              []string `help:"Add an account first, by the text of its QR code. Repeatable." placeholder:"URI"`
	Remove           []string `help:"Remove an account first, by its name as status shows it. Repeatable." placeholder:"NAME"`
	Provider         string   `help:"Who keeps the backup: server (encrypted there), icloud or google (the server only tracks it)." enum:"server,icloud,google," default:"" placeholder:"WHO"`
	AutomaticRestore string   `help:"Switch the phone's automatic restore on or off." enum:"on,off," default:"" placeholder:"on|off"`
	Shrink           bool     `help:"Yes, most accounts are to go."`
	AcceptRollback   bool     `help:"Go on from what a server has that was rolled back."`
	List             bool     `help:"List the generations that the server keeps, and back nothing up."`
	Delete           bool     `help:"Delete the backup from the server. The accounts stay on the phone."`
	Undelete         bool     `help:"Take that back, within 7 days."`
	Revoke           bool     `help:"The platform's backup was stolen: take another restore handle, and end the earlier ones."`
}

// Help is the long help of "tutela phone backup".
func (phoneBackupCmd) Help() string {
	return `Encrypts the accounts with a key that only the phone and its platform backup hold, and sends them as the next generation.
When the answer is lost on the way, the same command sends the same bytes again.

  tutela phone backup --add "otpauth://totp/Example:maria?secret=JBSWY3DPEHPK3PXP"
  tutela phone backup --provider icloud
  tutela phone backup --list`
}

// Run backs the accounts up.
func (b *phoneBackupCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	if b.List {
		return b.list(ctx, c, p)
	}
	if b.Delete {
		if err := p.DeleteBackup(ctx); err != nil {
			return c.explain(p, err)
		}
		c.say("The backup was deleted from the server. The accounts are still on this phone.\n")
		c.say("It can be had back for 7 days: tutela phone backup --undelete\n")
		return nil
	}
	if b.Undelete {
		version, _, err := p.UndeleteBackup(ctx)
		if err != nil {
			return c.explain(p, err)
		}
		c.say("The backup is back, with %s, as generation %d.\n", plural(version.Items, "account"), version.Generation)
		return nil
	}
	if b.Revoke {
		if err := p.NewHandle(ctx, true); err != nil {
			return c.explain(p, err)
		}
		c.say("This phone has another restore handle. No earlier one finds the backup any more.\n")
		return nil
	}
	version, err := b.backup(ctx, p)
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		return c.printJSON(version)
	}
	c.say("Backed up %s, as generation %d.\n", plural(version.Items, "account"), version.Generation)
	switch version.Provider {
	case phone.Server:
		c.say("%d bytes went to the server, which cannot read them.\n", version.Size)
	default:
		c.say("The accounts are in the phone's own backup (%s); the server only knows that there is one.\n", version.Provider)
	}
	return nil
}

// backup applies the flags and backs up. When the server has a newer backup of another installation, it takes that
// one's accounts in and tries once more.
func (b *phoneBackupCmd) backup(ctx context.Context, p *phone.Phone) (phone.Version, error) {
	if b.AcceptRollback {
		if err := p.AcceptRollback(ctx); err != nil {
			return phone.Version{}, err
		}
	}
	if b.AutomaticRestore != "" {
		if err := p.SetAutomaticRestore(b.AutomaticRestore == "on"); err != nil {
			return phone.Version{}, err
		}
	}
	accounts, err := b.edit(p.Accounts())
	if err != nil {
		return phone.Version{}, err
	}
	o := phone.BackupOptions{Provider: phone.Provider(b.Provider), Shrink: b.Shrink}
	version, err := p.Backup(ctx, accounts, o)
	if phone.CodeOf(err) != "backup_conflict" {
		return version, err
	}
	if _, _, err := p.FetchBackup(ctx); err != nil {
		return phone.Version{}, fmt.Errorf("take in the newer backup on the server: %w", err)
	}
	if accounts, err = b.edit(p.Accounts()); err != nil {
		return phone.Version{}, err
	}
	return p.Backup(ctx, accounts, o)
}

// edit applies --add and --remove.
func (b *phoneBackupCmd) edit(accounts []phone.Account) ([]phone.Account, error) {
	var added []phone.Account
	for _, text := range b.Add {
		account, err := accountOf(text)
		if err != nil {
			return nil, err
		}
		added = append(added, account)
	}
	accounts = phone.Merge(added, accounts)
	for _, name := range b.Remove {
		at := slices.Index(accountNames(accounts), name)
		if at < 0 {
			return nil, fmt.Errorf("this phone has no account %q", name)
		}
		accounts = slices.Delete(accounts, at, at+1)
	}
	return accounts, nil
}

func (b *phoneBackupCmd) list(ctx context.Context, c *phoneCmd, p *phone.Phone) error {
	versions, err := p.Generations(ctx)
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		return c.printJSON(versions)
	}
	for _, v := range versions {
		c.say("generation %-4d  %s  %-11s  %6d bytes  %s\n", v.Generation, v.CreatedAt, plural(v.Items, "account"), v.Size, v.Provider)
	}
	return nil
}

// accountOf parses an account from the text of its QR code.
func accountOf(text string) (phone.Account, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "otpauth" || u.Query().Get("secret") == "" {
		return phone.Account{}, notUnderstood("an account is given as the text of its QR code, such as otpauth://totp/Example:maria?secret=…")
	}
	q := u.Query()
	account := phone.Account{
		Issuer:    q.Get("issuer"),
		Name:      strings.TrimPrefix(u.Path, "/"),
		Secret:    q.Get("secret"),
		Algorithm: q.Get("algorithm"),
	}
	if issuer, name, found := strings.Cut(account.Name, ":"); found {
		account.Name = strings.TrimSpace(name)
		if account.Issuer == "" {
			account.Issuer = issuer
		}
	}
	for name, field := range map[string]*int{"digits": &account.Digits, "period": &account.Period} {
		if text := q.Get(name); text != "" {
			if *field, err = strconv.Atoi(text); err != nil {
				return phone.Account{}, notUnderstood("%s of the account is not a number: %q", name, text)
			}
		}
	}
	return account, nil
}
