package recovery_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tutela/recovery"
)

func TestFigures_CodesAreCountedByOutcomeAlsoWhenRefused(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, code := h.newUser("ada")
		h.failUntil(uid, recovery.LoginChannel, 0, 10)
		for range 3 {
			if _, err := h.spend(uid, recovery.LoginChannel, h.wrong()); !errors.Is(err, recovery.ErrLimited) {
				h.t.Fatal(err)
			}
		}
		if _, err := h.spend(uid, recovery.RestoreChannel, code); err != nil {
			h.t.Fatal(err)
		}
		want := map[string]float64{"login wrong": 10, "login limited": 3, "restore right": 1}
		if diff := cmp.Diff(want, h.ground.Figure("tutela_recovery_codes_total")); diff != "" {
			h.t.Error(diff)
		}
	})
}
