package managementapi

import (
	"context"
	"net/http"
	"time"

	"tutela/recovery/admin"
	"tutela/recovery/ways"
	"tutela/storage"
	"tutela/storage/audit"
)

// recoverability is how many users would get back in without an admin.
type recoverability struct {
	Users       int64      `json:"users" doc:"Who are not new."`
	Recoverable int64      `json:"recoverable" doc:"Who would get back in without an admin, if they lost the phone that they used last."`
	Ways        waysCount  `json:"ways" doc:"By what; a user can have several."`
	AtRisk      risksCount `json:"at_risk" doc:"What makes it thin; a user can have several."`
}

type waysCount struct {
	Code    int64 `json:"code" doc:"A recovery code that they have shown to have saved."`
	Device  int64 `json:"device" doc:"Another phone."`
	Passkey int64 `json:"passkey" doc:"A security key, or a passkey that is copied to other devices."`
}

type risksCount struct {
	NoRecoveryCode  int64 `json:"no_recovery_code"`
	UnconfirmedCode int64 `json:"unconfirmed_code"`
	NoBackup        int64 `json:"no_backup"`
	StaleBackup     int64 `json:"stale_backup" doc:"The newest is older than 90 days."`
	OneDevice       int64 `json:"one_device"`
}

type recoverabilityOutput struct{ Body recoverability }

// atRisk is a user whose way back is thin.
type atRisk struct {
	ID    string      `json:"user_id"`
	Name  string      `json:"name,omitempty"`
	Email string      `json:"email,omitempty"`
	Ways  []ways.Way  `json:"ways" doc:"By which she would get back in."`
	Risks []ways.Risk `json:"risks"`
}

type risksInput struct {
	Risk string `query:"risk" required:"true" enum:"no_recovery_code,unconfirmed_code,no_backup,stale_backup,one_device"`
	Paging
	Checkpoint
}

type risksOutput struct{ Body list[atRisk] }

func (a *api) mountRecoverability() {
	register(a, call{
		Word:        audit.CallGetRecoverability,
		Method:      http.MethodGet,
		Path:        "/recoverability",
		Summary:     "Get Recoverability",
		Description: "How many users would get back in without an admin if they lost the phone that they used last. The numbers are kept, and not counted by the call.",
		Scopes:      []string{"read:recoverability"},
	}, a.getRecoverability)
	register(a, call{
		Word:        audit.CallListUsersAtRisk,
		Method:      http.MethodGet,
		Path:        "/recoverability/users",
		Summary:     "List the Users of a Risk",
		Description: "In an order that stays.",
		Scopes:      []string{"read:recoverability"},
	}, a.listAtRisk)
	register(a, call{
		Word:        audit.CallGetStats,
		Method:      http.MethodGet,
		Path:        "/stats",
		Summary:     "Get Numbers by Day",
		Description: "A day of UTC each, both ends included; without from and to the last 30 days. 400 days are kept. What was counted in the last minute may be missing.",
		Scopes:      []string{"read:stats"},
	}, a.getStats)
}

func (a *api) getRecoverability(ctx context.Context, _ audit.Actor, _ *struct{}) (*recoverabilityOutput, error) {
	t, err := a.Admins.Recoverability(ctx)
	if err != nil {
		return nil, err
	}
	return &recoverabilityOutput{recoverability{
		Users:       t.Users,
		Recoverable: t.Recoverable,
		Ways: waysCount{
			Code:    t.Ways[ways.ByCode],
			Device:  t.Ways[ways.ByDevice],
			Passkey: t.Ways[ways.ByPasskey],
		},
		AtRisk: risksCount{
			NoRecoveryCode:  t.Risks[ways.NoCode],
			UnconfirmedCode: t.Risks[ways.UnconfirmedCode],
			NoBackup:        t.Risks[ways.NoBackup],
			StaleBackup:     t.Risks[ways.StaleBackup],
			OneDevice:       t.Risks[ways.OneDevice],
		},
	}}, nil
}

func (a *api) listAtRisk(ctx context.Context, _ audit.Actor, in *risksInput) (*risksOutput, error) {
	risk, err := ways.ParseRisk(in.Risk)
	if err != nil {
		return nil, err
	}
	if in.wins() {
		return a.continueAtRisk(ctx, risk, in.Checkpoint)
	}
	skip, err := in.skip()
	if err != nil {
		return nil, err
	}
	found, err := a.Admins.UsersAtRisk(ctx, risk, storage.UID{}, skip+in.PerPage)
	if err != nil {
		return nil, err
	}
	out := list[atRisk]{name: "users", items: atRiskOf(found[min(skip, len(found)):])}
	if !in.IncludeTotals {
		return &risksOutput{out}, nil
	}
	all, err := a.Admins.Recoverability(ctx)
	out.shape = totals{
		Start:  skip,
		Limit:  in.PerPage,
		Length: len(out.items),
		Total:  int(all.Risks[risk]),
	}
	return &risksOutput{out}, err
}

