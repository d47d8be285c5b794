package dashboard

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"tutela/recovery/user"
	"tutela/server/web/page"
	"tutela/storage"
	"tutela/storage/audit"
)

const (
	eventsPath  = "admin/events"
	eventsShown = 50
	eventsRead  = 20_000 // looked at for a page, however few fit
)

func (p *pages) mountEvents() {
	p.get("/admin/events", "read:logs", p.events)
	p.get("/admin/events/export.csv", "read:logs", p.exportCSV)
	p.get("/admin/events/export.jsonl", "read:logs", p.exportLines)
}

// kinds are the groups by which events are looked for, each with its types.
var kinds = []struct {
	name  string
	types []audit.Type
}{
	{"refused", []audit.Type{audit.AuthRejected, audit.AuthFailed, audit.OTPRateLimit, audit.PushMuted, audit.ConcurrentLogin}},
	{"recovery", []audit.Type{
		audit.RecoverySucceed, audit.RecoveryFailed, audit.RecoveryRateLimit, audit.CodeLost, audit.RestoreStarted, audit.RestoreDone, audit.RestoreVetoed,
		audit.RestoreDisputed, audit.RestoreAllowed, audit.RestoreGivenUp, audit.Reset,
	}},
	{"devices", []audit.Type{audit.StartEnroll, audit.EnrollComplete, audit.Unenroll, audit.UpdateDevice, audit.DeviceMoved, audit.PasskeyChanged}},
	{"admins", []audit.Type{audit.AdminLogin, audit.ManagementCall, audit.ManagementFailed, audit.Reset, audit.CallerChecked, audit.UserDelete}},
	{"system", []audit.Type{audit.TenantUpdate, audit.KeyRotated, audit.ClientAdded, audit.PushSetup, audit.PushWave, audit.PushLost, audit.SendPushFailure}},
}

// filter is which events are looked for, as the address says.
type filter struct {
	Q    string // id of a user, a client or an event
	Kind string
	From string // days of UTC
	To   string
}

func filterOf(c *Call) filter {
	return filter{
		Q:    strings.TrimSpace(c.Query("q")),
		Kind: c.Query("kind"),
		From: c.Query("from"),
		To:   c.Query("to"),
	}
}

// With returns the query of an address for the same events, and pairs of other parameters.
func (f filter) With(pairs ...string) string {
	v := url.Values{}
	for name, value := range map[string]string{"q": f.Q, "kind": f.Kind, "from": f.From, "to": f.To} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			v.Del(pairs[i])
		}
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// query returns what is asked of the log. one is the event whose id was typed; nil when none was.
//
// Errors: those of the store.
func (p *pages) query(ctx context.Context, f filter) (q audit.Query, one *audit.Entry, err error) {
	for _, k := range kinds {
		if k.name == f.Kind {
			q.Types = k.types
		}
	}
	if audit.IsType(audit.Type(f.Kind)) {
		q.Types = []audit.Type{audit.Type(f.Kind)}
	}
	if at, err := time.Parse(time.DateOnly, f.From); err == nil {
		q.Since = at
	}
	if at, err := time.Parse(time.DateOnly, f.To); err == nil {
		q.Until = at.AddDate(0, 0, 1).Add(-time.Nanosecond)
	}
	if f.Q == "" {
		return q, nil, nil
	}
	entry, err := audit.Get(ctx, p.Store, f.Q)
	if err == nil {
		return q, &entry, nil
	}
	if !errors.Is(err, audit.ErrNotFound) {
		return q, nil, err
	}
	u, err := p.Admins.ReadUser(ctx, f.Q)
	switch {
	case err == nil:
		q.UID = u.UID
	case errors.Is(err, user.ErrUnknown):
		q.Client = f.Q
		err = nil
	}
	return q, nil, err
}

// eventsPage is the page of events.
type eventsPage struct {
	Shell
	Filter filter
	Kinds  []string
	List   []shownEvent
	Older  string // the id after which older ones follow; "": there are none
	Live   bool
	Paused bool
	Again  int        // seconds until the page asks for what is new
	Mark   audit.Mark // how far it has seen everything
	Shown  string     // what it shows, as digestOf says it
}

