package dashboard

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/server/web/page"
	"tutela/storage"
)

// shownUsers is how many users a page of the list has.
const shownUsers = 25

// usersPage is the list of users.
type usersPage struct {
	Shell
	Query string
	Risk  ways.Risk
	List  admin.UserList
	Total admin.UserTotals
	Chips []riskChip
	After string
	Next  string // address of the next page, from the root of the server; "": there is none
	First string // address of the first page
	Empty bool   // there is no user at all
	Fault string // what is wrong: a text's name; "": nothing
	Adds  bool   // the admin may make tickets
}

// riskChip is a filter by risk.
type riskChip struct {
	Risk  ways.Risk // "": everybody
	To    string    // address, from the root of the server
	Count int64
	Here  bool
}

func listAddress(q string, risk ways.Risk, after string) string {
	query := url.Values{}
	for name, value := range map[string]string{"q": q, "risk": string(risk), "after": after} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) == 0 {
		return "admin/users"
	}
	return "admin/users?" + query.Encode()
}

// showUsers shows the list: of all users, of those whom a search finds, of those with a risk.
func (p *pages) showUsers(c *Call) (page.Reply, error) {
	shown := usersPage{
		Shell: c.Shell("admin/users"),
		Query: strings.TrimSpace(strings.ToValidUTF8(c.Query("q"), "")),
		After: c.Query("after"),
		Adds:  c.Session.Has("create:guardian_enrollment_tickets"),
	}
	shown.Search = false // the page has a field of its own for that
	if asked := c.Query("risk"); asked != "" {
		risk, err := ways.ParseRisk(asked)
		if err != nil {
			shown.Fault = "no_such_page"
		}
		shown.Risk = risk
	}
	ctx := c.UserContext()
	actor := c.Session.Actor()
	var err error
	if shown.Total, err = p.Admins.CountedUsers(ctx, actor); err != nil {
		return page.Reply{}, err
	}
	if shown.Fault == "" {
		q := admin.UserQuery{
			Text:  shown.Query,
			Risk:  shown.Risk,
			After: shown.After,
			Take:  shownUsers,
		}
		shown.List, err = p.Admins.ListUsers(ctx, q, actor)
		switch {
		case errors.Is(err, admin.ErrPage):
			shown.Fault = "no_such_page"
		case errors.Is(err, admin.ErrCounting):
			shown.Fault = "counting"
		case err != nil:
			return page.Reply{}, err
		}
	}
	shown.arrange()
	status := http.StatusOK
	if shown.Fault == "no_such_page" {
		status = http.StatusBadRequest
	}
	return page.Reply{Status: status, Template: "users.html", Data: shown}, nil
}

// arrange makes the filters, and the addresses of other pages.
func (p *usersPage) arrange() {
	p.Empty = p.Total.Users == 0
	p.Chips = []riskChip{{To: listAddress(p.Query, "", ""), Count: int64(p.Total.Users), Here: p.Risk == ""}}
	for _, risk := range ways.Risks {
		p.Chips = append(p.Chips, riskChip{
			Risk:  risk,
			To:    listAddress(p.Query, risk, ""),
			Count: p.Total.Back.Risks[risk],
			Here:  p.Risk == risk,
		})
	}
	p.First = listAddress(p.Query, p.Risk, "")
	if p.List.Next != "" {
		p.Next = listAddress(p.Query, p.Risk, p.List.Next)
	}
}

// userOf returns the user whom an address names, by her uid: a login system's id may hold anything, and stands in no address.
//
// Errors: user.ErrUnknown.
func (p *pages) userOf(c *Call) (user.User, error) {
	var uid storage.UID
	if uid.UnmarshalText([]byte(c.Params("uid"))) != nil || uid.IsZero() {
		return user.User{}, user.ErrUnknown
	}
	found, err := p.Admins.UsersOf(c.UserContext(), []storage.UID{uid})
	if err != nil {
		return user.User{}, err
	}
	u, there := found[uid]
	if !there {
		return user.User{}, user.ErrUnknown
	}
	return u, nil
}

// NameOf is a user as people write him.
func (p usersPage) NameOf(u user.User) string { return nameOf(u) }

// mountUsers mounts the pages about users.
func (p *pages) mountUsers() {
	const (
		read = "read:users"
		one  = "/admin/users/:uid"
	)
	// The list is searched as one types.
	list := p.kit.Set(files, page.WithHtmx(), page.WithTrouble(p.trouble))
	list.Get(p.kit.App(), "/admin/users", func(c *page.Call) (page.Reply, error) { return p.answer(c, read, p.showUsers) })
	p.form("/admin/users/ticket", "create:guardian_enrollment_tickets", p.makeFirstTicket, p.showFirstTicket)
	p.get(one, read, p.showTab(tabDetails))
	p.get(one+"/mfa", read, p.showTab(tabMFA))
	p.get(one+"/backups", read, p.showTab(tabBackups))
	p.get(one+"/history", read, p.showHistory)
	p.form(one+"/reset", read, p.reset, p.showReset)
	p.get(one+"/receipts/:receipt", read, p.showReceipt)
	p.get(one+"/receipts/:receipt/download", read, p.sendReceipt)
	p.form(one+"/ticket", read, p.makeTicket, p.showTicket)
	p.form(one+"/code", read, p.issueCode, p.showCode)
	p.form(one+"/caller", read, p.askCaller, p.showCaller)
	for _, act := range []string{"/do/:act", "/do/:act/:device"} {
		p.form(one+act, read, p.doAct, p.showAct)
	}
}
