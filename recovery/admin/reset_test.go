package admin_test

import (
	"context"
	"strings"
	"testing"

	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestReset_RefusesBadRequestsAndWritesNothing(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.newUser("ada")
	operator := audit.ByOperator(0)
	herself := audit.ByUser()
	for name, c := range map[string]struct {
		user  string
		req   recovery.ResetRequest
		actor audit.Actor
		want  error
	}{
		"no reason":                {"ada", recovery.ResetRequest{}, operator, recovery.ErrReason},
		"a long reason":            {"ada", recovery.ResetRequest{Reason: strings.Repeat("x", 1001)}, operator, recovery.ErrReason},
		"a reason of no text":      {"ada", recovery.ResetRequest{Reason: "\xff"}, operator, recovery.ErrReason},
		"an unknown check":         {"ada", recovery.ResetRequest{Reason: "x", CallerCheck: "hunch"}, operator, recovery.ErrCallerCheck},
		"nobody":                   {"eve", recovery.ResetRequest{Reason: "x"}, operator, user.ErrUnknown},
		"somebody who may not":     {"ada", recovery.ResetRequest{Reason: "x"}, herself, admin.ErrRefused},
		"a dry run of who may not": {"ada", recovery.ResetRequest{Reason: "x", DryRun: true}, herself, admin.ErrRefused},
	} {
		h.Unchanged(func() {
			_, err := h.Admins.Reset(context.Background(), c.user, c.req, c.actor)
			expect(t, name, err, c.want)
		})
	}
}