// continueAtRisk answers from where the last answer ended.
func (a *api) continueAtRisk(ctx context.Context, risk ways.Risk, from Checkpoint) (*risksOutput, error) {
	var after storage.UID
	if from.From != "" {
		id, err := readCursor(from.From)
		if err != nil {
			return nil, err
		}
		if err := after.UnmarshalText([]byte(id)); err != nil {
			return nil, errQuery.With("from is not the next of an answer")
		}
	}
	found, err := a.Admins.UsersAtRisk(ctx, risk, after, from.take()+1)
	if err != nil {
		return nil, err
	}
	var next continued
	if len(found) > from.take() {
		found = found[:from.take()]
		next.Next = cursor(found[len(found)-1].UID.String())
	}
	return &risksOutput{list[atRisk]{name: "users", items: atRiskOf(found), shape: next}}, nil
}

func atRiskOf(found []admin.AtRisk) []atRisk {
	items := make([]atRisk, 0, len(found))
	for _, u := range found {
		items = append(items, atRisk{
			ID:    u.ID,
			Name:  u.Name,
			Email: u.Email,
			Ways:  append([]ways.Way{}, u.Ways...),
			Risks: append([]ways.Risk{}, u.Risks...),
		})
	}
	return items
}

// dayStats is what happened on a day of UTC, in numbers.
type dayStats struct {
	Date     string                `json:"date" format:"date"`
	Logins   uint64                `json:"logins"`
	Approved uint64                `json:"approved" doc:"By whatever satisfied them."`
	Denied   uint64                `json:"denied" doc:"On a phone; those with a wrong number among them."`
	Expired  uint64                `json:"expired"`
	Silent   uint64                `json:"silent" doc:"Logins that rang no phone."`
	Codes    uint64                `json:"codes" doc:"Recovery codes that were spent."`
	Enrolled uint64                `json:"enrolled"`
	Left     uint64                `json:"left" doc:"Enrollments that ended, but by a reset."`
	Restores uint64                `json:"restores"`
	Restored uint64                `json:"restored"`
	Resets   uint64                `json:"resets"`
	Push     map[string]pushedStat `json:"push" doc:"By push service."`
}

type pushedStat struct {
	Sent   uint64 `json:"sent"`
	Failed uint64 `json:"failed"`
	Lost   uint64 `json:"lost" doc:"The service says that nobody uses the address any more."`
}

// statsInput says which days; each is 2026-03-01, or a time in it.
type statsInput struct {
	From string `query:"from" doc:"The first day: 2026-03-01, or a time of RFC 3339."`
	To   string `query:"to" doc:"The last day, which is included."`
}

type statsOutput struct{ Body []dayStats }

// The days of an answer, when the caller does not say which, and at most.
const (
	fallbackDays = 30
	mostDays     = 400
)

func (a *api) getStats(ctx context.Context, _ audit.Actor, in *statsInput) (*statsOutput, error) {
	today := a.Store.Now().UTC().Truncate(24 * time.Hour)
	to, err := readDay("to", in.To, today)
	if err != nil {
		return nil, err
	}
	from, err := readDay("from", in.From, to.AddDate(0, 0, 1-fallbackDays))
	if err != nil {
		return nil, err
	}
	// Of what can have been counted; a day on which nothing was is one of zeros.
	if to.After(today) {
		to = today
	}
	if earliest := today.AddDate(0, 0, 1-mostDays); from.Before(earliest) {
		from = earliest
	}
	counted, err := a.Admins.Stats(ctx, from, to)
	if err != nil {
		return nil, err
	}
	by := make(map[string]admin.DayStats, len(counted))
	for _, d := range counted {
		by[d.Date] = d
	}
	out := &statsOutput{Body: []dayStats{}}
	for day := from; !day.After(to); day = day.AddDate(0, 0, 1) {
		date := day.Format(time.DateOnly)
		out.Body = append(out.Body, dayOf(date, by[date]))
	}
	return out, nil
}

// readDay reads a day, or a time in it.
//
// Errors: errQuery.
func readDay(name, given string, fallback time.Time) (time.Time, error) {
	if given == "" {
		return fallback, nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if day, err := time.Parse(form, given); err == nil {
			return day.UTC().Truncate(24 * time.Hour), nil
		}
	}
	return time.Time{}, errQuery.With("%s is not a day: write 2026-03-01", name)
}

func dayOf(date string, d admin.DayStats) dayStats {
	day := dayStats{
		Date:     date,
		Logins:   d.Logins,
		Approved: d.Approved,
		Denied:   d.Denied,
		Expired:  d.Expired,
		Silent:   d.Silent,
		Codes:    d.Codes,
		Enrolled: d.Enrolled,
		Left:     d.Left,
		Restores: d.Restores,
		Restored: d.Restored,
		Resets:   d.Resets,
		Push:     map[string]pushedStat{},
	}
	for service, p := range d.Push {
		day.Push[service] = pushedStat{Sent: p.Sent, Failed: p.Failed, Lost: p.Lost}
	}
	return day
}
