package storage_test

import (
	"testing"
	"time"

	"tutela/storage"
)

func TestFormatInstant_HasThreeDigitsOfAFractionAndAZ(t *testing.T) {
	for at, want := range map[time.Time]string{
		time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC):                    "2026-01-02T03:04:05.000Z",
		time.Date(2026, 1, 2, 3, 4, 5, 120_000_000, time.UTC):          "2026-01-02T03:04:05.120Z",
		time.Date(2026, 12, 31, 23, 59, 59, 1e9-1, time.UTC):           "2026-12-31T23:59:59.999Z",
		time.Date(2026, 6, 1, 14, 0, 0, 0, time.FixedZone("", 2*3600)): "2026-06-01T12:00:00.000Z",
	} {
		if got := storage.FormatInstant(at); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
