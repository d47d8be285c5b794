package main

import (
	"context"
	"time"

	"tutela/server/operator"
	"tutela/storage/audit"
)

// eventsExportCmd is "tutela events export".
type eventsExportCmd struct {
	dataFlags
	After  string   `placeholder:"ID" help:"Only what follows the event with this id: the last of an earlier export."`
	From   string   `placeholder:"TIME" help:"Not before: 2026-03-01 (UTC), or a time of RFC 3339."`
	To     string   `placeholder:"TIME" help:"Before this time, likewise."`
	User   string   `placeholder:"USER" help:"Only of this user, by the login system's id."`
	Type   []string `placeholder:"TYPE" help:"Only of this type, such as gd_auth_succeed; repeatable."`
	Client string   `placeholder:"CLIENT-ID" help:"Only what this client has caused."`
}

// Help is the long help of "tutela events export".
func (eventsExportCmd) Help() string {
	return `Prints JSON, one event a line, oldest first, as it reads them: so an export of years takes no more memory than one of a day. It ends
with what has happened when it gets there. The id of the last line goes on with --after, also after an export that broke off: no event is
missed and none comes twice.

  tutela events export > events.jsonl
  tutela events export --after "$(tail -n 1 events.jsonl | jq -r .id)" >> events.jsonl
  tutela events export --type td_reset --from 2026-01-01 --to 2026-04-01`
}

// Run prints the events.
func (c *eventsExportCmd) Run(ctx context.Context) error {
	q := operator.EventQuery{
		After:  c.After,
		UserID: c.User,
		Client: c.Client,
		Take:   eventsAtOnce,
	}
	if q.After == "" {
		q.After = beforeAllEvents
	}
	for _, t := range c.Type {
		q.Types = append(q.Types, audit.Type(t))
	}
	for _, bound := range []struct {
		name, given string
		to          *time.Time
	}{{"--from", c.From, &q.Since}, {"--to", c.To, &q.Before}} {
		at, ok := readInstant(bound.given)
		if !ok {
			return notUnderstood("%s %q is not a time: write 2026-03-01, or 2026-03-01T08:00:00Z", bound.name, bound.given)
		}
		*bound.to = at
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		_, err := (&eventsShowCmd{JSON: true}).show(ctx, s, q)
		return err
	})
}

// readInstant reads a day of UTC, or an instant; the zero time for "".
func readInstant(given string) (at time.Time, ok bool) {
	if given == "" {
		return time.Time{}, true
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(form, given); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}
