package managementapi

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// logEvent is an event as this API shows it. A member that is unknown is null.
type logEvent struct {
	LogID      string         `json:"log_id"`
	ID         string         `json:"_id"`
	Date       instant        `json:"date"`
	Type       string         `json:"type"`
	UserID     *string        `json:"user_id"`
	UserName   *string        `json:"user_name"`
	ClientID   *string        `json:"client_id"`
	ClientName *string        `json:"client_name"`
	Connection *string        `json:"connection"`
	Hostname   *string        `json:"hostname"`
	Audience   *string        `json:"audience"`
	Scope      *string        `json:"scope"`
	IP         *string        `json:"ip"`
	UserAgent  *string        `json:"user_agent"`
	IsMobile   *bool          `json:"isMobile"`
	Location   map[string]any `json:"location_info" nullable:"true"`
	About      *string        `json:"description"`
	Details    map[string]any `json:"details" nullable:"true"`
}

// LogsQuery asks for events. With from or take they begin after an event, oldest first.
type LogsQuery struct {
	Paging
	Selection
	From   string `query:"from" doc:"log_id after which to begin, oldest first."`
	Take   int    `query:"take" minimum:"1" maximum:"100"`
	Q      string `query:"q" doc:"Conditions on type, user_id, client_id and date, joined by AND."`
	Search string `query:"search" doc:"The same as q."`
	Sort   string `query:"sort" doc:"date:1 or date:-1"`
}

type logsOutput struct{ Body list[picked[logEvent]] }

