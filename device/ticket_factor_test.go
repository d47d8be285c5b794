package device_test

import (
	"context"
	"testing"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// ticketFor makes a ticket for one factor.
func (h *house) ticketFor(id string, f device.Factor) string {
	h.t.Helper()
	ticket, err := h.home.Admins.NewTicket(context.Background(), admin.TicketRequest{
		User:          user.User{ID: id},
		Factor:        string(f),
		AllowMultiple: true,
	}, audit.ByOperator(0))
	must(h.t, err)
	return ticket
}

// enrolBy enrols a factor with a ticket that the user's browser has started.
func (h *house) enrolBy(ticket string, f device.Factor) error {
	h.t.Helper()
	ctx := context.Background()
	started, err := h.home.Devices.StartTicket(ctx, ticket, "", storage.NewID("", 43))
	must(h.t, err)
	switch f {
	case device.FactorPush:
		return h.newPhone(storage.NewID("", 8)).Enroll(started.TxID)
	case device.FactorOTP:
		code := h.home.OTPOf(h.home.Param(started.URI, "secret"), 0)
		_, err := h.home.Devices.ConfirmOTP(ctx, started.TxID, code, audit.ByUser())
		return err
	}
	typ := device.Type(f)
	options, err := h.home.Passkeys.BeginByTicket(ctx, h.home.Devices, started.TxID, typ)
	if err != nil {
		return err
	}
	made := devicetest.NewAuthenticator(h.t).Create(options)
	return h.home.Passkeys.EnrollByTicket(ctx, h.home.Devices, started.TxID, typ, made, audit.ByUser())
}

var everyFactor = []device.Factor{device.FactorPush, device.FactorOTP, device.FactorRoaming, device.FactorPlatform}

func TestTicket_ForAFactorEnrolsThatAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, of := range everyFactor {
			id := "user of " + string(of)
			ticket := h.ticketFor(id, of)
			for _, other := range everyFactor {
				if other != of {
					expect(h.t, string(other)+" by a ticket for "+string(of), h.enrolBy(ticket, other), device.ErrTicket)
				}
			}
			expect(h.t, string(of)+" by its ticket", h.enrolBy(ticket, of), nil)
			h.view(func(tx *storage.Tx) error {
				set, err := device.All(tx, h.uid(id))
				if err != nil || len(set) != 1 || device.FactorOf(set[0].Type) != of {
					h.t.Errorf("a ticket for %s enrolled %v: %v", of, set, err)
				}
				return nil
			})
		}
	})
}

// What began with a passkey of one kind is not finished as the other: a security key is not this device.
func TestTicket_ForASecurityKeyTakesNoPasskeyOfADevice(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		ticket := h.ticketFor("ada", device.FactorRoaming)
		started, err := h.home.Devices.StartTicket(ctx, ticket, "", storage.NewID("", 43))
		must(h.t, err)
		options, err := h.home.Passkeys.BeginByTicket(ctx, h.home.Devices, started.TxID, device.TypeRoaming)
		must(h.t, err)
		made := devicetest.NewAuthenticator(h.t).Create(options)
		err = h.home.Passkeys.EnrollByTicket(ctx, h.home.Devices, started.TxID, device.TypePlatform, made, audit.ByUser())
		expect(h.t, "finished as the other kind", err, device.ErrTicket)
	})
}

// The QR code of an app that shows codes alone names no ticket: an app that enrols itself would use it in vain.
func TestTicket_ForCodesAloneIsDrawnForAppsThatShowCodes(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ticket := h.ticketFor("ada", device.FactorOTP)
		started, err := h.home.Devices.StartTicket(context.Background(), ticket, "", storage.NewID("", 43))
		must(h.t, err)
		if h.home.Param(started.URI, "enrollment_tx_id") != "" || h.home.Param(started.URI, "secret") == "" {
			h.t.Errorf("the QR code is %s", started.URI)
		}
		for of, want := range map[device.Factor]bool{device.FactorPush: true, "": true, device.FactorOTP: false, device.FactorRoaming: false} {
			uri, err := h.home.Devices.TicketURI(context.Background(), h.ticketFor("ben", of))
			if err != nil || (uri != "") != want {
				h.t.Errorf("of a ticket for %q a terminal draws %q: %v", of, uri, err)
			}
		}
	})
}

func TestTicket_ForAFactorThatIsOffEnrolsNobody(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, of := range everyFactor {
			ticket := h.ticketFor("ada", of)
			name, _ := device.FactorSetting(of)
			h.home.Set(name, "off")
			_, err := h.home.Devices.StartTicket(context.Background(), ticket, "", storage.NewID("", 43))
			expect(h.t, "a ticket for "+string(of)+", which is off", err, device.ErrTicket)
			_, err = h.home.Admins.NewTicket(context.Background(), admin.TicketRequest{User: user.User{ID: "ben"}, Factor: string(of)}, audit.ByOperator(0))
			expect(h.t, "another ticket for "+string(of), err, device.ErrFactor)
			h.home.Set(name, "on")
			expect(h.t, string(of)+", on again", h.enrolBy(ticket, of), nil)
		}
	})
}
