package device_test

import (
	"context"
	"testing"

	"tutela/device"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

func TestFactor_ThatIsOffEnrolsNobody(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := context.Background()
		h.home.Set("factor.push", "off")
		ticket := h.ticket("ada")
		expect(h.t, "a phone", h.newPhone("a").Enroll(ticket), device.ErrFactorOff)
		_, err := h.home.Admins.NewTicket(ctx, admin.TicketRequest{User: user.User{ID: "ada"}, Factor: string(device.FactorPush)}, audit.ByOperator(0))
		expect(h.t, "a ticket for it", err, device.ErrFactor)

		h.home.Set("factor.otp", "off")
		_, err = h.home.Devices.ConfirmOTP(ctx, ticket, "123456", audit.ByUser())
		expect(h.t, "an app of codes, while passkeys may enrol", err, device.ErrFactorOff)
		h.home.Set("factor.webauthn_roaming", "off")
		h.home.Set("factor.webauthn_platform", "off")
		_, err = h.home.Devices.ConfirmOTP(ctx, ticket, "123456", audit.ByUser())
		expect(h.t, "an app of codes, with nothing left to enrol", err, device.ErrTicket)
		_, err = h.home.Admins.NewTicket(ctx, admin.TicketRequest{User: user.User{ID: "ada"}}, audit.ByOperator(0))
		expect(h.t, "a ticket for nothing", err, device.ErrFactor)

		h.home.Set("factor.push", "on")
		_, err = h.home.Devices.ConfirmOTP(ctx, ticket, "123456", audit.ByUser())
		expect(h.t, "an app of codes", err, device.ErrFactorOff)
		must(h.t, h.newPhone("a").Enroll(ticket)) // the ticket is not spent
	})
}

func TestFactorOn_ReadsTheSettingOfEach(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, f := range []device.Factor{device.FactorPush, device.FactorOTP, device.FactorRoaming, device.FactorPlatform, device.FactorCode} {
			name, known := device.FactorSetting(f)
			if !known {
				h.t.Fatalf("%s has no setting", f)
			}
			for _, enabled := range []bool{true, false, true} {
				h.home.Set(name, device.FactorValue(enabled))
				h.home.View(func(tx *storage.Tx) error {
					if got, err := device.FactorOn(tx, f); err != nil || got != enabled {
						h.t.Errorf("%s set to %v is %v: %v", f, enabled, got, err)
					}
					return nil
				})
			}
		}
		h.home.View(func(tx *storage.Tx) error {
			if got, err := device.FactorOn(tx, "sms"); err != nil || got {
				h.t.Errorf("a factor that there is not is on: %v", err)
			}
			return nil
		})
	})
}
