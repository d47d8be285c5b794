package admin_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"tutela/device"
	"tutela/device/otp"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// change is a use case that changes how a user gets in, or who she is.
type change struct {
	least user.Role // the lowest role whose session may do it to a lower role
	do    func(h *house, id string, actor audit.Actor) error
}

// enrollmentOf returns an enrollment of a user, which is made when she has none.
func (h *house) enrollmentOf(id string) string {
	h.t.Helper()
	list, err := h.Admins.EnrollmentsOf(context.Background(), id)
	must(h.t, err)
	if len(list) > 0 {
		return list[0].ID
	}
	return h.Enroll(id, storage.NewID("app", 6)).Enrolled.ID
}

// changes are all use cases of admins that change something of a user: TestRoleMatrix_KnowsEveryChange holds that.
var changes = map[string]change{
	"SetRole": {user.Owner, func(h *house, id string, a audit.Actor) error {
		return h.Admins.SetRole(context.Background(), id, user.Viewer, a)
	}},
	"SetBlocked": {user.Admin, func(h *house, id string, a audit.Actor) error {
		return h.Admins.SetBlocked(context.Background(), id, true, a)
	}},
	"ChangeUser": {user.Admin, func(h *house, id string, a audit.Actor) error {
		email := storage.NewID("", 6) + "@example.com"
		_, err := h.Admins.ChangeUser(context.Background(), id, admin.UserChange{Email: &email}, a)
		return err
	}},
	"Suspend": {user.Helpdesk, func(h *house, id string, a audit.Actor) error {
		return h.Admins.Suspend(context.Background(), h.enrollmentOf(id), a)
	}},
	"Resume": {user.Helpdesk, func(h *house, id string, a audit.Actor) error {
		return h.Admins.Resume(context.Background(), h.enrollmentOf(id), a)
	}},
	"Unlock": {user.Helpdesk, func(h *house, id string, a audit.Actor) error {
		return h.Admins.Unlock(context.Background(), id, a)
	}},
	"ForgetBrowsers": {user.Helpdesk, func(h *house, id string, a audit.Actor) error {
		return h.Admins.ForgetBrowsers(context.Background(), id, a)
	}},
	"Regenerate": {user.Helpdesk, func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.Regenerate(context.Background(), id, a)
		return err
	}},
	"RegenerateOnce": {user.Helpdesk, func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.RegenerateOnce(context.Background(), id, "", a)
		return passed(err)
	}},
	"NewTicket": {user.Helpdesk, func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.NewTicket(context.Background(), admin.TicketRequest{User: user.User{ID: id}, AllowMultiple: true}, a)
		return err
	}},
	"Undelete": {user.Helpdesk, func(h *house, id string, a audit.Actor) error {
		return passed(h.Admins.Undelete(context.Background(), id, "bkp_none", a))
	}},
	"CheckCaller": {user.Helpdesk, func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.CheckCaller(context.Background(), id, "Help desk", "", a)
		return passed(err)
	}},
	"Reset": {user.Helpdesk, func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.Reset(context.Background(), id, recovery.ResetRequest{Reason: "x", DryRun: true}, a)
		return err
	}},
	"ImportMethod": {user.Admin, func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.ImportMethod(context.Background(), id, device.Imported{Secret: otp.NewSecret()}, a)
		return err
	}},
	"RenameMethod": {user.Admin, func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.RenameMethod(context.Background(), id, "push|"+h.enrollmentOf(id), "Work", a)
		return passed(err)
	}},
	"ReplaceMethods": {user.Admin, func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.ReplaceMethods(context.Background(), id, []admin.WantedMethod{{Import: device.Imported{Secret: otp.NewSecret()}}}, a)
		return err
	}},
	"RemoveMethod": {user.Admin, func(h *house, id string, a audit.Actor) error {
		return passed(h.Admins.RemoveMethod(context.Background(), id, "push|"+h.enrollmentOf(id), a))
	}},
	"RemoveType": {user.Admin, func(h *house, id string, a audit.Actor) error {
		return h.Admins.RemoveType(context.Background(), id, device.TypeOTP, a)
	}},
	"RemoveAll": {user.Admin, func(h *house, id string, a audit.Actor) error {
		return h.Admins.RemoveAll(context.Background(), id, a)
	}},
	"RemoveEnrollment": {user.Admin, func(h *house, id string, a audit.Actor) error {
		return h.Admins.RemoveEnrollment(context.Background(), h.enrollmentOf(id), a)
	}},
	"Delete": {user.Admin, func(h *house, id string, a audit.Actor) error {
		return h.Admins.Delete(context.Background(), id, a)
	}},
}

