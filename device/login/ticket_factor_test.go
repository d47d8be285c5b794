package login_test

import (
	"context"
	"testing"

	"tutela/device"
	"tutela/device/login"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage/audit"
)

// A login system that shows a ticket for one factor is told of that alone, and can have nothing else enrolled.
func TestStartMFA_WithATicketForAFactorEnrolsThatAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		for _, of := range []device.Factor{device.FactorPush, device.FactorOTP, device.FactorRoaming, device.FactorPlatform} {
			id := "user of " + string(of)
			ticket, err := h.home.Admins.NewTicket(ctx, admin.TicketRequest{User: user.User{ID: id}, Factor: string(of)}, audit.ByOperator(0))
			must(h.t, err)
			started, err := h.StartMFA(ctx, login.MFAStart{Client: "bank", User: user.User{ID: id}, Ticket: ticket})
			must(h.t, err)
			if len(started.Enroll) != 1 || started.Enroll[0] != of {
				h.t.Errorf("with a ticket for %s: %v", of, started.Enroll)
			}
			pass := h.by("bank", started.Token).Pass
			for _, typ := range []device.Type{device.TypePush, device.TypeOTP, device.TypeRoaming, device.TypePlatform} {
				var want error = device.ErrFactor
				if device.FactorOf(typ) == of {
					want = nil
				}
				_, err := h.Associate(ctx, login.Association{Pass: pass, Type: typ})
				expect(h.t, string(typ)+" by a ticket for "+string(of), err, want)
			}
		}
	})
}
