package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"tutela/backup"
	"tutela/device"
	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/operator"
)

// showUser prints all that is known of a user, and what to do next.
func showUser(w io.Writer, u operator.UserDetail) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"user", u.ID}, {"uid", u.UID.String()}, {"name", u.Name}, {"email", u.Email}, {"role", string(u.Role)},
		{"", blockedMark(u.Blocked)}, {"MFA", string(u.State)}, {"recovery code", codeInWords(u.Code)},
		{"way back", backInWords(u)},
		{"created", shortTime(u.Created)}, {"last login", shortTime(u.LastLogin)},
	} {
		if line[1] != "" && line[1] != "-" {
			say(table, "%s\t%s\n", line[0], plain(line[1]))
		}
	}
	showHoldings(table, u)
	showWaits(table, u)
	for _, r := range u.Receipts {
		say(table, "reset\t%s  %s by %s: %s%s\n", r.ID, shortTime(r.At), plain(r.By), plain(r.Reason), residueNote(r))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if next := nextSteps(u); len(next) > 0 {
		say(w, "\nnext\n")
		table = tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
		for _, step := range next {
			say(table, "  %s\t%s\n", step[0], step[1])
		}
	}
	return table.Flush()
}

// codeInWords says how a user's recovery code stands.
func codeInWords(code recovery.Holding) string {
	switch {
	case !code.Counts:
		return "none"
	case code.Lost:
		return "declared lost; it counts until the next phone gets another"
	case code.ByAdmin:
		return "made by an admin"
	case !code.Arrived:
		return "issued, but nobody is known to have seen it"
	default:
		return "issued"
	}
}

// backInWords says how the user would get back in without an admin, if the phone that she used last is lost, and what makes that thin.
func backInWords(u operator.UserDetail) string {
	var words, thin []string
	for _, way := range u.Ways {
		words = append(words, string(way))
	}
	for _, risk := range u.Risks {
		thin = append(thin, string(risk))
	}
	if len(words)+len(thin) == 0 {
		return ""
	}
	said := strings.Join(words, ", ")
	if len(words) == 0 {
		said = "none: an admin"
	}
	if len(thin) > 0 {
		said += "; thin: " + strings.Join(thin, ", ")
	}
	return said
}

// showHoldings prints what the user has: phones, backups, tickets.
func showHoldings(w io.Writer, u operator.UserDetail) {
	for _, e := range u.Enrollments {
		if t := device.Type(e.Type); t.IsPasskey() {
			say(w, "passkey\t%s  %s (%s), %s, enrolled %s%s, last used %s%s\n", e.ID, named(e), t, e.Status,
				shortTime(e.Enrolled), ways[device.Via(e.Via)], shortTime(e.LastAuth), copiesInWords(e))
			continue
		}
		if device.Type(e.Type) == device.TypeOTP {
			say(w, "codes\t%s  %s, %s, enrolled %s%s, last used %s\n", e.ID, named(e), e.Status,
				shortTime(e.Enrolled), ways[device.Via(e.Via)], shortTime(e.LastAuth))
			continue
		}
		say(w, "phone\t%s  %s, %s, enrolled %s%s, last used %s, push %s\n", e.ID, named(e), e.Status,
			shortTime(e.Enrolled), ways[device.Via(e.Via)], shortTime(e.LastAuth), pushInWords(e))
	}
	for _, b := range u.Backups {
		whose := "of " + plain(b.Device)
		if b.Orphaned {
			whose = "of a phone that is gone"
		}
		if !b.Deleted.IsZero() {
			whose += ", deleted, can be had back until " + shortTime(b.Deleted.Add(backup.UndeleteFor))
		}
		say(w, "backup\t%s  generation %d, %s, %s, %s, %s\n", b.ID, b.Generation, plural(b.Items, "account"),
			byteSize(int64(b.Size)), whose, shortTime(b.Updated))
	}
	for _, t := range u.Tickets {
		say(w, "ticket\topen until %s, made %s%s\n", shortTime(t.Expires), shortTime(t.Created), ticketNote(t))
	}
}

// copiesInWords says whether a passkey lies on other devices too.
func copiesInWords(e operator.Enrollment) string {
	if e.BackedUp {
		return ", copied to other devices"
	}
	return ""
}

// ways say how an enrollment came about.
var ways = map[device.Via]string{
	device.ViaPage:           " on the page",
	device.ViaTicket:         " by a ticket",
	device.ViaEnrolmentToken: " by a login system",
	device.ViaRestore:        " by a restore",
	device.ViaImport:         " by an import",
}