// dashboard are the scopes of a session whose admin has just shown who he is.
var dashboard = []string{"reset:mfa", admin.ScopeResetAdminMFA, admin.ScopeIssueCodes}

// reads are the use cases by which a person who is signed in as an admin looks at users.
var reads = map[string]func(h *house, id string, actor audit.Actor) error{
	"ListUsers": func(h *house, _ string, a audit.Actor) error {
		_, err := h.Admins.ListUsers(context.Background(), admin.UserQuery{Take: 1}, a)
		return err
	},
	"CountedUsers": func(h *house, _ string, a audit.Actor) error {
		_, err := h.Admins.CountedUsers(context.Background(), a)
		return err
	},
	"SeenBy": func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.SeenBy(context.Background(), id, a)
		return err
	},
	"WhoMay": func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.WhoMay(context.Background(), id, admin.ChangeFactors, a)
		return err
	},
	"HistoryOf": func(h *house, id string, a audit.Actor) error {
		_, err := h.Admins.HistoryOf(context.Background(), id, 0, 1, a)
		return err
	},
	"ReceiptOf": func(h *house, id string, a audit.Actor) error {
		_, _, err := h.Admins.ReceiptOf(context.Background(), id, "rcp_none", a)
		return passed(err)
	},
	"LatestCallerCheck": func(h *house, id string, a audit.Actor) error {
		_, _, err := h.Admins.LatestCallerCheck(context.Background(), id, a)
		return err
	},
}

// passed is what a use case says that the rule has let go on: that there is nothing to work on is none of the rule's.
func passed(err error) error {
	if err == nil || errors.Is(err, admin.ErrRefused) {
		return err
	}
	return nil
}

// ranks are the roles, the lowest first.
var ranks = []user.Role{user.NoRole, user.Viewer, user.Helpdesk, user.Admin, user.Owner}

// Each change is tried by each role, by the operator and by programs, on a user, an admin, an owner and oneself.
func TestRoleMatrix_EachChangeByEachRoleOnEachTarget(t *testing.T) {
	check.WithoutRace(t)
	if testing.Short() {
		t.Skip("tries every change by everybody on everybody: run it without -short")
	}
	h := newHouse(t, ground.Options{})
	h.person("another owner", user.Owner, false)
	h.enrollmentOf("another owner") // so that none is the last who can sign in
	for name, c := range changes {
		for _, target := range ranks {
			for _, who := range ranks {
				id := storage.NewID("target-", 8)
				h.person(id, target, false)
				by := audit.ByAdmin(h.person(storage.NewID("who-", 8), who, false).UID, dashboard)
				want := !c.least.Above(who) && who.Above(target)
				h.try(fmt.Sprintf("%s by %q on %q", name, who, target), c, id, by, want)
			}
			h.tryPrograms(name, c, target)
		}
		for _, who := range ranks {
			id := storage.NewID("self-", 8)
			self := h.person(id, who, false)
			h.try(fmt.Sprintf("%s by %q on himself", name, who), c, id, audit.ByAdmin(self.UID, dashboard), false)
		}
	}
}

