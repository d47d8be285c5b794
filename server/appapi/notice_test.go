package appapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/phone"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
)

func (h *house) notify(userID string, n recovery.NoticePayload) {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		return recovery.Notify(tx, u.UID, n)
	})
}

// words are what the notices tell.
func words(list []phone.Notice) []string {
	said := make([]string, 0, len(list))
	for _, n := range list {
		said = append(said, n.Kind)
	}
	return said
}

func TestNotices_APhoneWithoutAPushServiceReadsWhatItWasTold(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	empty := h.call("GET", path(p, "/notices"), "", "Authorization", h.bearer(p))
	h.accepted(empty, http.StatusOK)
	if empty.raw != "[]" {
		t.Errorf("nothing told is %s", empty.raw)
	}
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeCodeGuessed})
	second, _ := h.enroll("maria", func(o *phone.Options) { o.Name = "Pixel 10" })
	h.clock.Advance(time.Second)
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeRestoreStarted, Restore: "rst_1", Enrollment: p.Enrollment().ID})

	told, err := p.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	if diff := cmp.Diff([]string{"code_guessed", "device_added", "restore_started"}, words(told)); diff != "" {
		t.Fatal(diff)
	}
	want := phone.Notice{
		EnrollmentID: p.Enrollment().ID,
		Server:       "https://mfa.example.org",
		At:           told[1].At,
		Kind:         "device_added",
		Phone:        "Pixel 10",
		Text:         "Another phone was added to your account. Was it not you? Tell an admin.",
	}
	if diff := cmp.Diff(want, told[1]); diff != "" {
		t.Error(diff)
	}
	if told[2].RestoreID != "rst_1" || told[2].Phone != "" {
		t.Errorf("told %+v", told[2])
	}
	later, err := p.Notices(t.Context(), told[0].At, 0)
	h.must(err)
	if diff := cmp.Diff(told[1:], later); diff != "" {
		t.Error(diff)
	}
	// Who enrolled later reads nothing earlier, nor what another phone alone is told.
	others, err := second.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	if len(others) != 0 {
		t.Errorf("the second phone reads %+v", others)
	}
}

func TestNotices_WaitIsAnsweredByTheCommit(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	known, err := p.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	got := make(chan []phone.Notice, 1)
	go func() {
		list, err := p.Notices(t.Context(), known[0].At, time.Minute)
		if err != nil {
			t.Error(err)
		}
		got <- list
	}()
	h.UntilHeld(1)
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeCodeGuessed})
	if diff := cmp.Diff([]string{"code_guessed"}, words(<-got)); diff != "" {
		t.Error(diff)
	}
}

func TestNotices_ARetiredKeyReadsItsLastOnesForSevenDays(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria", func(o *phone.Options) { o.Identifier = "the tablet" })
	h.enroll("maria", func(o *phone.Options) { o.Identifier = "the tablet" })
	last, err := p.Notices(t.Context(), time.Time{}, 0)
	h.must(err)
	if diff := cmp.Diff([]string{"replaced"}, words(last)); diff != "" {
		t.Error(diff)
	}
	h.refused(h.call("GET", path(p, ""), "", "Authorization", h.bearer(p)), 404, "device_account_not_found")
	h.notify("maria", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
	if again, err := p.Notices(t.Context(), last[0].At, 0); err != nil || len(again) != 0 {
		t.Errorf("what comes after its end is read: %+v, %v", again, err)
	}
	h.clock.Advance(7 * 24 * time.Hour)
	h.refused(h.call("GET", path(p, "/notices"), "", "Authorization", h.bearer(p)), 404, "device_account_not_found")
}

func TestNotices_RefuseASinceThatIsNoTimeAndTheDeviceToken(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	for _, since := range []string{"x", "2026-03-01", "1772366400", strings.Repeat("1", 300)} {
		h.refused(h.call("GET", path(p, "/notices?since="+since), "", "Authorization", h.bearer(p)), 400, "invalid_query_string")
	}
	h.accepted(h.call("GET", path(p, "/notices?since=2026-03-01T12:00:00.000Z"), "", "Authorization", h.bearer(p)), 200)
	token := "Bearer " + p.Enrollment().Token
	h.refused(h.call("GET", path(p, "/notices"), "", "Authorization", token), 403, "insufficient_scope")
}