// shownEvent is an event with who it is about, in the words of people.
type shownEvent struct {
	audit.Entry
	UserID string // while there is such a user
	Name   string
	Actor  string // who did it, when that was somebody else
	Facts  string
	Class  string // good, warn, bad or ""
}

// Known reports whether there are words for an event's type.
func (e shownEvent) Known() bool { return audit.IsType(e.Type) }

func (p *pages) events(c *Call) (page.Reply, error) {
	f := filterOf(c)
	before := c.Query("before")
	shown := eventsPage{
		Shell:  c.Shell(eventsPath),
		Filter: f,
		Paused: c.Query("pause") != "",
		Again:  page.Soon,
	}
	shown.Live = before == "" && f.From == "" && f.To == "" && !shown.Paused
	for _, k := range kinds {
		shown.Kinds = append(shown.Kinds, k.name)
	}
	ctx := c.UserContext()
	var err error
	if shown.Live {
		if shown.Again, err = p.awaitEvents(c, f); err != nil {
			return page.Reply{}, err
		}
		// The mark comes first: what is recorded after it is shown, or is news.
		if shown.Mark, err = audit.MarkOf(ctx, p.Store); err != nil {
			return page.Reply{}, err
		}
	}
	list, older, err := p.find(ctx, f, before)
	if err != nil {
		return page.Reply{}, err
	}
	shown.Older = older
	shown.Shown = digestOf(list)
	shown.List, err = p.show(ctx, list)
	reply := page.Reply{Template: "events.html", Data: shown}
	if shown.Live {
		reply.Live = &page.Live{Address: eventsPath + f.With("live", "1"), Again: page.Later}
	}
	return reply, err
}

// find returns the newest events that fit, of those before an id, and the id before which there may be more.
func (p *pages) find(ctx context.Context, f filter, before string) (list []audit.Entry, older string, err error) {
	q, one, err := p.query(ctx, f)
	if err != nil || one != nil {
		if one != nil {
			list = []audit.Entry{*one}
		}
		return list, "", err
	}
	q.Take = eventsShown + 1
	q.Within = eventsRead
	q.Before = before
	list, _, err = audit.List(ctx, p.Store, q, false)
	if len(list) > eventsShown {
		list = list[:eventsShown]
		older = list[eventsShown-1].ID
	}
	return list, older, err
}

// show adds to events who they are about and who has done them.
func (p *pages) show(ctx context.Context, list []audit.Entry) ([]shownEvent, error) {
	var uids []storage.UID
	for _, e := range list {
		uids = append(uids, e.UID)
		if by, is := audit.AdminOf(e.By); is {
			uids = append(uids, by)
		}
	}
	slices.SortFunc(uids, func(a, b storage.UID) int { return cmp.Compare(string(a[:]), string(b[:])) })
	uids = slices.DeleteFunc(slices.Compact(uids), storage.UID.IsZero)
	users, err := p.Admins.UsersOf(ctx, uids)
	shown := make([]shownEvent, 0, len(list))
	for _, e := range list {
		u := users[e.UID]
		s := shownEvent{
			Entry:  e,
			UserID: u.ID,
			Name:   nameOf(u),
			Actor:  e.By,
			Facts:  factsOf(e.Facts),
			Class:  classes[e.Type],
		}
		if by, is := audit.AdminOf(e.By); is {
			s.Actor = cmp.Or(nameOf(users[by]), e.By)
		}
		shown = append(shown, s)
	}
	return shown, err
}

// classes are the types of events that stand out.
var classes = map[audit.Type]string{
	audit.AuthSucceed:       "good",
	audit.EnrollComplete:    "good",
	audit.AuthRejected:      "bad",
	audit.AuthFailed:        "bad",
	audit.RestoreVetoed:     "bad",
	audit.RestoreDisputed:   "bad",
	audit.OTPRateLimit:      "warn",
	audit.RecoveryRateLimit: "warn",
	audit.PushWave:          "warn",
	audit.PushSetup:         "warn",
	audit.Damaged:           "warn",
}

// factsOf returns the facts of an event, by name.
func factsOf(facts audit.Facts) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(facts)) {
		list = append(list, string(name)+"="+string(facts[name]))
	}
	return strings.Join(list, " ")
}
