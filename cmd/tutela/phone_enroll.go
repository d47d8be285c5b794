package main

import (
	"fmt"
	"strings"

	"tutela/device/phone"
)

type phoneEnrollCmd struct {
	Ticket         string `arg:"" name:"uri-or-ticket" help:"Text of the QR code, link of the ticket, or the bare ticket."`
	Name           string `help:"What the phone is called." placeholder:"NAME"`
	Identifier     string `help:"The app's own id of the phone. By default drawn once." placeholder:"ID"`
	Key            string `help:"Kind of the device's key: p256, ed25519, or rsa as the SDKs make it." enum:"p256,ed25519,rsa" default:"p256" placeholder:"KIND"`
	NumberMatching bool   `help:"Ask for the number on the login screen; an older app cannot." negatable:"" default:"true"`
	PushService    string `help:"Push service that reaches the phone: FCM, GCM or APNS." enum:"FCM,GCM,APNS" default:"FCM" placeholder:"SERVICE"`
	PushToken      string `help:"Push token. Without one the phone only pulls." placeholder:"TOKEN"`
	Replace        bool   `help:"Go on when this phone is enrolled already."`
}

// Help is the long help of "tutela phone enroll".
func (phoneEnrollCmd) Help() string {
	return `Makes a key, binds it to the user of the ticket, and shows the user's recovery code, once.
When the answer is lost on the way, the same command gets it again.

  tutela phone enroll "$(tutela ticket maria)"
  tutela phone enroll "otpauth://totp/…?enrollment_tx_id=…&base_url=…"
  tutela phone --server https://mfa.example.com enroll M9fQ2LrX7vTzB4nKc1HsYw8GdJ3pVe6A
  tutela phone enroll --key rsa --no-number-matching --name "Old phone" M9fQ2LrX7vTzB4nKc1HsYw8GdJ3pVe6A`
}

var keyAlgorithms = map[string]phone.Algorithm{"p256": phone.ES256, "ed25519": phone.EdDSA, "rsa": phone.RS256}

// Run enrols the phone.
func (e *phoneEnrollCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	o := phone.Options{
		Name:         e.Name,
		Identifier:   e.Identifier,
		Algorithm:    keyAlgorithms[e.Key],
		Capabilities: []string{phone.ShowsCode},
	}
	if e.NumberMatching {
		o.Capabilities = append(o.Capabilities, phone.NumberMatching)
	}
	if e.PushToken != "" {
		o.Push = &phone.PushCredentials{Service: e.PushService, Token: e.PushToken}
	}
	told := strings.Contains(e.Ticket, "base_url=") || strings.Contains(e.Ticket, "ticket=")
	p, err := c.openAnywhere(o, told)
	if err != nil {
		return err
	}
	// A phone whose server knows it is not enrolled anew by accident: its key would be lost.
	if p.Enrollment() != nil && !e.Replace {
		if _, err := p.Status(ctx); phone.CodeOf(err) != "device_account_not_found" {
			return fmt.Errorf("this phone is enrolled already as %s: give --replace to enrol it anew, or --phone for another phone",
				p.Enrollment().UserID)
		}
	}
	enrolled, err := p.Enroll(ctx, e.Ticket)
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		return c.printEnrolled(p, enrolledJSON{enrolled.EnrollmentID, enrolled.UserID, enrolled.RecoveryCode})
	}
	c.say("Enrolled at %s as %s.\n", c.issuer(p), enrolled.UserID)
	if enrolled.RecoveryCode == "" {
		c.say("The recovery code that was saved earlier still holds.\n")
	}
	return c.showRecoveryCode(p)
}

type phoneReinstallCmd struct {
	WithoutBackup bool `help:"No platform backup comes back: the phone starts empty."`
	NewPhone      bool `help:"On a new phone: the platform backup comes along, the identifier does not."`
}

// Help is the long help of "tutela phone reinstall".
func (phoneReinstallCmd) Help() string {
	return `Removes the app and installs it again. The device's key is lost, as on a real phone, and the accounts with it;
the platform backup comes back. The server is told nothing.

  tutela phone reinstall                     then: tutela phone restore --code CODE
  tutela phone reinstall --without-backup    then: tutela phone enroll TICKET`
}

// Run reinstalls the app.
func (r *phoneReinstallCmd) Run(c *phoneCmd) error {
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	lost := len(p.Accounts())
	if err := p.Reinstall(phone.Reinstallation{WithoutBackup: r.WithoutBackup, NewPhone: r.NewPhone}); err != nil {
		return err
	}
	backup := p.PlatformBackup()
	c.say("The app was removed and installed again.\n\n")
	c.say("  lost   the device's key, the enrollment, %s\n", plural(lost, "account"))
	if backup.UserID == "" {
		c.say("  kept   nothing\n\nNext: tutela phone enroll TICKET\n")
		return nil
	}
	c.say("  kept   the platform backup of %s at %s, with %s to bring back\n\nNext: tutela phone restore --code CODE\n",
		backup.UserID, c.issuer(p), plural(len(backup.Accounts), "account"))
	return nil
}

type phoneUpdateCmd struct {
	Name        string `help:"New name of the phone." placeholder:"NAME"`
	Identifier  string `help:"New identifier, as iOS gives one after a restore." placeholder:"ID"`
	PushService string `help:"FCM, GCM or APNS." enum:"FCM,GCM,APNS" default:"FCM" placeholder:"SERVICE"`
	PushToken   string `help:"New push token." placeholder:"TOKEN"`
}

// Help is the long help of "tutela phone update".
func (phoneUpdateCmd) Help() string {
	return `Only what is given is changed.

  tutela phone update --name "Pixel 9"
  tutela phone update --push-service APNS --push-token TOKEN`
}

// Run sends the changes.
func (u *phoneUpdateCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	changes := phone.Changes{Name: u.Name, Identifier: u.Identifier}
	if u.Name == "" && u.Identifier == "" && u.PushToken == "" {
		return notUnderstood("there is nothing to tell the server: give --name, --identifier or --push-token")
	}
	if u.PushToken != "" {
		changes.Push = &phone.PushCredentials{Service: u.PushService, Token: u.PushToken}
	}
	account, err := p.Patch(ctx, changes)
	if err != nil {
		return c.explain(p, err)
	}
	c.say("The server knows this phone as %s (identifier %s).\n", plain(account.Name), plain(account.Identifier))
	return nil
}

type phoneUnenrollCmd struct {
	ByToken bool `help:"By the device token alone, as a thief of a backup would: the phone has left, is still asked, and comes back by whatever it signs within seven days."`
}

// Help is the long help of "tutela phone unenroll".
func (phoneUnenrollCmd) Help() string {
	return `Removes the enrollment. The accounts stay on the phone. It does not turn off MFA for the user: only an admin's reset does.`
}

// Run takes the phone off the server.
func (u *phoneUnenrollCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	remove := p.Unenroll
	said := "This phone is no longer enrolled."
	if u.ByToken {
		remove = p.LeaveByToken
		said = "The enrollment has left. It is asked for seven more days, and any call of this phone brings it back."
	}
	if err := remove(ctx); err != nil {
		return c.explain(p, err)
	}
	c.say("%s\n", said)
	return nil
}