func (a *api) mountLogs() {
	scopes := []string{"read:logs", "read:logs_users"}
	register(a, call{
		Word:        audit.CallListLogs,
		Method:      http.MethodGet,
		Path:        "/logs",
		Summary:     "Search Log Events",
		Scopes:      scopes,
		Description: "By page the newest first, within the newest 10000 events; with from and take the oldest first, for ever.",
	}, func(ctx context.Context, _ audit.Actor, in *LogsQuery) (*logsOutput, error) {
		return a.listLogs(ctx, storage.House, in)
	})
	register(a, call{
		Word:    audit.CallGetLog,
		Method:  http.MethodGet,
		Path:    "/logs/{id}",
		Summary: "Get a Log Event",
		Scopes:  scopes,
	}, a.readLog)
	register(a, call{
		Word:    audit.CallListUserLogs,
		Method:  http.MethodGet,
		Path:    "/users/{id}/logs",
		Summary: "Get a User's Log Events",
		Scopes:  scopes,
	}, func(ctx context.Context, _ audit.Actor, in *struct {
		UserPath
		LogsQuery
	},
	) (*logsOutput, error) {
		p, err := a.Admins.ReadUser(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return a.listLogs(ctx, p.UID, &in.LogsQuery)
	})
}

func (a *api) readLog(ctx context.Context, _ audit.Actor, in *struct {
	ID string `path:"id" doc:"Digits that sort as time."`
},
) (*struct{ Body logEvent }, error) {
	entry, err := audit.Get(ctx, a.Store, in.ID)
	if err != nil {
		return nil, err
	}
	shown, err := a.show(ctx, []audit.Entry{entry})
	if err != nil {
		return nil, err
	}
	return &struct{ Body logEvent }{shown[0]}, nil
}

// listLogs lists events: of uid alone, unless that is the house.
func (a *api) listLogs(ctx context.Context, uid storage.UID, in *LogsQuery) (*logsOutput, error) {
	q, nobody, err := a.logQuery(ctx, uid, in)
	if err != nil {
		return nil, err
	}
	var entries []audit.Entry
	total := 0
	if !nobody {
		counted := in.IncludeTotals && q.Within > 0
		if entries, total, err = audit.List(ctx, a.Store, q, counted); err != nil {
			return nil, err
		}
	}
	shown, err := a.show(ctx, entries)
	if err != nil {
		return nil, err
	}
	out := &logsOutput{list[picked[logEvent]]{name: "logs"}}
	for _, e := range shown {
		out.Body.items = append(out.Body.items, picked[logEvent]{e, in.Selection})
	}
	if in.IncludeTotals && in.From == "" && in.Take == 0 {
		out.Body.shape = totals{
			Start:  q.Skip,
			Limit:  in.PerPage,
			Length: len(shown),
			Total:  total,
		}
	}
	return out, nil
}

// logQuery translates the call's parameters into a query of the log. nobody reports that no event can match.
func (a *api) logQuery(ctx context.Context, uid storage.UID, in *LogsQuery) (q audit.Query, nobody bool, err error) {
	q = audit.Query{UID: uid}
	if in.From != "" || in.Take > 0 {
		if strings.Trim(in.From, "0123456789") != "" {
			return q, false, errQuery.With("from is a log_id")
		}
		q.Oldest = true
		q.After = in.From
		q.Take = Checkpoint{Take: in.Take}.take()
	} else {
		if q.Skip, err = in.skip(); err != nil {
			return q, false, err
		}
		q.Take = in.PerPage
		q.Within = maxListed
		if in.Sort != "" {
			field, down, err := direction(in.Sort)
			if err != nil || field != "date" {
				return q, false, errQuery.With("events are sorted by date:1 or date:-1")
			}
			q.Oldest = !down
		}
	}
	// The conditions of both parameters hold together.
	for _, text := range []string{in.Q, in.Search} {
		missing, err := a.narrow(ctx, &q, text)
		if err != nil {
			return q, false, err
		}
		nobody = nobody || missing
	}
	return q, nobody, nil
}

// narrow adds the conditions of a text to a query. nobody reports that they cannot all hold.
func (a *api) narrow(ctx context.Context, q *audit.Query, text string) (nobody bool, err error) {
	clauses, err := parseQuery(text)
	if err != nil {
		return false, err
	}
	for _, c := range clauses {
		if c.prefix || c.isRange != (c.field == "date") {
			return false, errQuery.With("%q is not understood: events have type, user_id, client_id, and date:[… TO …]", c.field)
		}
		switch c.field {
		case "type":
			nobody = nobody || len(q.Types) > 0 && !slices.Contains(q.Types, audit.Type(c.value))
			q.Types = []audit.Type{audit.Type(c.value)}
		case "client_id":
			nobody = nobody || q.Client != "" && q.Client != c.value
			q.Client = c.value
		case "user_id":
			found, err := a.Admins.SearchUsers(ctx, []user.Term{{Field: user.ID, Value: c.value}}, 1)
			if err != nil {
				return false, err
			}
			if len(found) == 0 || !q.UID.IsZero() && q.UID != found[0].UID {
				nobody = true
				continue
			}
			q.UID = found[0].UID
			q.Not = []audit.Type{audit.ManagementCall, audit.ManagementFailed} // they are shown without a user
		case "date":
			if err := between(q, c); err != nil {
				return false, err
			}
		default:
			return false, errQuery.With("events are not searched by %q", c.field)
		}
	}
	return nobody, nil
}

// between narrows a query to a range of dates, both ends included.
func between(q *audit.Query, c clause) error {
	if c.low != "*" {
		at, _, err := parseDate(c.low)
		if err != nil {
			return err
		}
		if at.After(q.Since) {
			q.Since = at
		}
	}
	if c.high != "*" {
		at, width, err := parseDate(c.high)
		if err != nil {
			return err
		}
		if at = at.Add(width - 1); q.Until.IsZero() || at.Before(q.Until) {
			q.Until = at
		}
	}
	return nil
}

// parseDate reads a time or a day, and returns its first instant and its length.
func parseDate(s string) (at time.Time, width time.Duration, err error) {
	s = strings.Trim(s, `"`)
	for _, form := range []struct {
		layout string
		width  time.Duration
	}{{time.RFC3339Nano, time.Millisecond}, {"2006-01-02T15:04:05", time.Second}, {time.DateOnly, 24 * time.Hour}} {
		if at, err := time.Parse(form.layout, s); err == nil {
			return at, form.width, nil
		}
	}
	return at, 0, errQuery.With("%q is not a date: write 2006-01-02 or 2006-01-02T15:04:05Z", s)
}

// show adds to events what is known of their users and clients.
func (a *api) show(ctx context.Context, entries []audit.Entry) ([]logEvent, error) {
	var uids []storage.UID
	for _, e := range entries {
		if !e.UID.IsZero() && !slices.Contains(uids, e.UID) {
			uids = append(uids, e.UID)
		}
	}
	users, err := a.Admins.UsersOf(ctx, uids)
	if err != nil {
		return nil, err
	}
	clients, err := a.Access.ListClients(ctx)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(clients))
	for _, c := range clients {
		names[c.ID] = c.Name
	}
	shown := make([]logEvent, 0, len(entries))
	for _, e := range entries {
		u := users[e.UID]
		shown = append(shown, a.event(e, u, names[e.Client]))
	}
	return shown, nil
}

// known returns s, or null when it is empty.
func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// event shows one event. u is the zero user when nobody is known.
func (a *api) event(e audit.Entry, u user.User, client string) logEvent {
	out := logEvent{
		LogID:      e.ID,
		ID:         e.ID,
		Date:       instant{e.Time},
		Type:       string(e.Type),
		UserID:     known(u.ID),
		UserName:   known(u.Name),
		ClientID:   known(e.Client),
		ClientName: known(client),
		Connection: known(u.Connection),
		Scope:      known(string(e.Facts[audit.FactScope])),
		IP:         known(e.Detail.IP),
		UserAgent:  known(e.Detail.UserAgent),
		About:      known(descriptions[e.Type]),
		Details:    map[string]any{},
	}
	for name, fact := range e.Facts {
		out.Details[string(name)] = string(fact)
	}
	for name, text := range map[string]string{
		"by": e.By, "sudo": e.Detail.Sudo, "device": e.Detail.Device, "reason": e.Detail.Text,
		"enrollment": e.Detail.Enrollment, "successor": e.Detail.Successor, "backup": e.Detail.Backup,
		"shown": e.Detail.Shown,
	} {
		if text != "" {
			out.Details[name] = text
		}
	}
	if e.Type == audit.ManagementCall || e.Type == audit.ManagementFailed {
		a.showCall(&out, e, u)
	}
	showStored(&out, e)
	if len(out.Details) == 0 {
		out.Details = nil
	}
	return out
}

