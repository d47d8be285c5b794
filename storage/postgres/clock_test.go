package postgres_test

import (
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/pgtest"
)

// The wall of a machine whose clock is wrong is the database's time. The clocks of the tests stand still in between.
func TestClock_ShowsTheDatabasesTimeWhateverTheMachineSays(t *testing.T) {
	e := open(t, pgtest.Database(t))
	for _, wrong := range []time.Duration{-26 * time.Hour, -2 * time.Second, 3 * time.Second, 400 * 24 * time.Hour} {
		before := time.Now()
		clock, err := e.Clock(t.Context(), storage.NewFakeClock(before.Add(wrong)))
		check.Must(t, err)
		// A machine that stands still sees no time pass while it waits for an answer.
		if wall := clock.Wall(); wall.Before(before.Add(-time.Millisecond)) || wall.After(time.Now().Add(time.Millisecond)) {
			t.Errorf("wrong by %v: the wall shows %v, asked from %v on", wrong, wall, before)
		}
		if off := clock.Offset() + wrong; off < 0 && wrong > 0 || (clock.Offset() > 0) != (wrong < 0) {
			t.Errorf("wrong by %v: corrected by %v", wrong, clock.Offset())
		}
	}
}

func TestClock_LeavesAMachineAloneWhoseClockIsRight(t *testing.T) {
	clock, err := open(t, pgtest.Database(t)).Clock(t.Context(), storage.SystemClock())
	check.Must(t, err)
	if clock.Offset() != 0 {
		t.Errorf("the same machine's clock was corrected by %v", clock.Offset())
	}
}
