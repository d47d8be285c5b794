package admin_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"tutela/recovery/user"
	"tutela/storage/audit"
)

func TestProfiles_ShowTheMFAStateOfEach(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		h.Enroll("b", "a phone")
		for _, id := range []string{"a", "c"} {
			_, err := h.Admins.AddUser(ctx, user.User{ID: id}, audit.ByUser())
			must(h.t, err)
		}
		listed, err := h.Admins.PageUsers(ctx, "", 10)
		must(h.t, err)
		profiles, err := h.Admins.Profiles(ctx, listed)
		must(h.t, err)
		var got []string
		for _, p := range profiles {
			got = append(got, p.ID+" "+string(p.State))
		}
		if !slices.Equal(got, []string{"a new", "b enrolled", "c new"}) {
			h.t.Errorf("profiles %q", got)
		}
		if _, err := h.Admins.ReadUser(ctx, "nobody"); !errors.Is(err, user.ErrUnknown) {
			h.t.Errorf("error %v", err)
		}
		if _, err := h.Admins.EnrollmentsOf(ctx, "nobody"); !errors.Is(err, user.ErrUnknown) {
			h.t.Errorf("error %v", err)
		}
	})
}
