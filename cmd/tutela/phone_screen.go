package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"tutela/device/phone"
	"tutela/recovery"
	"tutela/storage/legible"
)

// say prints to the person. No text among args ends its line, or does anything to the terminal.
func (c *phoneCmd) say(format string, args ...any) {
	if c.stdout == nil {
		c.stdout = os.Stdout
	}
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = legible.Escape(text)
		}
	}
	_, _ = fmt.Fprintf(c.stdout, format, args...)
}

// printJSON prints to a script.
func (c *phoneCmd) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("print as JSON: %w", err)
	}
	c.say("%s\n", text)
	return nil
}

// enrolledJSON is what enroll and restore print for scripts.
type enrolledJSON struct {
	EnrollmentID string `json:"enrollment_id"`
	UserID       string `json:"user_id"`
	RecoveryCode string `json:"recovery_code,omitempty"`
}

// printEnrolled prints an enrollment to a script. The recovery code then counts as seen.
func (c *phoneCmd) printEnrolled(p *phone.Phone, e enrolledJSON) error {
	if err := c.printJSON(e); err != nil || e.RecoveryCode == "" {
		return err
	}
	return p.RecoveryCodeSeen()
}

// issuer names the server for a person: the organisation and the address, or the address alone.
func (c *phoneCmd) issuer(p *phone.Phone) string {
	address := strings.TrimSuffix(p.Base(), "/appliance-mfa")
	if name := p.PlatformBackup().Issuer; name != "" && !strings.HasPrefix(address, strings.TrimRight(name, "/")) {
		return name + " (" + address + ")"
	}
	return address
}

// showRecoveryCode shows the code that the person has not seen yet, and makes the phone forget it.
func (c *phoneCmd) showRecoveryCode(p *phone.Phone) error {
	code := p.UnseenRecoveryCode()
	if code == "" {
		return nil
	}
	c.say("\n  Save this recovery code. It brings you back when this phone is lost:\n\n      %s\n\n", grouped(code))
	c.say("  It is shown this once. Keep it on paper, away from this phone; an earlier one no longer holds.\n")
	return p.RecoveryCodeSeen()
}

// grouped splits a code into groups of four, as a person copies it.
func grouped(code string) string {
	var b strings.Builder
	for i, r := range code {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// showApproval shows an approval as the phone's screen would. With named, the commands that it prints name this
// approval, since several wait.
func (c *phoneCmd) showApproval(ctx context.Context, p *phone.Phone, a phone.Approval, named bool) {
	asks := a.ClientName
	if asks == "" {
		asks = c.issuer(p)
	}
	check := a.Purpose == phone.CallerCheck
	switch a.Purpose {
	case phone.CallerCheck:
		c.say("\nHave you rung %s just now?\n\n", asks)
	case phone.AddDevice:
		c.say("\nIs this you, adding another phone at %s?\n\n", asks)
	case phone.Manage:
		c.say("\nIs this you, opening your own page at %s, where phones are added and removed?\n\n", asks)
	default:
		c.say("\nIs this you, signing in to %s?\n\n", asks)
	}
	line := func(label, text string) {
		if text != "" {
			c.say("  %-6s %s\n", label, text)
		}
	}
	line("who", p.PlatformBackup().UserID)
	line("what", a.BindingMessage)
	if a.ConsentID != "" {
		if consent, err := p.Consent(ctx, a); err == nil { // no details to show is an ordinary answer
			for _, detail := range consent.Requested.AuthorizationDetails {
				line("of it", detailText(detail))
			}
		}
	}
	if a.Location != nil {
		line("where", a.Location.Name)
	}
	line("with", browserOn(a.Source))
	line("when", a.Started.Local().Format("15:04:05")+", "+ago(time.Since(a.Started)))
	which := ""
	if named {
		which = " " + a.Challenge[:min(8, len(a.Challenge))]
	}
	switch {
	case check:
		c.say("\n  Type the number that the help desk tells you: type it only if you rang us,\n  for this may let somebody reset your MFA\n      tutela phone approve%s --number NUMBER\n", which)
	case a.NumberMatching:
		c.say("\n  Type the number that the other screen shows\n      tutela phone approve%s --number NUMBER\n", which)
	default:
		c.say("\n  Yes\n      tutela phone approve%s\n", which)
	}
	c.say("  Not you?\n      tutela phone deny%s --reason not_me\n", which)
}

// detailText shows an object of authorization_details in one line: its type, and its other members in the order of their names.
func detailText(detail json.RawMessage) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(detail, &members) != nil {
		return string(detail)
	}
	text := func(name string) string {
		var plain string
		if json.Unmarshal(members[name], &plain) == nil {
			return plain
		}
		return string(members[name])
	}
	parts := []string{text("type")}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if name != "type" {
			parts = append(parts, name+" "+text(name))
		}
	}
	return strings.Join(parts, "; ")
}

