package webhook

import (
	"context"
	"errors"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// mostWaiting is how much may wait for one webhook. Past it the webhook is parked: what waits would fill the disk.
const mostWaiting = 100_000

const backlogInterval = time.Minute

// Run parks the webhooks for which too much waits, until ctx is done. Any number of servers may run it over one store.
func (s *Service) Run(ctx context.Context) {
	s.store.Rounds(ctx, storage.Round{
		Every: backlogInterval,
		Job:   "webhook",
		What:  "look at what waits for webhooks",
		Do:    func(ctx context.Context) error { return s.ParkBacklogs(ctx, mostWaiting) },
	})
}

// ParkBacklogs parks the webhooks for which more than most entries wait.
func (s *Service) ParkBacklogs(ctx context.Context, most int) error {
	list, err := s.Webhooks(ctx)
	if err != nil {
		return err
	}
	for _, w := range list {
		if !w.active() {
			continue
		}
		n, err := queued.Waiting(ctx, s.store, where(w.ID), most+1)
		if err != nil {
			return err
		}
		if n <= most {
			continue
		}
		if err := s.store.Update(ctx, func(tx *storage.Tx) error {
			there, err := get(tx, w.ID)
			if errors.Is(err, ErrNone) {
				return nil
			}
			if err != nil {
				return err
			}
			return park(tx, there, audit.WhyBacklog)
		}); err != nil {
			return err
		}
	}
	return nil
}