// named is the name of a phone, with what its app runs on.
func named(e operator.Enrollment) string {
	if e.Platform == "" {
		return plain(e.Name)
	}
	return plain(e.Name) + " (" + plain(e.Platform) + ")"
}

// ticketNote says what a ticket enrols when not anything, what it does besides, and that its page is open.
func ticketNote(t operator.OpenTicket) (note string) {
	if t.Factor != "" {
		note += ", for " + t.Factor + " alone"
	}
	if t.Via == device.ViaPage {
		note += ", its page shows a QR code"
	}
	if t.Replaces != "" {
		note += ", in the place of " + t.Replaces
	}
	return note
}

// showWaits prints what holds the user up.
func showWaits(w io.Writer, u operator.UserDetail) {
	for _, b := range u.Blocks {
		say(w, "closed\t%s until %s\n", b.Channel, shortTime(b.Until))
	}
	for _, m := range u.Mutes {
		say(w, "muted\tlogins %s by client %s ring no phone until %s\n", fromNetwork(m.Network), plain(m.Client), shortTime(m.Until))
	}
	for _, b := range u.Spent {
		say(w, "silent\tlogins %s by client %s have used up their pushes until %s\n", fromNetwork(b.Network), plain(b.Client), shortTime(b.Until))
	}
	for _, r := range u.Restores {
		until := ""
		if !r.WaitUntil.IsZero() {
			until = " until " + shortTime(r.WaitUntil)
		}
		say(w, "restore\t%s  %s wants to take over since %s: %s, %s%s\n", r.ID, orDash(r.Device), shortTime(r.Started),
			strings.ReplaceAll(r.Step, "_", " "), strings.ReplaceAll(r.Reason, "_", " "), until)
	}
}

// fromNetwork says from where logins come.
func fromNetwork(network string) string {
	switch network {
	case "":
		return "without an address"
	case login.Others:
		return "from places where she has not signed in"
	default:
		return "from " + plain(network)
	}
}

// nextSteps returns commands that may be wanted for the user as she stands, each with what it does.
func nextSteps(u operator.UserDetail) (steps [][2]string) {
	id := shellWord(plain(u.ID))
	add := func(command, does string) {
		steps = append(steps, [2]string{"tutela " + command, does})
	}
	if u.Blocked {
		add("user block "+id+" --off", "lets the user in again")
	}
	switch {
	case u.State == user.New && len(u.Tickets) > 0:
		add("ticket "+id, "makes another link, if the first did not arrive")
	case u.State == user.New:
		add("ticket "+id, "makes a link with which a phone enrols")
	case u.State == user.RecoveryOnly && u.HasCode:
		add("user code "+id, "makes a new recovery code for who has lost it; with it a new phone takes over")
		add("user reset "+id+" --reason TEXT", "begins anew for who has lost all")
	case u.State == user.RecoveryOnly:
		add("user code "+id, "makes a recovery code, with which a new phone takes over")
		add("user reset "+id+" --reason TEXT", "begins anew for who has lost all")
	case !u.HasCode:
		add("user code "+id, "makes a recovery code, which the user lacks")
	case u.Code.ByNobody():
		add("ticket "+id+" --multiple", "makes a link whose page shows a new recovery code")
	}
	for _, e := range u.Enrollments {
		switch e.Status {
		case "suspended":
			add("device resume "+e.ID, fmt.Sprintf("lets %s answer again", plain(e.Name)))
		case "left":
			add("device resume "+e.ID, fmt.Sprintf("keeps %s, which its own token took off the account", plain(e.Name)))
			add("device remove "+e.ID, "takes it away at once, when she did it")
		}
	}
	if len(u.Blocks)+len(u.Mutes)+len(u.Spent) > 0 || anyVetoed(u.Restores) {
		add("user unlock "+id, "opens what is closed, when you know who is calling")
	}
	return steps
}

// anyVetoed reports whether a veto keeps a restore closed.
func anyVetoed(restores []operator.Restore) bool {
	for _, r := range restores {
		if r.Reason == "vetoed" {
			return true
		}
	}
	return false
}

// residueNote says when bytes of what was reset may still lie in the file.
func residueNote(r recovery.Receipt) string {
	if r.Residue {
		return "  (tutela compact wipes what is left in the file)"
	}
	return ""
}