func browserOn(s phone.Source) string {
	browser := s.Browser.String()
	system := s.System.String()
	if browser != "" && system != "" {
		return browser + " on " + system
	}
	return browser + system
}

func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	}
	return fmt.Sprintf("%d min ago", int(d.Minutes()))
}

// showNotice shows a notice, pushed or pulled.
func (c *phoneCmd) showNotice(n phone.Notice) {
	text := map[recovery.NoticeWord]string{
		recovery.NoticeRestoreStarted:   "Another phone wants to take over from one of yours. Not you?  tutela phone veto " + n.RestoreID,
		recovery.NoticeRestored:         "Another phone has taken over. Not you?  On the phone that it took over from: tutela phone dispute " + n.RestoreID,
		recovery.NoticePushTokenChanged: "The push token of this phone was changed.",
		recovery.NoticeCodeChanged:      "Your recovery code was changed.",
		recovery.NoticeDeviceAdded:      "Another phone was added to your account: " + cmp.Or(n.Phone, "no name") + ". Not you?  Tell an admin.",
		recovery.NoticeHandleChanged:    "The backup of a phone of yours has a new restore handle.",
		recovery.NoticeReplaced:         "This phone was enrolled anew, or another took its place. Not you?  tutela phone dispute " + n.RestoreID,
		recovery.NoticeCodeGuessed:      "Somebody has tried ten wrong recovery codes for your account. Your code still works.",
	}[recovery.NoticeWord(n.Kind)]
	if n.Kind == string(recovery.NoticeRestoreStarted) && n.RestoreID == "" {
		text = "More phones want to take over from one of yours than are told of one by one. See: tutela phone restores"
	}
	text = cmp.Or(text, n.Text, n.Kind)
	c.say("\n%s  %s\n", n.At.Local().Format("15:04:05"), text)
}

