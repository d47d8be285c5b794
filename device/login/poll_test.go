package login_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/storage"
)

func TestPoll_TooFastIsToldTheLongerInterval(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.enroll("ada", "a")
		begun := h.begin(request("ada"))
		poll := func() error {
			_, err := h.Poll(context.Background(), request("ada").Client, begun.ID)
			return err
		}
		for i, step := range []struct {
			after, interval time.Duration // interval 0: undecided
		}{
			{0, 0}, {login.PollInterval, 0}, {login.PollInterval - 1, 10 * time.Second}, {10 * time.Second, 0}, {0, 15 * time.Second},
		} {
			h.clock.Advance(step.after)
			want := login.ErrUndecided
			if step.interval > 0 {
				want = login.ErrSlowDown
			}
			if err := poll(); !errors.Is(err, want) || storage.RetryAfter(err) != step.interval {
				h.t.Errorf("poll %d: %v, again after %v", i+1, err, storage.RetryAfter(err))
			}
		}
		// A held call is no poll, and changes nothing of the interval.
		if _, err := h.Collect(context.Background(), request("ada").Client, begun.ID); !errors.Is(err, login.ErrUndecided) {
			h.t.Errorf("a held call: %v", err)
		}
	})
}

func TestBegin_RefusesALifeThatNoLoginHas(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.enroll("ada", "a")
		for _, life := range []time.Duration{0, -time.Second, login.MaxLife + 1} {
			req := request("ada")
			req.Life = life
			if _, err := h.Begin(context.Background(), req); !errors.Is(err, login.ErrLife) {
				h.t.Errorf("%v: %v", life, err)
			}
		}
	})
}
