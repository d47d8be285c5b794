package dashboard

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tutela/device/push"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/server/web/page"
	"tutela/storage"
)

const (
	overviewPath = "admin/overview"
	overviewDays = 14
)

func (p *pages) mountOverview() {
	p.get("/admin/overview", "read:stats", p.overview)
}

// overview is the page on which an admin sees whether anything is wrong.
type overview struct {
	Shell
	At       time.Time
	Todo     []todo
	Back     recoverable
	Days     []admin.DayStats
	Names    []time.Time // the days
	Approved chart
	Denied   chart
	Returns  chart
	Sum      admin.DayStats
	Push     []pushed
	System   system
	Again    int    // seconds until the page asks for what is new
	Shown    string // what it shows, as digest says it
}

// todo is something that needs doing.
type todo struct {
	Icon string
	Text string
	More string
	Path string // from the root of the server; "": there is no page about it
}

// recoverable is who would get back in.
type recoverable struct {
	ways.Totals
	Counting bool // users of an earlier release are being counted
	Percent  int
	Out      int64
	Crowd    []figureOf100
	Causes   []cause
}

// cause is a risk and how many users have it.
type cause struct {
	Risk  ways.Risk
	Count int64
	Width string
}

// pushed is what became of messages to a push service.
type pushed struct {
	Provider           string
	Sent, Failed, Lost uint64
	Width              string // of what arrived
	Percent            int
}

// overviewAgain is how many seconds the page is read before a browser without script loads it again.
const overviewAgain = 60

func (p *pages) overview(c *Call) (page.Reply, error) {
	again, err := p.hold(c, "overview", overviewEvery, func(context.Context) (bool, error) {
		now, err := p.gather(c)
		return now.digest() != c.Query("shown"), err
	})
	if err != nil {
		return page.Reply{}, err
	}
	o, err := p.gather(c)
	if err != nil {
		return page.Reply{}, err
	}
	o.Again = again
	o.Shown = o.digest()
	o.draw(c)
	return page.Reply{
		Template: "overview.html",
		Data:     o,
		Live:     &page.Live{Address: overviewPath + "?live=1", Again: overviewAgain},
	}, nil
}

// Address is what the page asks, from the root of the server, until it would show something else.
func (o overview) Address() string { return overviewPath + "?live=1&wait=1&shown=" + o.Shown }

// gather reads what the page shows.
func (p *pages) gather(c *Call) (o overview, err error) {
	ctx := c.UserContext()
	now := p.Now()
	o = overview{Shell: c.Shell(overviewPath), At: now}
	first := now.UTC().AddDate(0, 0, 1-overviewDays)
	stats, err := p.Admins.Stats(ctx, first, now)
	if err != nil {
		return o, err
	}
	o.fill(first, stats)
	if o.Back, err = p.recoverable(c); err != nil {
		return o, err
	}
	if o.System, err = p.standing(ctx); err != nil {
		return o, err
	}
	o.Todo, err = p.todo(c, o)
	return o, err
}

// digest names what the page shows, but for the time.
func (o overview) digest() string {
	if len(o.Names) == 0 {
		return ""
	}
	o.System.Clock = storage.ClockState{}
	shown, err := json.Marshal([]any{o.Todo, o.Back, o.Days, o.System, o.Names[0].Format(time.DateOnly)})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(shown)
	return hex.EncodeToString(sum[:8])
}

// fill puts the days in order, those on which nothing happened too, and adds them up.
func (o *overview) fill(first time.Time, stats []admin.DayStats) {
	byDate := map[string]admin.DayStats{}
	for _, d := range stats {
		byDate[d.Date] = d
	}
	for i := range overviewDays {
		day := first.AddDate(0, 0, i)
		d := byDate[day.Format(time.DateOnly)]
		o.Names = append(o.Names, day)
		o.Days = append(o.Days, d)
		o.Sum.Approved += d.Approved
		o.Sum.Denied += d.Denied
		o.Sum.Expired += d.Expired
		o.Sum.Restored += d.Restored
		o.Sum.Resets += d.Resets
	}
	services := pushedBy(stats)
	for _, provider := range slices.Sorted(maps.Keys(services)) {
		o.Push = append(o.Push, services[provider])
	}
}

// pushedBy adds up what became of the messages of some days, by provider.
func pushedBy(stats []admin.DayStats) map[string]pushed {
	services := map[string]pushed{}
	for _, d := range stats {
		for provider, n := range d.Push {
			s := services[provider]
			s.Provider = provider
			s.Sent += n.Sent
			s.Failed += n.Failed
			s.Lost += n.Lost
			s.Percent = hundredth(int64(s.Sent), int64(s.Sent+s.Failed+s.Lost))
			s.Width = strconv.Itoa(s.Percent) + "%"
			services[provider] = s
		}
	}
	return services
}

// figures returns a figure of each day.
func (o *overview) figures(of func(admin.DayStats) uint64) (list []uint64) {
	for _, d := range o.Days {
		list = append(list, of(d))
	}
	return list
}

