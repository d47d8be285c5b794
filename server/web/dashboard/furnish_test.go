package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"tutela/backup/restore"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/tally"
)

// A furnished house has a fortnight behind it, and a user in each state.
const (
	furnishedDays = 14
	furnishedMore = 30 // users of whom nothing is said, so that the list has more than one page
)

// furnish gives the house what the pages of a large one show.
func (h *house) furnish() {
	h.t.Helper()
	check.Must(h.t, h.Admins.CountEveryone(h.t.Context()))
	for i := range furnishedMore {
		id := fmt.Sprintf("person-%02d@hafenlicht.example", i)
		_, err := h.Admins.AddUser(h.t.Context(), user.User{ID: id}, audit.ByOperator(0))
		check.Must(h.t, err)
		h.giveCode(id, i%9 != 0)
	}
	for _, id := range []string{"maria", "mark", "otto", "eva", "blake", "rita"} {
		h.ringing(id)
		h.giveCode(id, id != "eva")
	}
	_, err := h.Admins.AddUser(h.t.Context(), user.User{ID: "nina", Name: "Nina Neumann", Email: "nina@hafenlicht.example"}, audit.ByOperator(0))
	check.Must(h.t, err)
	_, _, err = h.Access.AddClient(h.t.Context(), audit.ByOperator(0), access.Client{Name: "Hafenlicht Bank", Scopes: []string{"openid"}})
	check.Must(h.t, err)
	h.listen("{webhook}", "/hooks", true)
	h.listen("{paused}", "/hooks/"+strings.Repeat("long", 20), false)
	h.pass()
	d, err := h.Admins.DetailOf(h.t.Context(), "otto")
	check.Must(h.t, err)
	h.Drain(h.hooks.Handler())
	check.Must(h.t, h.Admins.Suspend(h.t.Context(), d.Enrollments[0].ID, audit.ByOperator(0)))
	h.SetBlocked("blake", true)
	h.lock("mark")
	h.Reset("rita")
}

// giveCode gives a user a recovery code, which she has saved or not.
func (h *house) giveCode(id string, saved bool) {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) error {
		u, err := user.Find(tx, id)
		if err != nil {
			return err
		}
		if _, err := h.Codes.Issue(tx, u.UID); err != nil || !saved {
			return err
		}
		return recovery.Confirm(tx, u.UID)
	})
}

// lock types wrong codes of a user until a limit closes the channel.
func (h *house) lock(id string) {
	h.t.Helper()
	for closed := false; !closed; {
		err := h.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
			u, err := user.Find(tx, id)
			if err == nil {
				_, err = h.Codes.Spend(tx, u.UID, recovery.LoginChannel, recovery.DrawCode(), audit.ByUser())
			}
			return err
		})
		closed = errors.Is(err, recovery.ErrLimited)
		if !closed {
			check.Is(h.t, err, recovery.ErrWrongCode)
		}
	}
}

// pass lets a fortnight pass, in which people log in, deny, restore, and are reset, and messages go out; in the end it is today.
func (h *house) pass() {
	h.t.Helper()
	m := h.Store.Meter()
	folder := tally.NewFolder(h.Store, admin.KeptByDay()...)
	for day := range uint64(furnishedDays) {
		workday := 1 - min(1, (day+1)%7/5) // less happens at weekends
		login.LoginsEnded.Add(m, 60+workday*240+day*37%90, string(login.Approved), string(login.ByKey))
		login.LoginsEnded.Add(m, 2+day*3%7, string(login.Denied), string(login.ByKey))
		login.LoginsEnded.Add(m, 9+day*5%11, login.OutcomeExpired, string(login.ByKey))
		restore.WentOn.Add(m, day*7%5, restore.WentDone)
		recovery.Resets.Add(m, day*11%3)
		push.Sent.Add(m, 40+workday*160+day*31%60, push.ProviderOf(string(push.FCM)), push.OutcomeSent)
		push.Sent.Add(m, 25+workday*90+day*17%40, push.ProviderOf(string(push.APNs)), push.OutcomeSent)
		push.Sent.Add(m, day%3, push.ProviderOf(string(push.APNs)), string(push.Gone))
		push.Sent.Add(m, day*5%4, push.ProviderOf(string(push.FCM)), string(push.Busy))
		check.Must(h.t, folder.Fold(h.t.Context()))
		if day < furnishedDays-1 {
			h.Clock.Advance(24 * time.Hour)
		}
	}
}

// listen registers a webhook under which a receiver takes everything.
func (h *house) listen(name, path string, enabled bool) {
	h.t.Helper()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	h.t.Cleanup(receiver.Close)
	url := receiver.URL + path
	types := typesOf([]string{"recovery", "system"})
	added, _, err := h.hooks.Add(h.t.Context(), audit.ByOperator(0), webhook.Change{URL: &url, Events: &types, Enabled: &enabled})
	check.Must(h.t, err)
	h.known[name] = added.ID
}