// tryPrograms tries a change by the operator and by clients, of a user with a role.
func (h *house) tryPrograms(name string, c change, target user.Role) {
	h.t.Helper()
	guarded := !user.Admin.Above(target)
	for who, may := range map[string]bool{
		"operator": true,
		"client":   !guarded && name != "SetRole",
		"strong":   name != "SetRole",
		"own":      false,
		"behind":   false,
		"user":     false,
		"nobody":   false,
	} {
		id := storage.NewID("target-", 8)
		u := h.person(id, target, false)
		strong := []string{admin.ScopeResetAdminMFA}
		actor := map[string]audit.Actor{
			"operator": audit.ByOperator(0),
			"client":   audit.ByClient("c", nil, storage.House),
			"strong":   audit.ByClient("c", strong, storage.House),
			"own":      audit.ByClient("c", strong, u.UID),
			"behind":   audit.ByClient("c", strong, storage.House).WithBehind(u.UID),
			"user":     audit.ByUser(),
			"nobody":   {},
		}[who]
		h.try(fmt.Sprintf("%s by %s on %q", name, who, target), c, id, actor, may)
	}
}

func (h *house) try(what string, c change, id string, actor audit.Actor, may bool) {
	h.t.Helper()
	err := c.do(h, id, actor)
	if refused := errors.Is(err, admin.ErrRefused); refused == may || err != nil && !refused {
		h.t.Errorf("%s: %v, may: %t", what, err, may)
	}
}

// Whoever adds a use case that takes an actor says here who may do it to whom.
func TestRoleMatrix_KnowsEveryChange(t *testing.T) {
	service := reflect.TypeFor[*admin.Service]()
	for i := range service.NumMethod() {
		method := service.Method(i)
		takesActor := false
		for n := range method.Type.NumIn() {
			takesActor = takesActor || method.Type.In(n) == reflect.TypeFor[audit.Actor]()
		}
		_, changing := changes[method.Name]
		_, reading := reads[method.Name]
		ofNobody := method.Name == "AddUser" || method.Name == "TestPush" // it changes nothing of a user: see TestTestPush_IsAnAdminsWhoeversPhoneItIs
		if takesActor && !changing && !reading && !ofNobody {
			t.Errorf("%s takes an actor: who may do it to whom? Say so in changes or reads", method.Name)
		}
	}
}

// Each read is tried by each role, by one who is blocked or gone, and by whom no session let in.
func TestRoleMatrix_WhoIsNoAdminAnyMoreReadsNothing(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.person("target", user.Owner, false)
	for name, do := range reads {
		for _, who := range ranks {
			by := audit.ByAdmin(h.person(storage.NewID("who-", 8), who, false).UID, nil)
			h.try(fmt.Sprintf("%s by %q", name, who), change{do: do}, "target", by, who != user.NoRole)
			by = audit.ByAdmin(h.person(storage.NewID("who-", 8), who, true).UID, dashboard)
			h.try(fmt.Sprintf("%s by %q, blocked", name, who), change{do: do}, "target", by, false)
		}
		for what, by := range map[string]audit.Actor{"gone": audit.ByAdmin(storage.NewUID(), dashboard), "a user": audit.ByUser(), "nobody": {}} {
			h.try(name+" by "+what, change{do: do}, "target", by, false)
		}
		h.try(name+" by the operator", change{do: do}, "target", audit.ByOperator(0), true)
	}
}

// Whatever an admin changes who is signed in, an event says that it was he.
func TestRoleMatrix_EachChangeIsAnEventWithTheAdminsUID(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.person("another owner", user.Owner, false)
	boss := audit.ByAdmin(h.person("boss", user.Owner, false).UID, dashboard).In("test")
	for name, c := range changes {
		id := storage.NewID("target-", 8)
		uid := h.person(id, user.NoRole, false).UID
		h.enrollmentOf(id)
		if err := c.do(h, id, boss); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mine := 0
		for _, e := range h.eventsAbout(uid) {
			if e.By == boss.By() {
				mine++
			}
		}
		// A dry run changes nothing, nor does what finds nothing to work on.
		nothing := map[string]bool{"Reset": true, "Undelete": true, "CheckCaller": true, "RegenerateOnce": true, "Resume": true}
		if (mine > 0) == nothing[name] {
			t.Errorf("%s left %d events of the admin", name, mine)
		}
	}
}
