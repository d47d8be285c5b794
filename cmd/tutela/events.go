package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"tutela/server/operator"
	"tutela/storage/audit"
)

// eventsCmd is "tutela events".
type eventsCmd struct {
	Show   eventsShowCmd   `cmd:"" default:"withargs" help:"Show what happened; show may be left out."`
	Export eventsExportCmd `cmd:"" help:"Print all events as JSON, one a line."`
}

// eventsShowCmd is "tutela events show".
type eventsShowCmd struct {
	dataFlags
	Follow bool     `short:"f" help:"Go on with what happens."`
	User   string   `placeholder:"USER" help:"Only of this user, by the login system's id."`
	Type   []string `placeholder:"TYPE" help:"Only of this type, such as gd_auth_succeed; repeatable."`
	Last   int      `default:"50" placeholder:"N" help:"How many of those that have happened."`
	JSON   bool     `name:"json" help:"Print JSON, one event a line, for scripts."`
}

// Help is the long help of "tutela events show".
func (eventsShowCmd) Help() string {
	return `Oldest first. An event holds ids alone; names, addresses and reasons are joined to it while the user's rows hold them.

  tutela events --follow
  tutela events --user maria --last 1000
  tutela events --type td_reset --type gd_user_delete
  tutela events --json --follow | jq -c 'select(.type == "gd_auth_rejected")'

The types, which docs/operating.md explains:

` + typesInLines()
}

// typesInLines lists the types of events, four a line.
func typesInLines() string {
	var lines strings.Builder
	for line := range slices.Chunk(audit.Types(), 4) {
		lines.WriteString(" ")
		for _, t := range line {
			fmt.Fprintf(&lines, " %-26s", t)
		}
		lines.WriteString("\n")
	}
	return lines.String()
}

const (
	followInterval = 500 * time.Millisecond
	eventsAtOnce   = 500

	beforeAllEvents = "0" // is less than every id
)

// Run shows the events.
func (c *eventsShowCmd) Run(ctx context.Context) error {
	if c.Last < 1 {
		return notUnderstood("--last %d: it is a number of events, from 1", c.Last)
	}
	q := operator.EventQuery{UserID: c.User, Take: c.Last}
	for _, t := range c.Type {
		q.Types = append(q.Types, audit.Type(t))
	}
	var last string
	err := c.operate(ctx, installation{}, func(s operator.Service) (err error) {
		last, err = c.show(ctx, s, q)
		return err
	})
	if err != nil || !c.Follow {
		return err
	}
	return c.follow(ctx, q, last)
}

// show prints the events that match q, and returns the id of the last one. With q.After it goes on until no more
// come.
func (c *eventsShowCmd) show(ctx context.Context, s operator.Service, q operator.EventQuery) (last string, err error) {
	last = q.After
	for {
		events, err := operator.ListEvents.Do(ctx, s, q)
		if err != nil {
			return last, err
		}
		for _, e := range events {
			if err := c.print(e); err != nil {
				return last, err
			}
			last = e.ID
		}
		if q.After == "" || len(events) < q.Take {
			return last, nil
		}
		q.After = last
	}
}

// follow prints the events after last until it is interrupted. While no server runs, it waits for one.
func (c *eventsShowCmd) follow(ctx context.Context, q operator.EventQuery, last string) error {
	q.After = cmp.Or(last, beforeAllEvents)
	q.Take = eventsAtOnce
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followInterval):
		}
		client, err := operator.Dial(ctx, c.socket())
		if err == nil {
			q.After, err = c.show(ctx, client, q)
			client.Close()
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, operator.ErrNobodyServes) {
			return err
		}
	}
}

func (c *eventsShowCmd) print(e operator.Event) error {
	if c.JSON {
		return printLine(eventForScripts(e))
	}
	who := e.UserID
	if who == "" && !e.UID.IsZero() {
		who = e.UID.String()
	}
	_, err := fmt.Printf("%s  %-30s %-16s %s\n", e.Time.Local().Format("2006-01-02 15:04:05"), e.Type, orDash(who), strings.Join(factsOf(e), " "))
	return err
}

// factsOf lists what is known about an event, each as name=value.
func factsOf(e operator.Event) []string {
	var facts []string
	for _, name := range slices.Sorted(maps.Keys(e.Facts)) {
		facts = append(facts, string(name)+"="+plain(string(e.Facts[name])))
	}
	if e.Client != "" {
		facts = append(facts, "client="+plain(e.Client))
	}
	if e.By != "" {
		facts = append(facts, "by="+plain(e.By))
	}
	for _, known := range [][2]string{
		{"ip", e.Detail.IP},
		{"device", e.Detail.Device},
		{"enrollment", e.Detail.Enrollment},
		{"successor", e.Detail.Successor},
		{"backup", e.Detail.Backup},
		{"reason", e.Detail.Text},
		{"shown", e.Detail.Shown},
		{"sudo", e.Detail.Sudo},
		{"damage", e.Damage},
	} {
		if known[1] != "" {
			facts = append(facts, known[0]+"="+plain(known[1]))
		}
	}
	if e.Folded.Count > 0 {
		facts = append(facts, "count="+strconv.Itoa(e.Folded.Count),
			"first="+e.Folded.First.Local().Format(time.TimeOnly), "last="+e.Folded.Last.Local().Format(time.TimeOnly))
	}
	return facts
}

// printLine prints a value as one line of JSON.
func printLine(value any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
