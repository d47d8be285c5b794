package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"tutela/recovery/signal"
	"tutela/server/operator"
)

// streamCmd is "tutela stream".
type streamCmd struct {
	List   streamListCmd   `cmd:"" help:"Show the streams of all clients."`
	Show   streamShowCmd   `cmd:"" help:"Show one stream, as JSON."`
	Add    streamAddCmd    `cmd:"" help:"Make a stream for a client."`
	Change streamChangeCmd `cmd:"" help:"Change a stream, or enable one that was disabled."`
	Remove streamRemoveCmd `cmd:"" help:"Remove a stream; what waits for it is not sent."`
	Verify streamVerifyCmd `cmd:"" help:"Have a stream told that it works."`
}

// streamFlags are what is set of a stream.
type streamFlags struct {
	Push        string   `placeholder:"URL" help:"Push to this URL, https://…"`
	Header      *string  `name:"authorization-header" placeholder:"TEXT" help:"What the Authorization header of a push says. It is never shown."`
	Event       []string `sep:"none" placeholder:"TYPE" help:"Type of events that are told, a URI; repeatable. By default all."`
	Description *string  `placeholder:"TEXT" help:"What it is for."`
}

// fields are what the flags set. poll takes the URL of a push away, and its header.
func (f streamFlags) fields(poll bool) (operator.StreamFields, error) {
	set := operator.StreamFields{URL: f.Push, Authorization: f.Header, Description: f.Description}
	switch {
	case poll && f.Push != "":
		return set, notUnderstood("a stream is pushed or polled: give --push or --poll, and not both")
	case f.Push == "" && f.Header != nil:
		return set, notUnderstood("--authorization-header is of a push: give --push too")
	case poll:
		set.Method = signal.Poll
	case f.Push != "":
		set.Method = signal.Push
	}
	if len(f.Event) > 0 {
		set.Requested = &f.Event
	}
	return set, nil
}

type streamListCmd struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON, for scripts."`
}

// Run shows the streams.
func (c *streamListCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		list, err := operator.ListStreams.Do(ctx, s, operator.None{})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(each(list, streamForScripts))
		}
		if len(list) == 0 {
			fmt.Fprintln(os.Stderr, "There is no stream yet: a client makes one, or tutela stream add CLIENT")
			return nil
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		say(table, "STREAM ID\tSTATE\tLAST SUCCESS\tCLIENT\tDELIVERY\tDESCRIPTION\n")
		for _, one := range list {
			say(table, "%s\t%s\t%s\t%s\t%s\t%s\n", one.ID, streamState(one), shortTime(one.LastSuccess), one.Client, streamDelivery(one), orDash(one.Description))
		}
		return table.Flush()
	})
}

// streamState says how a stream stands.
func streamState(s signal.Stream) string {
	switch {
	case s.Status != signal.Enabled && s.Reason != "":
		return string(s.Status) + ": " + plain(s.Reason)
	case s.Status == signal.Enabled && !s.Failing.IsZero():
		return "failing since " + shortTime(s.Failing)
	default:
		return string(s.Status)
	}
}

func streamDelivery(s signal.Stream) string {
	if s.Method == signal.Push {
		return "push " + plain(s.URL)
	}
	return "poll"
}

// streamJSON is a stream for scripts.
type streamJSON struct {
	ID          string        `json:"stream_id"`
	Client      string        `json:"client_id"`
	Status      signal.Status `json:"status"`
	Reason      string        `json:"reason,omitempty"`
	Method      signal.Method `json:"method"`
	URL         string        `json:"endpoint_url,omitempty"`
	Requested   []string      `json:"events_requested,omitempty"`
	Delivered   []string      `json:"events_delivered"`
	Description string        `json:"description,omitempty"`
	Created     instant       `json:"created"`
	LastSuccess instant       `json:"last_success,omitzero"`
	Failing     instant       `json:"failing_since,omitzero"`
}

