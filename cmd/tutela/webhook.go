package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"tutela/recovery/webhook"
	"tutela/server/operator"
	"tutela/storage/audit"
)

// webhookFlags say which addresses webhooks may have.
type webhookFlags struct {
	WebhookAllow []proxyRange `name:"webhook-allow" env:"TUTELA_WEBHOOK_ALLOW" placeholder:"CIDR" help:"Address or address range that webhooks and event streams may call though it is not of the internet, also over http; repeatable."`
}

// webhookRanges are the addresses that webhooks may have. With --dev they may be on this machine.
func (c *serveCmd) webhookRanges() []netip.Prefix {
	allow := prefixes(c.WebhookAllow)
	if c.Dev {
		allow = append(allow, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	}
	return allow
}

// webhookCmd is "tutela webhook".
type webhookCmd struct {
	Add        webhookAddCmd        `cmd:"" help:"Register a webhook; its secret is shown once."`
	List       webhookListCmd       `cmd:"" help:"Show the webhooks."`
	Set        webhookSetCmd        `cmd:"" help:"Change a webhook, or have one that was parked told again."`
	Test       webhookTestCmd       `cmd:"" help:"Send a message to a webhook now, and show the status of its answer."`
	Rotate     webhookRotateCmd     `cmd:"" help:"Give a webhook another secret, shown once."`
	Remove     webhookRemoveCmd     `cmd:"" help:"Remove a webhook; what waits for it is not sent."`
	Deliveries webhookDeliveriesCmd `cmd:"" help:"Show what a webhook was told lately, and send something again."`
}

type webhookAddCmd struct {
	dataFlags
	URL   string   `arg:"" help:"Where messages are posted, https://…"`
	Event []string `sep:"none" placeholder:"TYPE" help:"Type of events that it is told of; repeatable. By default all."`
	Mails bool     `help:"It sends mail: it is given the links of tickets with send_mail, and the addresses to send them to."`
}

// Help is the long help of "tutela webhook add".
func (webhookAddCmd) Help() string {
	return `Prints {"id","secret"}. The secret (whsec_…) verifies what is posted, as Standard Webhooks says; it cannot be shown again.

  tutela webhook add https://example.com/hooks                                everything
  tutela webhook add https://example.com/hooks --event td_reset --event gd_unenroll
  tutela webhook add https://mail.example.com/tutela --mails                  a program that sends mail`
}

// Run registers the webhook.
func (c *webhookAddCmd) Run(ctx context.Context) error {
	events := typesOf(c.Event)
	if len(events) == 0 && !c.Mails {
		events = []audit.Type{audit.EveryType}
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		added, err := operator.AddWebhook.Do(ctx, s, operator.WebhookFields{
			URL:    &c.URL,
			Events: &events,
			Mails:  &c.Mails,
		})
		if err != nil {
			return err
		}
		return printLine(added)
	})
}

func typesOf(typed []string) []audit.Type {
	types := make([]audit.Type, 0, len(typed))
	for _, t := range typed {
		types = append(types, audit.Type(t))
	}
	return types
}

type webhookListCmd struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON, for scripts."`
}

// Run shows the webhooks.
func (c *webhookListCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		list, err := operator.ListWebhooks.Do(ctx, s, operator.None{})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(list)
		}
		if len(list) == 0 {
			fmt.Fprintln(os.Stderr, "There is no webhook yet: tutela webhook add URL")
			return nil
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		say(table, "WEBHOOK ID\tSTATE\tLAST SUCCESS\tURL\tEVENTS\n")
		for _, w := range list {
			say(table, "%s\t%s\t%s\t%s\t%s\n", w.ID, stateOf(w), shortTime(w.LastSuccess), plain(w.URL), eventsOf(w))
		}
		return table.Flush()
	})
}

// stateOf says how a webhook stands.
func stateOf(w webhook.Webhook) string {
	switch {
	case !w.Parked.IsZero():
		return "parked: " + string(w.Why)
	case !w.Enabled:
		return "disabled"
	case !w.Failing.IsZero():
		return "failing since " + shortTime(w.Failing)
	default:
		return "enabled"
	}
}

func eventsOf(w webhook.Webhook) string {
	words := ""
	if w.Mails {
		words = "mails "
	}
	for _, t := range w.Events {
		words += string(t) + " "
	}
	return words
}

type webhookSetCmd struct {
	dataFlags
	ID     string   `arg:"" name:"webhook-id" help:"As webhook list shows it."`
	URL    *string  `name:"url" placeholder:"URL" help:"Another URL. It gets another secret, which is shown once."`
	Event  []string `sep:"none" placeholder:"TYPE" help:"The types of events that it is told of from now on; repeatable; * for all."`
	Mails  string   `default:"" enum:",on,off" placeholder:"on|off" help:"Whether it sends mail."`
	Enable string   `default:"" enum:",on,off" placeholder:"on|off" help:"off: it is told of nothing. on: it is told again, also one that was parked."`
}

