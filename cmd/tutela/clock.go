package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"tutela/server/operator"
	"tutela/storage"
)

// clockCmd is "tutela clock".
type clockCmd struct {
	dataFlags
	TrustWall bool `name:"trust-wall" xor:"settle" help:"Settle that the machine's clock is right: it was a long stop, or the last time written down was wrong."`
	KeepMark  bool `name:"keep-mark" xor:"settle" help:"Settle that the machine's clock is wrong and will be set right: go on from the last time written down."`
	JSON      bool `name:"json" help:"Print JSON, for scripts."`
}

// Help is the long help of "tutela clock".
func (clockCmd) Help() string {
	return `tutela writes the time down as it goes. When it starts and the machine's clock is more than 183 days after the last time
that it has written down, or more than a day before it, one of the two is wrong, or it was a very long stop. Then it serves, its
own time goes on from what is written down, and nothing is removed by time until you have settled it here:

  tutela clock                look, and compare with a clock that you trust
  tutela clock --trust-wall   the machine's clock is right
  tutela clock --keep-mark    it is wrong, and you will set it right`
}

// Run settles the clock when it is told to, and shows it.
func (c *clockCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		state, err := operator.Clock.Do(ctx, s, operator.None{})
		if err != nil {
			return err
		}
		wentBack := c.TrustWall && state.Wall.Before(state.House)
		switch {
		case c.TrustWall:
			state, err = operator.SettleClock.Do(ctx, s, storage.TrustWall)
		case c.KeepMark:
			state, err = operator.SettleClock.Do(ctx, s, storage.KeepMark)
		}
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(clockForScripts(state))
		}
		showClock(os.Stdout, state)
		if wentBack {
			fmt.Fprintln(os.Stderr, "The time has gone back: restart the server when one runs. What was written in the meantime keeps its times.")
		}
		return nil
	})
}

// clockForScripts returns the state of the clock as JSON.
func clockForScripts(state storage.ClockState) any {
	return struct {
		House       string  `json:"house"`
		Machine     string  `json:"machine"`
		Mark        string  `json:"mark"`
		StepSeconds float64 `json:"step_seconds"`
		JumpSeconds float64 `json:"jump_seconds"`
		Unsettled   bool    `json:"unsettled"`
		KeptMark    bool    `json:"kept_mark"`
	}{
		House:       storage.FormatInstant(state.House),
		Machine:     storage.FormatInstant(state.Wall),
		Mark:        storage.FormatInstant(state.Mark),
		StepSeconds: state.Step.Seconds(),
		JumpSeconds: state.Jump.Seconds(),
		Unsettled:   state.Open,
		KeptMark:    state.Kept,
	}
}

// showClock prints the state of the clock for people.
func showClock(w io.Writer, state storage.ClockState) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	say(table, "house\t%s\twaits and expiries are measured by it\n", secondsOf(state.House))
	say(table, "machine\t%s\t%s the house's time\n", secondsOf(state.Wall), distance(state.Wall.Sub(state.House)))
	if !state.Mark.IsZero() {
		say(table, "mark\t%s\tthe last time that was written down before the start\n", secondsOf(state.Mark))
	}
	_ = table.Flush()
	switch {
	case state.Open:
		say(w, "\nNot settled: the machine's clock is %s the mark. Nothing is removed by time until one of these says which is right:\n", distance(state.Step))
		say(w, "  tutela clock --trust-wall   the machine's clock is right\n")
		say(w, "  tutela clock --keep-mark    it is wrong, and will be set right\n")
	case state.Kept:
		say(w, "\nSettled: the machine's clock is wrong. Set it right; tutela sees it by itself.\n")
	case clockJumped(state) != nil:
		say(w, "\nThe machine's clock has jumped by %v. See that it is right, then restart the server or run tutela clock --trust-wall.\n", state.Jump.Round(time.Second))
	}
}

func secondsOf(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// distance says for people how far a time lies after another: "3 days after", "5s before", "the same as".
func distance(d time.Duration) string {
	size := d.Abs()
	side := "after"
	if d < 0 {
		side = "before"
	}
	switch {
	case size < time.Second:
		return "the same as"
	case size >= 48*time.Hour:
		return fmt.Sprintf("%d days %s", size/(24*time.Hour), side)
	}
	return fmt.Sprintf("%v %s", size.Round(time.Second), side)
}

// clockJumped returns errNotReady when the machine's clock has jumped since the start.
func clockJumped(state storage.ClockState) error {
	if state.Open || state.Kept || state.Jump.Abs() <= maxClockJump {
		return nil
	}
	return errNotReady.With("the clock has jumped by %v since the server was started; see that it is right, then restart", state.Jump.Round(time.Second))
}

// maxOffset is how far the machine's clock may differ from the database's without a word.
const maxOffset = time.Second

// clockDiffers returns errNotReady when the machine's clock and the database's differ. The database's counts, so callers are
// served all the same; but one of the two is wrong.
func clockDiffers(offset time.Duration) error {
	if offset.Abs() <= maxOffset {
		return nil
	}
	return errNotReady.With("the database's clock is %s this machine's: it counts; see which is wrong", distance(offset))
}

// clockDoubted returns errNotReady when the machine's clock may be wrong. Callers are served all the same.
func clockDoubted(state storage.ClockState) error {
	switch {
	case state.Open:
		return errNotReady.With("the machine's clock is %s the last time written down: nothing is removed by time until tutela clock settles which is right", distance(state.Step))
	case state.Kept:
		return errNotReady.With("the machine's clock is %s the house's time, as was settled: set it right", distance(state.Wall.Sub(state.House)))
	case state.House.Sub(state.Wall) > maxBehind:
		return errNotReady.With("the machine's clock is %s the house's time: one-time codes are refused until it has caught up, or tutela clock settles which is right", distance(state.Wall.Sub(state.House)))
	}
	return nil
}

// maxBehind is how far the machine's clock may be behind the house's time without a word. One-time codes of a step that the
// house has passed open nothing, so a house that was opened while the clock was ahead refuses them once the clock is right.
const maxBehind = time.Minute