func streamForScripts(s signal.Stream) streamJSON {
	return streamJSON{
		ID:          s.ID,
		Client:      s.Client,
		Status:      s.Status,
		Reason:      s.Reason,
		Method:      s.Method,
		URL:         s.URL,
		Requested:   s.Requested,
		Delivered:   s.Delivered(),
		Description: s.Description,
		Created:     instant(s.Created),
		LastSuccess: instant(s.LastSuccess),
		Failing:     instant(s.Failing),
	}
}

type streamShowCmd struct {
	dataFlags
	ID string `arg:"" name:"stream-id" help:"As stream list shows it."`
}

// Run shows the stream.
func (c *streamShowCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		found, err := operator.ShowStream.Do(ctx, s, c.ID)
		if err != nil {
			return err
		}
		return printJSON(streamForScripts(found))
	})
}

type streamAddCmd struct {
	dataFlags
	streamFlags
	Client string `arg:"" name:"client-id" help:"The receiver: a client with the scope ssf.manage or ssf.read."`
}

// Help is the long help of "tutela stream add".
func (streamAddCmd) Help() string {
	return `Makes a stream for a client that cannot make one itself, and prints it. Without --push the client polls it.

  tutela stream add aOPa0RVkwcvcYtrEmMPPXSqpbi4MX3km
  tutela stream add aOPa0RVkwcvcYtrEmMPPXSqpbi4MX3km --push https://bank.example/signals --authorization-header "Bearer …"`
}

// Run makes the stream.
func (c *streamAddCmd) Run(ctx context.Context) error {
	fields, err := c.fields(false)
	if err != nil {
		return err
	}
	fields.Client = c.Client
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		added, err := operator.AddStream.Do(ctx, s, fields)
		if err != nil {
			return err
		}
		return printJSON(streamForScripts(added))
	})
}

type streamChangeCmd struct {
	dataFlags
	streamFlags
	ID     string `arg:"" name:"stream-id" help:"As stream list shows it."`
	Poll   bool   `help:"Have it polled: the URL of a push and its header are taken away."`
	Status string `default:"" enum:",enabled,paused,disabled" placeholder:"STATUS" help:"enabled: it is told. paused: what happens is held, for a week. disabled: it is told of nothing."`
	Reason string `placeholder:"TEXT" help:"Why, with --status; the receiver reads it."`
}

// Help is the long help of "tutela stream change".
func (streamChangeCmd) Help() string {
	return `  tutela stream change str_0123456789abcdef --status enabled      it was disabled, and its receiver is well again
  tutela stream change str_0123456789abcdef --push https://bank.example/signals
  tutela stream change str_0123456789abcdef --poll`
}

// Run changes the stream.
func (c *streamChangeCmd) Run(ctx context.Context) error {
	fields, err := c.fields(c.Poll)
	if err != nil {
		return err
	}
	if c.Reason != "" && c.Status == "" {
		return notUnderstood("--reason says why the status is another: give --status too")
	}
	fields.ID = c.ID
	fields.Status = signal.Status(c.Status)
	fields.Reason = strings.TrimSpace(c.Reason)
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		changed, err := operator.ChangeStream.Do(ctx, s, fields)
		if err != nil {
			return err
		}
		return printJSON(streamForScripts(changed))
	})
}

type streamRemoveCmd struct {
	dataFlags
	ID string `arg:"" name:"stream-id" help:"As stream list shows it."`
}

// Run removes the stream.
func (c *streamRemoveCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if _, err := operator.RemoveStream.Do(ctx, s, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Removed stream %s. It is told of nothing any more.\n", plain(c.ID))
		return nil
	})
}

type streamVerifyCmd struct {
	dataFlags
	ID string `arg:"" name:"stream-id" help:"As stream list shows it."`
}

// Run has the stream verified.
func (c *streamVerifyCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if _, err := operator.VerifyStream.Do(ctx, s, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "A verification waits for the receiver of %s; while a server runs, it is pushed at once.\n", plain(c.ID))
		return nil
	})
}
