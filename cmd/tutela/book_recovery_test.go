package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/storage/storagetest/check"
)

// updateBook has the tables of docs/recovery.md and docs/operating.md written anew instead of compared: make book.
var updateBook = flag.Bool("update", false, "write what the docs hold of the stories anew")

const recoveryPage = "../../docs/recovery.md"

// A loss is one row of the first table of docs/recovery.md. It is played over HTTP, and what it says has happened.
type loss struct {
	lost string // how the phone was lost
	left string // what she has left
	play func(s *stage) (happens string)
}

// TestBookRecovery_WaysToLoseAPhone plays every row of the first table of docs/recovery.md, and compares the table with what
// was played.
func TestBookRecovery_WaysToLoseAPhone(t *testing.T) {
	check.WithoutRace(t)
	table := newTable("ways to lose a phone", "the phone", "she still has", "what happens", "who acts, in how many steps")
	for _, l := range waysToLose {
		table.play(t, l.lost+", "+l.left, func(s *stage) []string {
			happens := l.play(s)
			return []string{l.lost, l.left, happens, s.acts()}
		})
	}
	table.compare(t)
}

// An attack is one row of the second table.
type attack struct {
	has  string
	play func(s *stage) (gains string)
}

// TestBookRecovery_Attackers plays every row of the second table of docs/recovery.md: what somebody who has this much gains,
// and what maria's phone is told meanwhile.
func TestBookRecovery_Attackers(t *testing.T) {
	check.WithoutRace(t)
	table := newTable("attackers", "who has", "gains", "her phones are told")
	for _, a := range attacks {
		table.play(t, a.has, func(s *stage) []string {
			gains := a.play(s)
			s.hears()
			return []string{a.has, gains, s.toldOf()}
		})
	}
	table.compare(t)
}

// playedTable is a table of docs/recovery.md whose rows are played.
type playedTable struct {
	name string
	rows []string
}

func newTable(name string, head ...string) *playedTable {
	t := &playedTable{name: name}
	t.add(head)
	t.rows = append(t.rows, strings.Repeat("|---", len(head))+"|")
	return t
}

func (p *playedTable) add(cells []string) {
	p.rows = append(p.rows, "| "+strings.Join(cells, " | ")+" |")
}

// play plays one row on a stage of its own. row returns its cells.
func (p *playedTable) play(t *testing.T, name string, row func(s *stage) []string) {
	t.Helper()
	t.Run(name, func(t *testing.T) { p.add(row(openStage(t))) })
}

// compare compares the table in docs/recovery.md with what was played, or writes it anew.
func (p *playedTable) compare(t *testing.T) {
	t.Helper()
	if t.Failed() {
		t.Fatal("not every story can be told")
	}
	page, err := os.ReadFile(filepath.FromSlash(recoveryPage))
	if err != nil {
		t.Fatal(err)
	}
	begin := "<!-- make book writes this table: " + p.name + " -->\n"
	const end = "<!-- the end of the table -->"
	before, rest, found := strings.Cut(string(page), begin)
	table, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("docs/recovery.md has no place for the table %q", p.name)
	}
	want := strings.Join(p.rows, "\n") + "\n"
	if table == want {
		return
	}
	if !*updateBook {
		t.Errorf("docs/recovery.md tells another story (make book writes it anew):\n%s\nwant\n%s", table, want)
		return
	}
	if err := os.WriteFile(filepath.FromSlash(recoveryPage), []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	lake           = "in a lake"
	stolen         = "stolen, and the thief can unlock it"
	platformBackup = "the platform's backup"
	code           = "the code"
	nextCode       = "saves the next code"
	install        = "installs the app on a new phone"
	typeCode       = "types her code"
)