func (o *overview) draw(c *Call) {
	var days []string
	for _, day := range o.Names {
		days = append(days, strconv.Itoa(day.Day()))
	}
	write := func(n uint64) string { return c.T("admin_overview.number", n) }
	title := func(key string) func(int, uint64) string {
		return func(day int, n uint64) string { return c.T(key, o.Day(o.Names[day]), n) }
	}
	one := func(class, key string, of func(admin.DayStats) uint64) series {
		return series{class, o.figures(of), title(key)}
	}
	o.Approved = draw(c.T("admin_overview.approvals.approved_label", o.Sum.Approved), 132, days, write,
		one("fill-brand", "admin_overview.approvals.approved_on", func(d admin.DayStats) uint64 { return d.Approved }))
	o.Denied = draw(c.T("admin_overview.approvals.denied_label", o.Sum.Denied), 84, days, write,
		one("fill-bad", "admin_overview.approvals.denied_on", func(d admin.DayStats) uint64 { return d.Denied }))
	o.Returns = draw(c.T("admin_overview.returns.label", o.Sum.Restored, o.Sum.Resets), 132, days, write,
		one("fill-brand", "admin_overview.returns.restored_on", func(d admin.DayStats) uint64 { return d.Restored }),
		one("fill-warn", "admin_overview.returns.reset_on", func(d admin.DayStats) uint64 { return d.Resets }))
}

// allRisks are the risks, the graver first.
var allRisks = []ways.Risk{ways.NoCode, ways.UnconfirmedCode, ways.OneDevice, ways.NoBackup, ways.StaleBackup}

func (p *pages) recoverable(c *Call) (r recoverable, err error) {
	r.Totals, err = p.Admins.Recoverability(c.UserContext())
	if errors.Is(err, admin.ErrCounting) {
		return recoverable{Counting: true}, nil
	}
	r.Percent = hundredth(r.Recoverable, r.Users)
	r.Out = r.Users - r.Recoverable
	r.Crowd = crowd(r.Recoverable, r.Users)
	most := int64(0)
	for _, n := range r.Risks {
		most = max(most, n)
	}
	for _, risk := range allRisks {
		r.Causes = append(r.Causes, cause{risk, r.Risks[risk], widthOf(r.Risks[risk], most)})
	}
	slices.SortStableFunc(r.Causes, func(a, b cause) int { return cmp.Compare(b.Count, a.Count) })
	return r, err
}

// Denials stand out on a day that has so many, and so many times as many as usual.
const (
	manyDenials = 10
	timesUsual  = 3
)

// todo returns what needs doing, what is most urgent first.
func (p *pages) todo(c *Call, o overview) (list []todo, err error) {
	for _, h := range o.System.Checks {
		if !h.OK() {
			list = append(list, todo{"alert", c.T("admin_overview.todo.check", h.Name), h.Says, ""})
		}
	}
	if o.System.Soon {
		list = append(list, todo{"alert", c.T("admin_overview.todo.certificate", o.Day(o.System.Ends)), c.T("admin_overview.todo.certificate_why"), ""})
	}
	usual := slices.Sorted(slices.Values(o.figures(func(d admin.DayStats) uint64 { return d.Denied })))[overviewDays/2]
	for i, d := range slices.Backward(o.Days) {
		if d.Denied >= manyDenials && d.Denied >= timesUsual*usual {
			list = append(list, todo{"stop", c.T("admin_overview.todo.denials", d.Denied, o.Day(o.Names[i])), c.T("admin_overview.todo.denials_why"), "admin/events"})
			break
		}
	}
	for _, s := range o.Push {
		if s.Sent+s.Failed > 0 && s.Percent < 90 {
			list = append(list, todo{"bell", c.T("admin_overview.todo.push", o.NameOf(s.Provider), s.Failed+s.Lost), c.T("admin_overview.todo.push_why"), "admin/push"})
		}
	}
	if len(o.Back.Causes) > 0 && o.Back.Causes[0].Count > 0 {
		most := o.Back.Causes[0]
		list = append(list, todo{
			Icon: "key",
			Text: c.T("admin_overview.todo."+string(most.Risk), most.Count),
			More: c.T("admin_overview.todo.risk_why"),
			Path: "admin/users?risk=" + string(most.Risk),
		})
	}
	team, err := p.SignIn.Team(c.UserContext())
	for _, m := range team {
		if m.LastOwner && c.Session.User.Role == user.Owner {
			list = append(list, todo{"lock", c.T("admin_overview.todo.owner"), c.T("admin_overview.todo.owner_why"), teamPath})
		}
	}
	if err == nil {
		list, err = p.addWeakened(c, list)
	}
	for i := range list {
		list[i].Path = p.mounted(list[i].Path)
	}
	return list, err
}

// addWeakened adds the policies that were made weaker than an installation begins with: so all admins learn of it.
func (p *pages) addWeakened(c *Call, list []todo) ([]todo, error) {
	policies, err := p.Access.Policies(c.UserContext())
	texts := policyTexts{Shell: c.Shell(overviewPath)}
	for _, info := range policies {
		if one := c.shownPolicy(info); one.IsWeaker() {
			text := c.T("admin_overview.todo.weaker", texts.Named(one))
			list = append(list, todo{"alert", text, c.T("admin_overview.todo.weaker_why"), settingsPath + "/" + one.Name})
		}
	}
	return list, err
}

// mounted returns a path if its section is there, and else "".
func (p *pages) mounted(path string) string {
	for _, l := range p.menu {
		if path == l.Path || strings.HasPrefix(path, l.Path+"?") || strings.HasPrefix(path, l.Path+"/") {
			return path
		}
	}
	return ""
}

// NameOf is how people call a push provider.
func (o overview) NameOf(provider string) string {
	for _, service := range []push.Service{push.APNs, push.FCM, push.WebPush} {
		if push.ProviderOf(string(service)) == provider {
			return o.T("admin_push.name." + string(service))
		}
	}
	return provider
}

// HasUsers reports whether there are pages of users.
func (o overview) HasUsers() bool { return o.Search }
