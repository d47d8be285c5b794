package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/passkey"
	"tutela/device/push"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// At an address that is a number no browser makes passkeys: a link for one would lead nowhere.
func TestNewTicket_ForAPasskeyNeedsADomain(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		bare := admin.New(h.Store, h.Codes, h.Devices, h.Restores, login.New(h.Store, h.Ring, h.Devices, h.Codes, h.Bases, push.NewGateway(h.Sent)).
			WithPasskeys(passkey.New(h.Store, h.Ring, passkey.Options{Bases: device.NewBases([]string{"https://192.0.2.7"})})))
		for factor, want := range map[string]error{"webauthn-roaming": device.ErrFactor, "webauthn-platform": device.ErrFactor, "otp": nil, "": nil} {
			_, err := bare.NewTicket(context.Background(), admin.TicketRequest{User: user.User{ID: "ada"}, Factor: factor}, audit.ByOperator(0))
			expect(h.t, "a ticket for "+factor, err, want)
		}
	})
}

func TestNewTicket_IsRefusedForTheReasonThatHolds(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.Enroll("ada", "a")
		program := audit.ByClient("desk", nil, storage.House)
		for name, c := range map[string]struct {
			req   admin.TicketRequest
			actor audit.Actor
			want  error
		}{
			"enrolled already":     {admin.TicketRequest{User: user.User{ID: "ada"}}, program, admin.ErrEnrolled},
			"a factor of others":   {admin.TicketRequest{User: user.User{ID: "ben"}, Factor: "phone"}, program, device.ErrFactor},
			"no user id":           {admin.TicketRequest{}, program, user.ErrID},
			"a long user id":       {admin.TicketRequest{User: user.User{ID: strings.Repeat("x", 256)}}, program, user.ErrID},
			"somebody who may not": {admin.TicketRequest{User: user.User{ID: "eve"}}, audit.ByUser(), admin.ErrRefused},
		} {
			_, err := h.Admins.NewTicket(context.Background(), c.req, c.actor)
			expect(h.t, name, err, c.want)
		}
		must(h.t, h.Store.View(context.Background(), func(tx *storage.Tx) error {
			if _, err := user.Find(tx, "eve"); !errors.Is(err, user.ErrUnknown) {
				h.t.Errorf("a refused call made a user: %v", err)
			}
			return nil
		}))
	})
}