// waysToLose are the rows of the first table.
var waysToLose = []loss{
	{lake, platformBackup + " and " + code, func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, "Pixel 10", true)
		s.does(she, install)
		r := s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked")
		wait := s.waits(r)
		s.does(she, typeCode)
		s.redeems(n)
		s.does(she, nextCode)
		s.logsIn(n.Phone)
		return fmt.Sprintf("The old phone is asked and is silent: the code counts after %s, about as long as it takes to type. Accounts, backup and logins move; the old phone is retired", said(wait))
	}},
	{lake + ", and unused for a month before", platformBackup + " and " + code, func(s *stage) string {
		o := s.settle()
		s.Clock.Advance(31 * 24 * time.Hour)
		n := s.newPhone(o, "Pixel 10", true)
		s.does(she, install)
		r := s.restore(n.Phone, phone.StepRecoveryCode, "backup_found")
		if r.WaitUntil != "" {
			s.t.Fatalf("it waits until %s", r.WaitUntil)
		}
		s.does(she, typeCode)
		s.redeems(n)
		s.does(she, nextCode)
		s.logsIn(n.Phone)
		return "Nobody is asked: the old phone has signed nothing for 30 days. The code counts at once"
	}},
	{"in her other hand: she has bought a new one", platformBackup + ", " + code + " and the old phone", func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, "Pixel 10", true)
		s.does(she, install)
		r := s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked")
		s.heard("restore_started", "Pixel 9")
		s.does(she, "allows it on the old phone")
		s.signed(o.Phone, "POST", "/api/restores/"+r.ID+"/allow", http.StatusNoContent)
		s.does(she, typeCode)
		s.redeems(n)
		s.does(she, nextCode)
		s.logsIn(n.Phone)
		return "The old phone asks, and its word ends the wait at once"
	}},
	{"well, but its app was removed and installed again", platformBackup + " and " + code, func(s *stage) string {
		o := s.settle()
		s.must(o.Reinstall(phone.Reinstallation{}))
		s.does(she, "installs the app again")
		wait := s.waits(s.restore(o.Phone, phone.StepRecoveryCode, "old_device_asked"))
		s.does(she, typeCode)
		s.redeems(o)
		s.does(she, nextCode)
		s.logsIn(o.Phone)
		return fmt.Sprintf("As with a new phone: the earlier installation is silent, and the code counts after %s", said(wait))
	}},
	{lake, "the platform's backup of some nights ago, and " + code, func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, "Pixel 10", true)
		for range 3 {
			s.must(o.NewHandle(s.t.Context(), false))
		}
		s.does(she, install)
		s.waits(s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked"))
		s.does(she, typeCode)
		s.redeems(n)
		s.does(she, nextCode)
		s.logsIn(n.Phone)
		return "Three earlier handles still find the backup, for 30 days each"
	}},
	{lake + "; and the answer to the restore was lost for a day", platformBackup + " and " + code, func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, "Pixel 10", true)
		s.does(she, install)
		s.waits(s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked"))
		s.does(she, typeCode)
		_, err := s.twin(n).RestoreWithCode(s.t.Context(), o.code) // whose answer this phone never sees
		s.must(err)
		s.Clock.Advance(24 * time.Hour)
		s.does(she, "opens the app again")
		_, restored, err := n.RestoreState(s.t.Context())
		s.must(err)
		if restored == nil || restored.RecoveryCode == "" {
			s.t.Fatal("the phone is not told again")
		}
		n.code = restored.RecoveryCode
		s.does(she, nextCode)
		s.logsIn(n.Phone)
		s.logsInByCode(n)
		return "The new phone proves by its key that it is the one, and gets the whole answer with a fresh code: for 30 days, until its first call"
	}},
	{lake, "the platform's backup, and another phone; the code is lost too", func(s *stage) string {
		o := s.settle()
		other := s.secondPhone()
		n := s.newPhone(o, "Pixel 10", true, showsCodes)
		s.does(she, install)
		s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked")
		_, err := n.FirstTimeSetup(s.t.Context())
		s.must(err)
		s.logsIn(other)
		s.replaces(o, n, map[string]any{"new_code": true})
		s.logsIn(n.Phone)
		s.logsInByCode(n)
		return "The other phone goes on logging her in. A ticket that replaces the lost phone moves its backup, and brings a new code"
	}},
	{lake + "; no backup came along", "the code and her password", func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, "Pixel 10", false)
		s.does(she, install)
		s.restore(n.Phone, phone.StepFirstTimeSetup, "no_backup_restored")
		s.does(she, "logs in with the code")
		s.logsInByCode(o)
		s.does(she, nextCode)
		n.code = o.code
		s.replaces(o, n, nil)
		s.logsIn(n.Phone)
		_, _, err := n.FetchBackup(s.t.Context())
		if !errors.Is(err, phone.ErrNoBlobKey) {
			s.t.Fatalf("the accounts: %v", err)
		}
		return "Each code is one login, and brings the next. A ticket that replaces the lost phone sets up the new one. The accounts stay sealed: their key was in the platform's backup"
	}},
	{lake + "; no backup came along", "another phone", func(s *stage) string {
		o := s.settle()
		other := s.secondPhone()
		n := s.newPhone(o, "Pixel 10", false)
		s.logsIn(other)
		s.does(she, install)
		s.replaces(o, n, nil)
		s.logsIn(n.Phone)
		return "The other phone goes on logging her in; a ticket that replaces the lost one sets up the new one"
	}},
	{lake, "nothing: no backup, no code, no other phone", func(s *stage) string {
		o := s.settle()
		s.does(she, "calls the help desk")
		s.does(desk, "checks who calls")
		s.does(desk, "resets her")
		s.manage("POST", "/users/"+maria+"/mfa-reset", map[string]any{"reason": "lost phone and code", "caller_check": "document"})
		s.does(desk, "makes a ticket")
		n := s.newPhone(o, "Pixel 10", false)
		s.does(she, install)
		s.does(she, "scans its QR code")
		s.enrols(n, s.ticket(nil))
		if n.code == "" {
			s.t.Fatal("no code came with the first phone of a new user")
		}
		s.does(she, "saves the code")
		s.logsIn(n.Phone)
		return "She starts as a new user. All that was there is gone, and a signed receipt says so"
	}},
	{stolen, platformBackup + ", " + code + " and her password", func(s *stage) string {
		o := s.settle()
		n := s.newPhone(o, "Pixel 10", true)
		s.does(she, install)
		r := s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked")
		s.does(thief, "vetoes it on the stolen phone")
		s.must(o.Veto(s.t.Context(), r.ID))
		s.restore(n.Phone, phone.StepAskAdmin, "vetoed")
		s.does(she, "logs in with the code")
		s.logsInByCode(o)
		s.does(she, nextCode)
		s.does(she, "calls the help desk")
		s.does(desk, "suspends the stolen phone")
		s.manage("POST", "/guardian/enrollments/"+o.Enrollment().ID+"/suspend", map[string]any{})
		s.does(desk, "lifts the veto")
		s.manage("DELETE", "/user-blocks/"+maria, nil)
		wait := s.waits(s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked"))
		n.code = o.code
		s.does(she, typeCode)
		s.redeems(n)
		s.does(she, nextCode)
		s.logsIn(n.Phone)
		return fmt.Sprintf("The thief can stop a restore for a day, and no login by code. Once the phone is suspended and the veto lifted, the code counts after %s", said(wait))
	}},
	{"suspended by the help desk, and found again", "the phone", func(s *stage) string {
		o := s.settle()
		id := o.Enrollment().ID
		s.manage("POST", "/guardian/enrollments/"+id+"/suspend", map[string]any{})
		if begun := s.asks(ownAddress); begun.member("error") != "recovery_required" {
			s.t.Fatalf("a suspended phone is asked: %d %s", begun.status, begun.body)
		}
		s.does(she, "calls the help desk")
		s.does(desk, "takes the suspension back")
		s.manage("POST", "/guardian/enrollments/"+id+"/resume", map[string]any{})
		s.logsIn(o.Phone)
		return "While suspended it is asked nothing and can change nothing; then all is as before"
	}},
	{"well, but the app has removed the account by the device token", "the phone", func(s *stage) string {
		o := s.settle()
		s.byToken(tokenOf(o.Phone), "DELETE", "")
		s.logsIn(o.Phone) // it is still asked
		if state := s.manage("GET", "/guardian/enrollments/"+o.Enrollment().ID, nil).member("status"); state != "confirmed" {
			s.t.Fatalf("it is %s", state)
		}
		return "A token that a platform's backup may carry does not take a phone away: it is still asked for 7 days, and its first signed answer brings it back"
	}},
	{"well", "the phone; the code is lost", func(s *stage) string {
		o := s.settle()
		s.does(she, "says in the app that the code is lost")
		s.signed(o.Phone, "POST", "/api/device-accounts/"+o.Enrollment().ID+"/recovery-code/lost", http.StatusNoContent)
		s.logsInByCode(o) // it counts until the next is issued
		s.does(she, "calls the help desk")
		s.does(desk, "issues a code")
		o.code = s.manage("POST", "/users/"+maria+"/recovery-code-regeneration", map[string]any{}).member("recovery_code")
		s.does(she, "logs in with it")
		s.logsInByCode(o)
		s.does(she, nextCode)
		return "The old code counts until there is a new one. A code that the help desk has seen counts for a day, and its use brings one that only she has"
	}},
	{lake, "anything, but she is blocked", func(s *stage) string {
		o := s.settle()
		s.SetBlocked(maria, true)
		n := s.newPhone(o, "Pixel 10", true)
		s.does(she, install)
		s.restore(n.Phone, phone.StepAskAdmin, "user_blocked")
		s.does(she, "calls the help desk")
		s.does(desk, "takes the block back")
		s.SetBlocked(maria, false)
		s.waits(s.restore(n.Phone, phone.StepRecoveryCode, "old_device_asked"))
		s.does(she, typeCode)
		s.redeems(n)
		s.does(she, nextCode)
		s.logsIn(n.Phone)
		return "Nothing is answered for a blocked user; nothing is lost either"
	}},
}
