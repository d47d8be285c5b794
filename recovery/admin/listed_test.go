package admin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// viewer is a person who is signed in and may read.
func (h *house) viewer() audit.Actor {
	h.t.Helper()
	return audit.ByAdmin(h.person(storage.NewID("viewer-", 8), user.Viewer, false).UID, nil)
}

// walkList goes through all pages of a list and returns the ids in it.
func (h *house) walkList(q admin.UserQuery, actor audit.Actor) (ids []string) {
	h.t.Helper()
	for pages := 0; ; pages++ {
		list, err := h.Admins.ListUsers(h.t.Context(), q, actor)
		must(h.t, err)
		if len(list.Users) > q.Take || pages > 100 {
			h.t.Fatalf("page %d has %d users, asked for %d", pages, len(list.Users), q.Take)
		}
		for _, u := range list.Users {
			ids = append(ids, u.ID)
		}
		if list.Next == "" {
			return ids
		}
		q.After = list.Next
	}
}

func TestListUsers_GoesThroughEachListOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		viewer := h.viewer()
		var maxes, all []string
		for i := range 12 {
			id := fmt.Sprintf("max%02d", i)
			h.person(id, user.NoRole, false)
			maxes = append(maxes, id)
		}
		h.newUser("zoe") // who has a code that she has not confirmed
		h.Enroll("max03", "a")
		must(h.t, h.Admins.CountEveryone(h.t.Context()))
		all = append(slices.Clone(maxes), "zoe")
		shown := h.walkList(admin.UserQuery{Take: 5}, viewer)
		shown = slices.DeleteFunc(shown, func(id string) bool { return strings.HasPrefix(id, "viewer") })
		if !slices.Equal(shown, all) {
			h.t.Errorf("all: %v", shown)
		}
		if got := h.walkList(admin.UserQuery{Text: "MAX", Take: 5}, viewer); !slices.Equal(got, maxes) {
			h.t.Errorf("found: %v", got)
		}
		if got := h.walkList(admin.UserQuery{Text: "max", Risk: ways.OneDevice, Take: 5}, viewer); !slices.Equal(got, []string{"max03"}) {
			h.t.Errorf("found at risk: %v", got)
		}
		got := h.walkList(admin.UserQuery{Risk: ways.UnconfirmedCode, Take: 1}, viewer)
		slices.Sort(got)
		if !slices.Equal(got, []string{"max03", "zoe"}) {
			h.t.Errorf("at risk: %v", got)
		}
		for _, text := range []string{"nobody", "max nobody", "'; --", "\xff\xfe", strings.Repeat("max ", 500) + "x"} {
			if got := h.walkList(admin.UserQuery{Text: text, Take: 5}, viewer); text[0] != 'm' && len(got) > 0 && text != "\xff\xfe" {
				h.t.Errorf("%q finds %v", text, got)
			}
		}
	})
}

func TestListUsers_ShowsStateAndRisk(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		viewer := h.viewer()
		h.Enroll("ada", "a")
		h.Enroll("bob", "b")
		h.person("cyd", user.NoRole, true)
		must(h.t, h.Admins.Suspend(h.t.Context(), h.enrollmentOf("bob"), byOperator))
		h.guess(h.UID("ada"), "login", 10)
		list, err := h.Admins.ListUsers(h.t.Context(), admin.UserQuery{Take: 3}, viewer)
		must(h.t, err)
		ada := list.Users[0]
		bob := list.Users[1]
		cyd := list.Users[2]
		if ada.State != user.Enrolled || ada.Devices != 1 || len(ada.Blocks) != 1 || !slices.Contains(ada.Back.Risks, ways.OneDevice) {
			h.t.Errorf("ada %+v", ada)
		}
		if bob.State != user.RecoveryOnly || bob.Devices != 0 || bob.Suspended != 1 {
			h.t.Errorf("bob %+v", bob)
		}
		if cyd.State != user.New || !cyd.Blocked || cyd.Back.Known {
			h.t.Errorf("cyd %+v", cyd)
		}
		totals, err := h.Admins.CountedUsers(h.t.Context(), viewer)
		if err != nil || totals.Users != 4 || totals.Back.Users != 2 {
			h.t.Errorf("totals %+v, %v", totals, err)
		}
	})
}

func TestListUsers_RefusesWhatNoPageHasGiven(t *testing.T) {
	h := newHouse(t, ground.Options{})
	viewer := h.viewer()
	for _, after := range []string{"x", "e30", "!!", "bnVsbA", strings.Repeat("A", 5000)} {
		_, err := h.Admins.ListUsers(t.Context(), admin.UserQuery{After: after, Take: 5}, viewer)
		expect(t, after[:1], err, admin.ErrPage)
	}
	// A place of another list is no fault, and finds nobody twice.
	h.person("ada", user.NoRole, false)
	list, err := h.Admins.ListUsers(t.Context(), admin.UserQuery{Take: 1}, viewer)
	must(t, err)
	for _, q := range []admin.UserQuery{{Text: "ada", After: list.Next, Take: 5}, {Text: "ada", Take: 5}} {
		list, err := h.Admins.ListUsers(t.Context(), q, viewer)
		if err != nil || len(list.Users) != 1 {
			t.Errorf("%+v: %+v, %v", q, list, err)
		}
	}
}
