package device_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// enrollmentOfSchema1 is the record as it was: flat, and of apps alone.
type enrollmentOfSchema1 struct {
	ID           any `json:"id"`
	Identifier   any `json:"identifier"`
	Name         any `json:"name"`
	Key          any `json:"key"`
	Token        any `json:"token"`
	PushService  any `json:"push_service,omitempty"`
	PushToken    any `json:"push_token,omitempty"`
	TOTPSecret   any `json:"totp_secret"`
	Capabilities any `json:"capabilities,omitempty"`
	Status       any `json:"status"`
	Enrolled     any `json:"enrolled"`
	Changed      any `json:"changed"`
	LastAuth     any `json:"last_auth,omitempty"`
	Watches      any `json:"watches,omitempty"`
	Seen         any `json:"seen,omitempty"`
	BackupID     any `json:"backup_id,omitempty"`
}

// flatten makes all rows of enrollments of schema 1.
func (h *house) flatten() {
	h.t.Helper()
	rows := ground.Rewrite(h.t, h.store.Engine(), "enrollment", func(r map[string]any) {
		part := func(name string) map[string]any {
			p, _ := r[name].(map[string]any)
			delete(r, name)
			return p
		}
		app := part("push")
		codes := part("otp")
		address, _ := app["address"].(map[string]any)
		old := enrollmentOfSchema1{
			ID:           r["id"],
			Identifier:   app["identifier"],
			Name:         r["name"],
			Key:          app["key"],
			Token:        app["token"],
			PushService:  address["service"],
			PushToken:    address["token"],
			TOTPSecret:   codes["secret"],
			Capabilities: app["capabilities"],
			Status:       r["status"],
			Enrolled:     r["enrolled"],
			Changed:      r["changed"],
			LastAuth:     r["last_auth"],
			Watches:      app["watches"],
			Seen:         app["seen"],
			BackupID:     app["backup_id"],
		}
		clear(r)
		encoded, err := json.Marshal(old)
		must(h.t, err)
		must(h.t, json.Unmarshal(encoded, &r))
	})
	if rows == 0 {
		h.t.Fatal("no enrollments")
	}
}

func TestEnrollment_OfSchema1IsReadWhole(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		p.Proof() // seen
		h.update(func(tx *storage.Tx) error {
			uid, e, err := device.Find(tx, p.Enrolled.ID)
			must(h.t, err)
			e.LastAuth = tx.Now()
			e.Push.BackupID = "bkp_0123456789abcdef"
			return device.WatchCalls(tx, uid, e, "rst_1", tx.Now().Add(recovery.ReplyLife))
		})
		want := p.Enrollment()
		want.Push.Signed = time.Time{} // neither was kept
		want.Via = ""
		want.Push.Address.Named = time.Time{}
		h.flatten()
		if diff := cmp.Diff(want, p.Enrollment()); diff != "" {
			h.t.Error(diff)
		}
	})
}

// TestEnrollment_OfSchema1IsSealedAnew: what is sealed in such a row opens under its old place, and is sealed for the same.
func TestEnrollment_OfSchema1IsSealedAnew(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		want := p.Enrollment()
		want.Via = ""
		want.Push.Address.Named = time.Time{}
		h.flatten()
		_, err := h.ring.Rotate(context.Background())
		must(h.t, err)
		_, err = h.store.Reseal(context.Background())
		must(h.t, err)
		if diff := cmp.Diff(want, p.Enrollment()); diff != "" {
			h.t.Error(diff)
		}
		if !h.holds(`"type":"push"`) {
			h.t.Error("the row is not written anew")
		}
	})
}

func TestEnrollment_OfSchema1GoesOnWorkingAndIsWrittenAnew(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		quiet := h.newPhone("b")
		quiet.In.Push = push.Address{} // its app pulls
		must(h.t, quiet.Enroll(h.ticket("ada")))
		h.deliver() // the first phone is told of the second
		h.flatten()
		for _, p := range []*phone{p, quiet} {
			_, err := p.CallByToken()
			must(h.t, err)
			if p.Enrollment().PushAddress() != p.In.Push {
				h.t.Errorf("%s is reached at %+v", p.In.Identifier, p.Enrollment().PushAddress())
			}
		}
		h.notify("ada", recovery.NoticePayload{Notice: "code_changed"})
		if told := h.deliver(); len(told) != 1 || told[0].To != p.In.Push {
			h.t.Errorf("told %+v", told)
		}
		_, err := h.Patch(context.Background(), p.Proof(), device.Change{Name: text("renamed")}, audit.ByUser())
		must(h.t, err)
		if e := p.Enrollment(); e.Name != "renamed" || e.Type != device.TypePush || !e.Push.Key.Same(p.In.Key) || len(e.OTP.Secret) != 20 {
			h.t.Errorf("%+v", e)
		}
		if !h.holds(`"type":"push"`) || !h.holds(`"name":"renamed"`) {
			h.t.Error("the row is not written anew")
		}
	})
}

// TestEnrollment_ThatLeftUnderAnEarlierReleaseComesBackAndLapsesAsOthersDo: its row has no other device token yet.
func TestEnrollment_ThatLeftUnderAnEarlierReleaseComesBackAndLapsesAsOthersDo(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		back := h.enroll("ada", "a")
		lapsed := h.enroll("ada", "b")
		ground.Rewrite(h.t, h.store.Engine(), "enrollment", func(r map[string]any) { r["status"] = "left" })
		byToken, err := back.CallByToken()
		must(h.t, err)
		expect(h.t, "a second deletion", h.Leave(context.Background(), byToken, audit.ByUser()), device.ErrUnsigned)
		h.clock.Advance(7*24*time.Hour - time.Nanosecond)
		back.Proof()
		back.ExpectStatus(device.Active)
		h.clock.Advance(time.Nanosecond)
		lapsed.ExpectStatus(device.Retired)
	})
}
