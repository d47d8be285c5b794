package dashboard

import (
	"slices"
	"strings"

	"tutela/recovery/webhook"
	"tutela/server/web/page"
)

// link is a section of the dashboard.
type link struct {
	Path    string // from the root of the server
	Name    string // below admin_frame.section in the catalogue
	Scope   string // who lacks it does not see the section
	Current bool
}

// allSections are the sections in the order in which they are shown. One is shown where its page is mounted.
var allSections = []link{
	{Path: "admin/overview", Name: "overview", Scope: "read:stats"},
	{Path: "admin/users", Name: "users", Scope: "read:users"},
	{Path: "admin/events", Name: "events", Scope: "read:logs"},
	{Path: "admin/clients", Name: "clients", Scope: "read:clients"},
	{Path: "admin/webhooks", Name: "webhooks", Scope: webhook.ScopeManage},
	{Path: "admin/settings", Name: "settings", Scope: "read:mfa_policies"},
	{Path: "admin/push", Name: "push", Scope: "read:guardian_factors"},
	{Path: "admin/team", Name: "team"},
}

// sections returns those that are mounted.
func (p *pages) sections() []link {
	mounted := map[string]bool{}
	for _, route := range p.kit.App().GetRoutes(true) {
		mounted[route.Path] = true
	}
	return slices.DeleteFunc(slices.Clone(allSections), func(l link) bool { return !mounted["/"+l.Path] })
}

// Shell is what every page of an admin who is signed in shows around its own. Data embed it.
type Shell struct {
	page.Frame
	Menu   []link
	Search bool   // users can be searched for
	Query  string // what is searched for now
	Name   string // of the admin
	Face   string // its first letters
	Role   string
	Dialog bool // the page is a dialog over what surrounds it, which is out of reach until the dialog is left
}

// Shell returns the frame of a page in a section, by its path; "" is none.
func (c *Call) Shell(section string) Shell {
	s := Shell{
		Frame: c.Frame(),
		Name:  nameOf(c.Session.User),
		Role:  string(c.Session.User.Role),
	}
	s.Body = "admin"
	s.Face = faceOf(s.Name)
	for _, l := range c.pages.menu {
		if l.Scope != "" && !c.Session.Has(l.Scope) {
			continue
		}
		l.Current = l.Path == section
		s.Search = s.Search || l.Name == "users"
		s.Menu = append(s.Menu, l)
	}
	return s
}

// faceOf returns the first letters of a name, two at most.
func faceOf(name string) string {
	letters := ""
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(" .@_-|", r) }) {
		if len([]rune(letters)) < 2 {
			letters += strings.ToUpper(string([]rune(word)[:1]))
		}
	}
	return letters
}
