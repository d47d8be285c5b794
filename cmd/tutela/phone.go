package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"tutela/device/phone"
)

// localServer is the server of a phone that was given no address.
const localServer = "http://localhost:8080"

// phoneCmd is the simulated phone on the command line. Each command opens the phone of the folder, does one thing that
// the person or the app would do, and prints what the person would see.
type phoneCmd struct {
	Folder string `name:"phone" env:"TUTELA_PHONE" default:"./phone" type:"path" placeholder:"DIR" help:"Folder that is the phone. Two folders are two phones."`
	Server string `env:"TUTELA_PHONE_SERVER" placeholder:"URL" help:"Public URL of the server. By default what the QR code or the link says, what the phone remembers, or http://localhost:8080."`
	JSON   bool   `name:"json" help:"Print JSON, for scripts."`

	Enroll    phoneEnrollCmd    `cmd:"" help:"Bind this phone to a user, by a ticket."`
	Approvals phoneApprovalsCmd `cmd:"" help:"Show the logins that wait for this phone's answer."`
	Approve   phoneApproveCmd   `cmd:"" help:"Say yes to a login."`
	Deny      phoneDenyCmd      `cmd:"" help:"Say no to a login."`
	Backup    phoneBackupCmd    `cmd:"" help:"Back the accounts up, encrypted."`
	Reinstall phoneReinstallCmd `cmd:"" help:"Remove the app and install it again."`
	Restore   phoneRestoreCmd   `cmd:"" help:"Bring this phone back with the recovery code."`
	Status    phoneStatusCmd    `cmd:"" help:"Show what this phone holds and what the server knows of it."`
	Practise  phonePractiseCmd  `cmd:"" help:"Check the saved recovery code without spending it."`
	Notices   phoneNoticesCmd   `cmd:"" help:"Show what this phone was told."`
	LoseCode  phoneLoseCodeCmd  `cmd:"" name:"lose-code" help:"Say that the recovery code is lost."`
	Restores  phoneRestoresCmd  `cmd:"" help:"Show the restores that would take over from a phone of yours."`
	Allow     phoneAllowCmd     `cmd:"" help:"Let a restore of your own go on at once."`
	Veto      phoneVetoCmd      `cmd:"" help:"Stop a restore that is not yours."`
	Dispute   phoneDisputeCmd   `cmd:"" help:"Say that who took over from this phone was not you."`
	Update    phoneUpdateCmd    `cmd:"" help:"Tell the server a new name or push token."`
	Unenroll  phoneUnenrollCmd  `cmd:"" help:"Take this phone off the server."`

	stdout io.Writer
}

// Help is the long help of "tutela phone".
func (phoneCmd) Help() string {
	return `A simulated authenticator app. It speaks HTTP only, as any app would, and keeps its state in a folder:

  phone.json             the phone itself; a reinstall leaves it alone
  platform-backup.json   what iCloud or Google carry to the next installation
  hardware-keys.json     the device's key and the accounts' secrets; lost at a reinstall

The main story, on one machine:

  tutela phone enroll "$(tutela ticket maria)"
  tutela phone approvals
  tutela phone approve --number 042917
  tutela phone backup --add "otpauth://totp/Example:maria?secret=JBSWY3DPEHPK3PXP"
  tutela phone reinstall
  tutela phone restore --code 7V3KQ9X2M4T8R6W5Y1ZJ0ABV

A second phone:

  tutela phone --phone ./phone2 enroll "$(tutela ticket maria --multiple)"`
}

// open reads the phone of the folder.
func (c *phoneCmd) open(o phone.Options) (*phone.Phone, error) {
	o.Folder = c.Folder
	o.BaseURL = c.Server
	return phone.New(o)
}

// openAnywhere opens the phone for a command that may be its first. A phone that knows no server gets localServer,
// unless told says that the command line names one.
func (c *phoneCmd) openAnywhere(o phone.Options, told bool) (*phone.Phone, error) {
	p, err := c.open(o)
	if err == nil && p.Base() == "" && !told {
		o.Folder = c.Folder
		o.BaseURL = localServer
		return phone.New(o)
	}
	return p, err
}

// phoneContext ends with the first interrupt.
func phoneContext() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

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

type phoneApprovalsCmd struct {
	Wait time.Duration `help:"Wait this long for one to come, at most 60s." default:"0s" placeholder:"TIME"`
	Push string        `help:"Read the push messages that a server in development leaves in this folder (DATA/push), and ask no server." placeholder:"DIR"`
}

// Help is the long help of "tutela phone approvals".
func (phoneApprovalsCmd) Help() string {
	return `Pulls the pending approvals and shows each as the phone's screen would.

  tutela phone approvals --wait 30s
  tutela phone approvals --push ./data/push     what the push service would have brought, notices too
  tutela phone approvals --json | jq -r '.[0].c'`
}

// Run shows the pending approvals.
func (a *phoneApprovalsCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	if a.Push != "" {
		return a.showMessages(ctx, c, p)
	}
	approvals, err := p.Approvals(ctx, a.Wait, nil)
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		return c.printJSON(each(approvals, approvalForScripts))
	}
	if len(approvals) == 0 {
		c.say("No login waits for an answer.\n")
	}
	for _, approval := range approvals {
		c.showApproval(ctx, p, approval, len(approvals) > 1)
	}
	return nil
}