func accountNames(accounts []phone.Account) []string {
	names := make([]string, len(accounts))
	for i, a := range accounts {
		names[i] = a.Name
		if a.Issuer != "" {
			names[i] = a.Issuer + ":" + a.Name
		}
	}
	return names
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// showStatus shows the phone as it is.
func (c *phoneCmd) showStatus(p *phone.Phone, s phoneStatus) {
	c.say("%s\n", s.Name)
	switch {
	case s.EnrollmentID != "":
		c.say("  enrolled   as %s at %s, as %s\n", s.UserID, c.issuer(p), s.EnrollmentID)
		c.say("  server     %s\n", map[string]string{
			"yes":       "knows this phone",
			"no":        "no longer knows this phone: it was removed, replaced or reset",
			"suspended": "has suspended this phone; an admin can bring it back",
			"unknown":   "did not answer",
		}[s.KnownToServer])
		if s.Account != nil && s.Account.PushState == "lost" {
			c.say("  push       lost: the push service has given this phone's token up. Name another:  tutela phone update --push-token TOKEN\n")
		}
	case s.UserID != "":
		c.say("  not enrolled; the platform backup is of %s at %s\n", s.UserID, c.issuer(p))
	default:
		c.say("  not enrolled\n")
	}
	if s.Generation > 0 {
		c.say("  backup     generation %d\n", s.Generation)
	}
	if s.RestoreUnderWay != "" {
		c.say("  restore    %s is under way\n", s.RestoreUnderWay)
	}
	for i, name := range s.Accounts {
		label := ""
		if i == 0 {
			label = "accounts"
		}
		c.say("  %-10s %s\n", label, name)
	}
}

// showDecision shows why a restore cannot go on at once, and what the person can do. It returns an error when the
// person gave a code that the server did not ask for.
func (c *phoneCmd) showDecision(r phone.Restore, gaveCode bool) error {
	if c.JSON {
		return c.printJSON(r)
	}
	why := map[string]string{
		"no_backup_restored": "No platform backup came back to this phone.",
		"restore_disabled":   "Automatic restore is off, or a clean start was chosen.",
		"no_backup":          "The server has no backup for this phone.",
		"chosen":             "A clean start was chosen.",
		"user_blocked":       "This user is blocked.",
		"vetoed":             "One of your phones said that this is not you.",
		"no_recovery_code":   "There is no recovery code.",
		"old_device_asked":   "A backup was found. The old phone is asked first: a code counts from " + clockTime(r.WaitUntil) + " on.\n",
		"backup_found":       "A backup was found.",
	}[r.Reason]
	what := map[string]string{
		phone.StepFirstTimeSetup: "Set this phone up as a new one:  tutela phone enroll TICKET",
		phone.StepAskAdmin:       "Ask an admin.",
		phone.StepRecoveryCode:   "Type the recovery code:  tutela phone restore --code CODE\nIt is lost?              tutela phone restore --first-time-setup",
	}[r.Step]
	if r.Reason == phone.OldDeviceAsked {
		what = "Type it now, and this phone waits with it:  tutela phone restore --code CODE\n" +
			"Is the old phone at hand? Then on that one: tutela phone allow " + r.ID + "\n" +
			"Is the code lost?                           tutela phone restore --first-time-setup"
	}
	text := strings.ReplaceAll(strings.TrimSpace(why+" "+what), "\n ", "\n")
	if text == "" {
		text = r.Step + ": " + r.Reason
	}
	if r.Help != "" {
		text += " (" + r.Help + ")"
	}
	if gaveCode {
		return errors.New("not restored. " + text)
	}
	for line := range strings.Lines(text) {
		c.say("%s\n", strings.TrimSuffix(line, "\n"))
	}
	return nil
}

// clockTime is a time of the server's as the clock on the wall shows it; as it was told when it is none.
func clockTime(told string) string {
	at, err := time.Parse(time.RFC3339, told)
	if err != nil {
		return told
	}
	return at.Local().Format(time.TimeOnly)
}

// explain adds to an error what it means to the person with the phone in hand.
func (c *phoneCmd) explain(p *phone.Phone, err error) error {
	var refused *phone.Error
	var rolledBack *phone.RolledBackError
	hint := ""
	switch {
	case errors.Is(err, phone.ErrNotEnrolled):
		hint = "tutela phone enroll TICKET enrols it, tutela phone restore brings it back after a reinstall"
	case errors.As(err, &rolledBack):
		hint = "nothing on this phone was changed. Tell an admin; to go on from what the server has: tutela phone backup --accept-rollback"
	case errors.As(err, &refused):
		hint = explanations[refused.Code]
		if refused.RetryAfter > 0 {
			hint = "try again in " + refused.RetryAfter.String()
		}
	case errors.Is(err, context.Canceled):
		hint = "stopped; the same command goes on from here"
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no server answers on %s: see that it runs, or name another by tutela phone --server URL", serverOf(err))
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, hint)
}

// serverOf names the server that a call which failed was for.
func serverOf(err error) string {
	var call *url.Error
	if !errors.As(err, &call) {
		return "its address"
	}
	u, err := url.Parse(call.URL)
	if err != nil {
		return call.URL
	}
	return u.Scheme + "://" + u.Host
}

// explanations say what an errorCode means to the person.
var explanations = map[string]string{
	"device_account_not_found":    "the phone was removed, replaced or reset; enrol it again with a new ticket",
	"enrollment_suspended":        "an admin can bring it back",
	"login_transaction_not_found": "nothing was decided by this answer",
	"invalid_otp":                 "the number was wrong, so the login is denied; start it again",
	"invalid_recovery_code":       "take the code that was saved last",
	"restore_not_found":           "start again with tutela phone restore",
	"backup_shrinks":              "if most accounts are meant to go, give --shrink",
}
