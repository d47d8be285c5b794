package dashboard

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/server/web/page"
	"tutela/storage/audit"
)

// The tabs of a user's page.
const (
	tabDetails = "details"
	tabMFA     = "mfa"
	tabBackups = "backups"
	tabHistory = "history"
)

// userPage is a user as an admin sees her: the data of all pages about one.
type userPage struct {
	Shell
	admin.Seen
	Session Session
	Tab     string
	Path    string // of the user's page, from the root of the server
}

// Title is the user as people write her.
func (p userPage) Title() string { return nameOf(p.User) }

// Under is the line below the title.
func (p userPage) Under() string {
	if p.Title() == p.User.ID {
		return ""
	}
	if p.User.Email != "" && p.Title() != p.User.Email {
		return p.User.Email
	}
	return p.User.ID
}

// Letters stand for a picture of the user.
func (p userPage) Letters() string {
	letters := ""
	for _, word := range strings.Fields(p.Title()) {
		letters += strings.ToUpper(string([]rune(word)[:1]))
	}
	runes := []rune(letters)
	return string(runes[:min(len(runes), 2)])
}

// Set reports whether the user has anything that a reset removes.
func (p userPage) Set() bool { return p.State != user.New }

// Locked reports whether limits have closed something that an admin can open.
func (p userPage) Locked() bool { return len(p.Blocks) > 0 || len(p.Mutes) > 0 || len(p.Spent) > 0 }

// May reports whether the admin may take an action.
func (p userPage) May(action string) bool { return p.Refusals[actionsByName[action]] == "" }

// Reaches reports whether the admin may take an action once he has shown his passkey.
func (p userPage) Reaches(action string) bool {
	why := p.Refusals[actionsByName[action]]
	return why == "" || why == admin.NotFresh
}

var actionsByName = map[string]admin.Action{
	"factors": admin.ChangeFactors,
	"remove":  admin.Remove,
	"suspend": admin.Suspend,
	"resume":  admin.Resume,
	"caller":  admin.CheckCaller,
	"block":   admin.Block,
	"unlock":  admin.Unlock,
	"role":    admin.SetRole,
}

// Gets reports whether the user gets back in by herself.
func (p userPage) Gets() bool { return len(p.Back.Ways) > 0 }

// Way reports whether a way is among hers.
func (p userPage) Way(name string) bool {
	return slices.Contains(p.Back.Ways, ways.Way(name))
}

// Fresh reports whether a reset needs no passkey now.
func (p userPage) NeedsPasskey() bool { return !p.Session.Fresh }

func (p *pages) userPage(c *Call, tab string) (userPage, error) {
	u, err := p.userOf(c)
	if err != nil {
		return userPage{}, err
	}
	return p.userPageOf(c, u, tab)
}

func (p *pages) userPageOf(c *Call, u user.User, tab string) (userPage, error) {
	seen, err := p.Admins.SeenBy(c.UserContext(), u.ID, c.Session.Actor())
	if err != nil {
		return userPage{}, err
	}
	return userPage{
		Shell:   c.Shell("admin/users"),
		Seen:    seen,
		Session: c.Session,
		Tab:     tab,
		Path:    "admin/users/" + u.UID.String(),
	}, nil
}

// showTab returns the handler of a tab that shows no more than is seen of the user.
func (p *pages) showTab(tab string) Handler {
	return func(c *Call) (page.Reply, error) {
		u, err := p.userPage(c, tab)
		return page.Reply{Template: "user_" + tab + ".html", Data: u}, err
	}
}

// historyPage is what happened to a user.
type historyPage struct {
	userPage
	admin.History
	Older string // address of what happened before; "": nothing
	Newer string
}

// shownEvents is how many events a page of the history has.
const shownEvents = 50

func (p *pages) showHistory(c *Call) (page.Reply, error) {
	u, err := p.userPage(c, tabHistory)
	if err != nil {
		return page.Reply{}, err
	}
	skip, err := strconv.Atoi(cmp.Or(c.Query("skip"), "0"))
	if err != nil || skip < 0 || skip > audit.MostEvents {
		skip = 0
	}
	shown := historyPage{userPage: u}
	shown.History, err = p.Admins.HistoryOf(c.UserContext(), u.User.ID, skip, shownEvents, c.Session.Actor())
	if err != nil {
		return page.Reply{}, err
	}
	if shown.More {
		shown.Older = u.Path + "/history?skip=" + strconv.Itoa(skip+shownEvents)
	}
	if skip > 0 {
		shown.Newer = u.Path + "/history?skip=" + strconv.Itoa(max(skip-shownEvents, 0))
	}
	return page.Reply{Template: "user_history.html", Data: shown}, nil
}

// Who is who has brought an event about; "" for the user herself and for the house.
func (p historyPage) Who(by string) string {
	if who, known := p.People[by]; known {
		return nameOf(who)
	}
	return by
}

// refusedPage says why an admin may not do something, and who may.
type refusedPage struct {
	userPage
	Why     admin.Refusal
	Instead admin.Instead
}

// Names are those who may.
func (p refusedPage) Names() (names []string) {
	for _, who := range p.Instead.People {
		if who.UID != p.Session.User.UID {
			names = append(names, nameOf(who))
		}
	}
	return names
}

// refused shows who may do it instead.
func (p *pages) askOther(c *Call, u userPage, action admin.Action, why admin.Refusal) (page.Reply, error) {
	instead, err := p.Admins.WhoMay(c.UserContext(), u.User.ID, action, c.Session.Actor())
	if err != nil {
		return page.Reply{}, err
	}
	return page.Reply{
		Status:   http.StatusForbidden,
		Template: "user_refused.html",
		Data:     refusedPage{u, why, instead},
	}, nil
}

// Removed says what so many rows are that a reset removes of a table, as people call them.
func (p userPage) Removed(table string, rows int) string {
	if slices.Contains(knownTables, table) {
		return p.T("admin_users.removed."+table, rows)
	}
	return p.T("admin_users.removed.any", rows, table)
}

// knownTables are those whose rows have a name among people.
var knownTables = []string{
	"enrollment", "recovery_code", "backup", "backup_version", "backup_chunk", "backup_handle", "remembered_browser", "ticket", "login",
	"restore", "limit", "notice", "event_detail", "passkey_admin", "recoverability",
}

// What says what an event is about.
func (p userPage) What(of audit.Type) string {
	if slices.Contains(knownEvents, of) {
		return p.T("admin_users.event." + string(of))
	}
	return p.T("admin_users.event.any")
}

// knownEvents are those that happen to users.
var knownEvents = []audit.Type{
	audit.StartEnroll, audit.EnrollComplete, audit.UpdateDevice, audit.Unenroll, audit.StartAuth, audit.SendPush, audit.SendPushFailure,
	audit.AuthSucceed, audit.AuthFailed, audit.AuthRejected, audit.OTPRateLimit, audit.RecoverySucceed, audit.RecoveryFailed,
	audit.RecoveryRateLimit, audit.ManagementCall, audit.BackupPut, audit.BackupDeleted, audit.RestoreStarted, audit.RestoreDone,
	audit.RestoreVetoed, audit.Reset, audit.CodeLost, audit.CallerChecked, audit.PasskeyChanged,
}
