package login_test

import (
	"context"
	"strings"
	"testing"

	"tutela/device"
	"tutela/device/login"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// give puts an active authenticator that is no phone among a user's, who is made when there is none.
func (h *house) give(id string, of device.Type) *device.Enrollment {
	h.t.Helper()
	e := &device.Enrollment{
		ID:     storage.NewID("dev_", 16),
		Type:   of,
		Name:   string(of),
		Status: device.Active,
	}
	h.update(func(tx *storage.Tx) error {
		e.Enrolled = tx.Now()
		u, err := user.Ensure(tx, user.User{ID: id})
		must(h.t, err)
		return device.Put(tx, u.UID, e)
	})
	return e
}

var notPhones = []device.Type{device.TypeOTP, device.TypeRoaming, device.TypePlatform}

// TestBegin_AsksPhonesAlone: an authenticator that signs no answer is not asked for one, whatever the presence.
func TestBegin_AsksPhonesAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enrollTap("ada", "a")
		for _, of := range notPhones {
			h.give("ada", of)
		}
		for _, presence := range []string{"tap", "prefer-number"} {
			h.set("approval.presence", presence)
			h.begin(request("ada"))
			h.scan(func(key, value string) {
				if key[0] == 'u' && strings.HasPrefix(key[17:], "login\x00") && !strings.Contains(value, `"asked":["`+p.Enrolled.ID+`"]`) {
					h.t.Errorf("%s: asked otherwise than the phone alone: %s", presence, value)
				}
			})
			must(h.t, p.approve(p.one(), ""))
		}
	})
}

func TestBegin_OfAUserWithoutAPhoneIsNeitherNewNorLost(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for _, of := range notPhones {
			h.give(string(of), of)
			_, err := h.Begin(context.Background(), request(string(of)))
			expect(h.t, string(of), err, login.ErrNoPhone)
		}
		p := h.enroll("ada", "a")
		h.give("ada", device.TypeOTP)
		must(h.t, h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, audit.ByOperator(0)))
		_, err := h.Begin(context.Background(), request("ada"))
		expect(h.t, "with her phone suspended", err, login.ErrNoPhone)
	})
}

func TestStartMFA_SaysWhetherThereIsAPhone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.enroll("phone", "a")
		h.give("phone", device.TypeOTP)
		h.give("codes", device.TypeOTP)
		for id, phones := range map[string]bool{"phone": true, "codes": false} {
			started, err := h.StartMFA(context.Background(), login.MFAStart{Client: "c", User: user.User{ID: id}})
			must(h.t, err)
			if started.Phones != phones || started.State != user.Enrolled {
				h.t.Errorf("%s: %+v", id, started)
			}
		}
	})
}