func (a *phoneApprovalsCmd) showMessages(ctx context.Context, c *phoneCmd, p *phone.Phone) error {
	if _, err := os.Stat(a.Push); errors.Is(err, fs.ErrNotExist) && p.Enrollment() != nil {
		return fmt.Errorf("there is no folder %s: a server with --dev makes it with its first message", a.Push)
	}
	messages, err := p.Messages(a.Push)
	if err != nil {
		return c.explain(p, err)
	}
	if c.JSON {
		all := []any{}
		for _, m := range messages {
			if m.Approval != nil {
				all = append(all, approvalForScripts(*m.Approval))
			} else {
				all = append(all, noticeForScripts(*m.Notice))
			}
		}
		return c.printJSON(all)
	}
	if len(messages) == 0 {
		c.say("No message for this phone.\n")
	}
	for _, m := range messages {
		if m.Approval != nil {
			c.showApproval(ctx, p, *m.Approval, true)
		} else {
			c.showNotice(*m.Notice)
		}
	}
	return nil
}

// choice says which approval is meant.
type choice struct {
	Approval string        `arg:"" optional:"" help:"Beginning of the approval's challenge, as approvals shows it. Not needed when one is pending."`
	Wait     time.Duration `help:"Wait this long for one to come, at most 60s." default:"0s" placeholder:"TIME"`
}

// pick pulls the approvals and finds the one that is meant.
func (ch *choice) pick(ctx context.Context, p *phone.Phone) (phone.Approval, error) {
	approvals, err := p.Approvals(ctx, ch.Wait, nil)
	if err != nil {
		return phone.Approval{}, err
	}
	var meant []phone.Approval
	for _, a := range approvals {
		if strings.HasPrefix(a.Challenge, ch.Approval) {
			meant = append(meant, a)
		}
	}
	switch {
	case len(meant) == 1:
		return meant[0], nil
	case len(approvals) == 0:
		return phone.Approval{}, errors.New("no login waits for an answer")
	case len(meant) == 0:
		return phone.Approval{}, fmt.Errorf("no pending approval begins with %q: see tutela phone approvals", ch.Approval)
	}
	return phone.Approval{}, fmt.Errorf("%d logins wait for an answer: see tutela phone approvals, and name one", len(meant))
}

type phoneApproveCmd struct {
	choice
	Number string `help:"The number that the other screen shows." placeholder:"NUMBER"`
}

// Help is the long help of "tutela phone approve".
func (phoneApproveCmd) Help() string {
	return `Signs "yes" with the device's key. Where the login asks for it, with the number that the login screen shows;
a wrong number is a no.

  tutela phone approve --number 042917
  tutela phone approve --wait 30s               an app that can only be tapped
  tutela phone approve qZ3v --number 042917     one of several, by the beginning of its challenge`
}

// Run approves a login.
func (a *phoneApproveCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	approval, err := a.pick(ctx, p)
	if err != nil {
		return c.explain(p, err)
	}
	number := a.Number
	if approval.NumberMatching && number == "" {
		c.showApproval(ctx, p, approval, false)
		if number, err = c.ask("Number on the other screen: "); err != nil {
			return err
		}
	}
	if err := p.Approve(ctx, approval, number); err != nil {
		return c.explain(p, err)
	}
	c.say("Approved. The other screen goes on by itself.\n")
	return nil
}

// ask reads a number that a person types. Without a terminal there is nobody to ask, which is an error.
func (c *phoneCmd) ask(question string) (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", errors.New("this login asks for the number that the other screen shows: give it with --number")
	}
	c.say("%s", question)
	var typed string
	if _, err := fmt.Fscanln(os.Stdin, &typed); err != nil {
		return "", errors.New("no number was typed, and nothing is decided")
	}
	return typed, nil
}

type phoneDenyCmd struct {
	choice
	Reason string `help:"Why: not_me and hack stop further pushes of that kind for an hour; any other text is for the log." placeholder:"REASON"`
}

// Help is the long help of "tutela phone deny".
func (phoneDenyCmd) Help() string {
	return `Signs "no" with the device's key.

  tutela phone deny
  tutela phone deny --reason not_me`
}

// Run denies a login.
func (d *phoneDenyCmd) Run(c *phoneCmd) error {
	ctx, cancel := phoneContext()
	defer cancel()
	p, err := c.open(phone.Options{})
	if err != nil {
		return err
	}
	approval, err := d.pick(ctx, p)
	if err != nil {
		return c.explain(p, err)
	}
	if err := p.Deny(ctx, approval, d.Reason); err != nil {
		return c.explain(p, err)
	}
	c.say("Denied.\n")
	if d.Reason == "not_me" || d.Reason == "hack" {
		c.say("Logins of that kind will not ring this phone for an hour.\n")
	}
	return nil
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
				return phone.Account{}, notUnderstood("%s of the account is no number: %q", name, text)
			}
		}
	}
	return account, nil
}
