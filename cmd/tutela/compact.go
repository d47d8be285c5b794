package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"tutela/server/operator"
)

// compactCmd is "tutela compact".
type compactCmd struct{ dataFlags }

// Help is the long help of "tutela compact".
func (compactCmd) Help() string {
	return `Writes the data file anew, while the server serves. Nothing that was removed before is in it afterwards: not a byte of a user
who was reset. Receipts then say that there is no residue. The server does it by itself every night after somebody was reset
or deleted. It needs room for a second file meanwhile.`
}

// Run compacts.
func (c *compactCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		sizes, err := operator.Compact.Do(ctx, s, operator.None{})
		if errors.Is(err, operator.ErrCutOff) {
			return operator.ErrCutOff.With("the server ended while it compacted. Nothing is lost: the data file is whole, as it was or compacted. " +
				"Start the server, which removes what it had begun to build, and run this again")
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Compacted: %s before, %s now. Nothing that was removed is left in the file.\n",
			byteSize(sizes.Before), byteSize(sizes.After))
		return nil
	})
}

// The night's compaction begins at 3 o'clock by this machine's zone, or within an hour after: machines that share a disk
// do not all begin at once.
const (
	nightHour   = 3
	nightSpread = time.Hour
)

// compactNightly writes the data file anew every night after a user was reset or deleted, so that nothing of them stays
// in freed pages; on other nights it costs nothing.
func (h *house) compactNightly(ctx context.Context, log *slog.Logger) {
	for {
		now := time.Now()
		wait := time.NewTimer(nextNight(now).Sub(now) + rand.N(nightSpread)) //nolint:gosec // spreads load, and is no secret
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		if err := h.compactWhenDue(ctx, log); err != nil && ctx.Err() == nil {
			log.Error("compact the data file", "err", err)
		}
	}
}

// nextNight returns the first time after now at which it is nightHour o'clock.
func nextNight(now time.Time) time.Time {
	night := time.Date(now.Year(), now.Month(), now.Day(), nightHour, 0, 0, 0, now.Location())
	if !night.After(now) {
		night = time.Date(now.Year(), now.Month(), now.Day()+1, nightHour, 0, 0, 0, now.Location())
	}
	return night
}

func (h *house) compactWhenDue(ctx context.Context, log *slog.Logger) error {
	due, err := h.codes.CompactionDue(ctx)
	if err != nil || !due {
		return err
	}
	began := time.Now()
	sizes, err := h.codes.Compact(ctx)
	if err != nil {
		return err
	}
	log.Info("the data file was compacted", "before", sizes.Before, "after", sizes.After, "took", time.Since(began))
	return nil
}