// showCall shows the event of a management call: the call, and not the user.
func (a *api) showCall(out *logEvent, e audit.Entry, u user.User) {
	out.UserID = nil
	out.UserName = nil
	out.Connection = nil
	word := e.Facts[audit.FactCall]
	c, ok := a.calls[word]
	if !ok || e.Client == "" {
		if word != "" {
			out.About = known(strings.ReplaceAll(string(word), "_", " "))
		}
		return
	}
	status := c.Status
	if failed, err := strconv.Atoi(string(e.Facts[audit.FactStatus])); err == nil {
		status = failed
	}
	path := base + c.Path
	if u.ID != "" && strings.Contains(path, "/user") {
		path = strings.Replace(path, "{id}", url.PathEscape(u.ID), 1)
	}
	request := map[string]any{"method": c.Method, "path": path}
	for name, text := range map[string]string{"ip": e.Detail.IP, "userAgent": e.Detail.UserAgent} {
		if text != "" {
			request[name] = text
		}
	}
	out.About = known(c.Summary)
	out.Details = map[string]any{"request": request, "response": map[string]any{"statusCode": status}}
}

// showStored adds how often a folded event has happened, and what is wrong with a damaged one.
func showStored(out *logEvent, e audit.Entry) {
	if e.Folded.Count > 0 {
		out.Details["count"] = e.Folded.Count
		out.Details["first"] = instant{e.Folded.First}
		out.Details["last"] = instant{e.Folded.Last}
	}
	if e.Damage != "" {
		out.Details["damage"] = e.Damage
	}
}

// descriptions say in a few words what an event of a type is.
var descriptions = map[audit.Type]string{
	audit.StartEnroll:       "An enrolment ticket was made",
	audit.EnrollComplete:    "An authenticator was enrolled",
	audit.UpdateDevice:      "An enrollment was changed",
	audit.Unenroll:          "An enrollment was removed",
	audit.StartAuth:         "A login was asked for",
	audit.SendPush:          "A push message was sent",
	audit.SendPushFailure:   "A push message could not be sent",
	audit.AuthSucceed:       "A login was satisfied",
	audit.AuthFailed:        "A login failed",
	audit.AuthRejected:      "A login was denied on the phone",
	audit.ManagementCall:    "A management call was made",
	audit.ManagementFailed:  "A management call was refused",
	audit.RestoreAllowed:    "A restore was allowed on the old phone",
	audit.RestoreGivenUp:    "A person chose first-time setup in the place of a restore",
	audit.RestoreRepeated:   "A lost answer of a restore was made anew",
	audit.RestoreDisputed:   "A phone that was taken over says that it was not its person",
	audit.PushLost:          "A push service knows the address of a phone no more",
	audit.PushSetup:         "A push service refuses the installation's set-up",
	audit.PushWave:          "So many addresses were lost at once that none is given up",
	audit.CodeLost:          "A person says that the recovery code is lost",
	audit.CallerChecked:     "A user's phone was asked who rings, or has answered",
	audit.WebhookParked:     "A webhook is told of nothing any more",
	audit.AdminLogin:        "An admin signed in to the dashboard, proved it again, or a session ended",
	audit.PasskeyChanged:    "A passkey was added, removed, or is not what it was",
	audit.OwnPageOpened:     "A person has opened her own page",
	audit.NotMe:             "A person says that something was not she",
	audit.CodeReplaced:      "A person has replaced her recovery code",
	audit.RecoverySucceed:   "A recovery code was used",
	audit.RecoveryFailed:    "A wrong recovery code was tried",
	audit.OTPRateLimit:      "One-time codes were tried too often",
	audit.RecoveryRateLimit: "Recovery codes were tried too often",
	audit.UserDelete:        "A user was deleted",
	audit.TenantUpdate:      "The installation was changed",
	audit.TokenGiven:        "A management token was given",
	audit.TokenRefused:      "A management token was refused",
	audit.BackupPut:         "A backup was stored",
	audit.BackupDeleted:     "A backup was deleted",
	audit.BackupHandle:      "A backup has another restore handle",
	audit.BackupUndeleted:   "A deleted backup was brought back",
	audit.RestoreStarted:    "A restore was started",
	audit.RestoreDone:       "A restore was done",
	audit.RestoreVetoed:     "A restore was vetoed by the old phone",
	audit.Reset:             "A user's MFA was reset",
	audit.PushMuted:         "A login was asked for without a push message",
	audit.TapApproval:       "A login was approved without its number",
	audit.ConcurrentLogin:   "A login was asked for while another was pending",
	audit.DeviceMoved:       "A backup was moved to another enrollment",
	audit.ClientAdded:       "A client was added",
	audit.KeyRotated:        "A key was rotated",
	audit.StreamDisabled:    "A stream of signals is told of nothing any more",
	audit.Damaged:           "An event that cannot be read: the data is damaged",
}
