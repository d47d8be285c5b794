package admin_test

import (
	"context"
	"strings"
	"testing"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/otp"
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

// What people know by name is called by that name: a security key is no phone.
func TestReset_NamesEachKindOfAuthenticator(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.Enroll("ada", "phone")
		s := story{h, "ada"}
		s.passkey(device.TypeRoaming, nil)
		s.passkey(device.TypePlatform, nil)
		s.passkey(device.TypePlatform, nil)
		_, err := h.Admins.ImportMethod(ctx, "ada", device.Imported{Secret: otp.NewSecret()}, devicetest.Admin)
		must(h.t, err)
		for _, dry := range []bool{true, false} {
			r, err := h.Admins.Reset(ctx, "ada", recovery.ResetRequest{Reason: "lost", DryRun: dry}, devicetest.Admin)
			must(h.t, err)
			if want := "1 phone, 1 code app, 1 security key, 2 passkeys, 1 code"; r.Summary != want {
				h.t.Errorf("dry run %v: %q, want %q", dry, r.Summary, want)
			}
		}
	})
}