// Help is the long help of "tutela webhook set".
func (webhookSetCmd) Help() string {
	return `  tutela webhook set whk_0123456789abcdef --enable on       it was parked, and is well again
  tutela webhook set whk_0123456789abcdef --event td_reset  from now on resets alone`
}

// Run changes the webhook.
func (c *webhookSetCmd) Run(ctx context.Context) error {
	fields := operator.WebhookFields{
		ID:      c.ID,
		URL:     c.URL,
		Mails:   onOff(c.Mails),
		Enabled: onOff(c.Enable),
	}
	if len(c.Event) > 0 {
		events := typesOf(c.Event)
		fields.Events = &events
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		changed, err := operator.ChangeWebhook.Do(ctx, s, fields)
		if err != nil || changed.Secret == "" {
			return err
		}
		return printLine(changed)
	})
}

// onOff reads a flag that is on, off or not given.
func onOff(typed string) *bool {
	if typed == "" {
		return nil
	}
	on := typed == "on"
	return &on
}

type webhookTestCmd struct {
	dataFlags
	webhookFlags
	ID string `arg:"" name:"webhook-id" help:"As webhook list shows it."`
}

// Help is the long help of "tutela webhook test".
func (webhookTestCmd) Help() string {
	return `Posts a message of type webhook.test, signed as all others are, whether the webhook is enabled or not. When a server runs it is the
server that posts, and --webhook-allow is that of the server.

  tutela webhook test whk_0123456789abcdef`
}

// Run tries the webhook.
func (c *webhookTestCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{webhookAllow: prefixes(c.WebhookAllow)}, func(s operator.Service) error {
		trial, err := operator.TestWebhook.Do(ctx, s, c.ID)
		switch {
		case err != nil:
			return err
		case trial.Delivered:
			fmt.Fprintf(os.Stderr, "The webhook took the message: it answers %d.\n", trial.Answer)
			return nil
		case trial.Answer != 0:
			return fmt.Errorf("the webhook did not take the message: it answers %d", trial.Answer)
		default:
			return fmt.Errorf("the webhook did not take the message: %s", trial.Said)
		}
	})
}

type webhookRotateCmd struct {
	dataFlags
	ID      string        `arg:"" name:"webhook-id" help:"As webhook list shows it."`
	Overlap time.Duration `default:"24h" placeholder:"TIME" help:"For how long the secret before signs too, such as 24h; at most 168h. 0s ends it at once."`
}

// Help is the long help of "tutela webhook rotate".
func (webhookRotateCmd) Help() string {
	return `Prints {"id","secret"}. For the overlap each message has two signatures, and the receiver may verify either.

  tutela webhook rotate whk_0123456789abcdef                 give the receiver the new secret within a day
  tutela webhook rotate whk_0123456789abcdef --overlap 0s    the secret was stolen`
}

// Run rotates the secret.
func (c *webhookRotateCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		rotated, err := operator.RotateWebhook.Do(ctx, s, operator.WebhookRotation{ID: c.ID, Overlap: c.Overlap})
		if err != nil {
			return err
		}
		return printLine(rotated)
	})
}

type webhookRemoveCmd struct {
	dataFlags
	ID string `arg:"" name:"webhook-id" help:"As webhook list shows it."`
}

// Run removes the webhook.
func (c *webhookRemoveCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if _, err := operator.RemoveWebhook.Do(ctx, s, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Removed webhook %s. It is told of nothing any more.\n", plain(c.ID))
		return nil
	})
}

type webhookDeliveriesCmd struct {
	dataFlags
	ID     string `arg:"" name:"webhook-id" help:"As webhook list shows it."`
	Status string `default:"" enum:",waiting,delivered,failed" placeholder:"STATUS" help:"Only those that are waiting, delivered or failed."`
	Retry  string `placeholder:"DELIVERY" help:"Send this one again, now."`
	JSON   bool   `name:"json" help:"Print JSON, for scripts."`
}

// Help is the long help of "tutela webhook deliveries".
func (webhookDeliveriesCmd) Help() string {
	return `Shows what was tried lately, the newest first, with the status of the answer and nothing else of it.

  tutela webhook deliveries whk_0123456789abcdef --status failed
  tutela webhook deliveries whk_0123456789abcdef --retry dlv_0123456789abcdef`
}

// Run shows the deliveries.
func (c *webhookDeliveriesCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		if c.Retry != "" {
			_, err := operator.RetryDelivery.Do(ctx, s, operator.DeliveryRef{ID: c.ID, Delivery: c.Retry})
			return err
		}
		list, err := operator.ListDeliveries.Do(ctx, s, operator.DeliveryQuery{ID: c.ID, Status: webhook.Status(c.Status)})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(list)
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		say(table, "DELIVERY ID\tLAST ATTEMPT\tSTATUS\tATTEMPTS\tANSWER\tTYPE\tEVENT\n")
		for _, d := range list {
			answer := string(d.Why)
			if d.Answer != 0 {
				answer = strconv.Itoa(d.Answer)
			}
			say(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", d.ID, shortTime(d.At), d.Status, d.Attempts, answer, d.Type, d.Event)
		}
		return table.Flush()
	})
}
