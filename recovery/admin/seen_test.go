package admin_test

import (
	"testing"

	"tutela/device/login"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

// Why is an answer to people; May is the rule. They never differ.
func TestSeenBy_SaysOfEachActionWhatTheRuleSays(t *testing.T) {
	h := newHouse(t, ground.Options{})
	all := []admin.Action{
		admin.ChangeFactors, admin.Remove, admin.Suspend, admin.Resume, admin.CheckCaller, admin.Block, admin.Unlock, admin.SetEmail,
		admin.SetRole, admin.Describe,
	}
	for _, who := range ranks {
		for _, scopes := range [][]string{nil, {admin.ScopeResetAdminMFA}} {
			self := h.person(storage.NewID("who-", 8), who, false)
			actor := audit.ByAdmin(self.UID, scopes)
			for _, target := range append([]*user.User{self}, h.ofEachRole()...) {
				seen, err := h.Admins.SeenBy(t.Context(), target.ID, actor)
				if who == user.NoRole {
					expect(t, "no admin", err, admin.ErrRefused)
					continue
				}
				must(t, err)
				for _, action := range all {
					why, said := seen.Refusals[action]
					if err := h.may(actor, action, target); !said || (err == nil) != (why == "") {
						t.Errorf("%q on %q, action %d: %q, %v", who, target.Role, action, why, err)
					}
				}
			}
		}
	}
}

func (h *house) ofEachRole() (list []*user.User) {
	for _, role := range ranks {
		list = append(list, h.person(storage.NewID("target-", 8), role, false))
	}
	return list
}

func TestSeenBy_NamesTheReason(t *testing.T) {
	h := newHouse(t, ground.Options{})
	desk := h.person("desk", user.Helpdesk, false)
	owner := h.person("owner", user.Owner, false)
	h.person("boss", user.Admin, false)
	h.person("ada", user.NoRole, false)
	gone := h.person("gone", user.Owner, true)
	for what, c := range map[string]struct {
		actor  audit.Actor
		target string
		action admin.Action
		want   admin.Refusal
	}{
		"a user":                    {audit.ByAdmin(desk.UID, nil), "ada", admin.ChangeFactors, ""},
		"a removal":                 {audit.ByAdmin(desk.UID, nil), "ada", admin.Remove, admin.RoleTooLow},
		"oneself":                   {audit.ByAdmin(desk.UID, nil), "desk", admin.ChangeFactors, admin.Oneself},
		"an owner himself":          {audit.ByAdmin(owner.UID, nil), "owner", admin.ChangeFactors, admin.Oneself},
		"a higher one":              {audit.ByAdmin(desk.UID, nil), "boss", admin.ChangeFactors, admin.NotBelow},
		"an admin, not proven anew": {audit.ByAdmin(owner.UID, nil), "boss", admin.ChangeFactors, admin.NotFresh},
		"an admin, proven anew":     {audit.ByAdmin(owner.UID, []string{admin.ScopeResetAdminMFA}), "boss", admin.ChangeFactors, ""},
	} {
		seen, err := h.Admins.SeenBy(t.Context(), c.target, c.actor)
		if err != nil || seen.Refusals[c.action] != c.want {
			t.Errorf("%s: %q, %v", what, seen.Refusals[c.action], err)
		}
	}
	for what, actor := range map[string]audit.Actor{"blocked": audit.ByAdmin(gone.UID, nil), "a user": audit.ByUser(), "nobody": {}} {
		_, err := h.Admins.SeenBy(t.Context(), "ada", actor)
		expect(t, what, err, admin.ErrRefused)
	}
}

func TestWhoMay_NamesThoseAboveWhoAreNotBlocked(t *testing.T) {
	h := newHouse(t, ground.Options{})
	viewer := h.viewer()
	for id, role := range map[string]user.Role{"d1": user.Helpdesk, "d2": user.Helpdesk, "a1": user.Admin, "o1": user.Owner, "plain": user.NoRole} {
		h.person(id, role, false)
	}
	h.person("o2", user.Owner, true)
	for target, want := range map[string]string{
		"plain": "d d a o", // both of the desk
		"d1":    "a o",
		"a1":    "o",
		"o1":    "",
	} {
		instead, err := h.Admins.WhoMay(t.Context(), target, admin.ChangeFactors, viewer)
		must(t, err)
		got := ""
		for _, p := range instead.People {
			got += " " + p.ID[:1]
		}
		if got != "" {
			got = got[1:]
		}
		if got != want || instead.More {
			t.Errorf("%s: %q, %+v", target, got, instead)
		}
	}
	for range 6 {
		h.person(storage.NewID("desk-", 8), user.Helpdesk, false)
	}
	instead, err := h.Admins.WhoMay(t.Context(), "plain", admin.ChangeFactors, viewer)
	if err != nil || !instead.More || len(instead.People) != 7 {
		t.Errorf("%+v, %v", instead, err)
	}
}

func TestRegenerateOnce_IssuesOneCodeHoweverOftenItIsAsked(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid, old := h.newUser("ada")
		desk := audit.ByAdmin(h.person("desk", user.Helpdesk, false).UID, []string{admin.ScopeIssueCodes})
		seen, err := h.Admins.SeenBy(h.t.Context(), "ada", desk)
		must(h.t, err)
		code, err := h.Admins.RegenerateOnce(h.t.Context(), "ada", seen.CodeMark, desk)
		must(h.t, err)
		_, err = h.Admins.RegenerateOnce(h.t.Context(), "ada", seen.CodeMark, desk)
		expect(h.t, "once more", err, admin.ErrCodeChanged)
		expect(h.t, "the old code", h.spend(uid, recovery.LoginChannel, old), recovery.ErrWrongCode)
		expect(h.t, "the new code", h.spend(uid, recovery.LoginChannel, code), nil)
		without := audit.ByAdmin(desk.ActsAs(), []string{"reset:mfa"})
		_, err = h.Admins.Regenerate(h.t.Context(), "ada", without)
		expect(h.t, "without the scope", err, admin.ErrRefused)
	})
}

func TestHistoryOf_ShowsWhoDidItAndGoesOn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.person("ada", user.NoRole, false)
		boss := h.person("boss", user.Admin, false)
		by := audit.ByAdmin(boss.UID, nil)
		for range 3 {
			must(h.t, h.Admins.SetBlocked(h.t.Context(), "ada", true, by))
		}
		first, err := h.Admins.HistoryOf(h.t.Context(), "ada", 0, 2, by)
		must(h.t, err)
		rest, err := h.Admins.HistoryOf(h.t.Context(), "ada", 2, 2, by)
		must(h.t, err)
		if len(first.Entries) != 2 || !first.More || len(rest.Entries) != 1 || rest.More {
			h.t.Errorf("%d, %t, %d, %t", len(first.Entries), first.More, len(rest.Entries), rest.More)
		}
		if first.People[by.By()].ID != "boss" || first.Entries[0].ID <= rest.Entries[0].ID {
			h.t.Errorf("%+v", first)
		}
	})
}

func TestReceiptOf_SaysWhoHasResetWhom(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.newUser("ada")
		h.newUser("eve")
		boss := audit.ByAdmin(h.person("boss", user.Admin, false).UID, []string{"reset:mfa"})
		receipt, err := h.Admins.Reset(h.t.Context(), "ada", recovery.ResetRequest{Reason: "lost"}, boss)
		must(h.t, err)
		got, by, err := h.Admins.ReceiptOf(h.t.Context(), "ada", receipt.ID, boss)
		if err != nil || got.Reason != "lost" || by.ID != "boss" {
			h.t.Errorf("%+v, %+v, %v", got, by, err)
		}
		_, _, err = h.Admins.ReceiptOf(h.t.Context(), "eve", receipt.ID, boss)
		expect(h.t, "another user's", err, admin.ErrNoReceipt)
		second, err := h.Admins.Reset(h.t.Context(), "ada", recovery.ResetRequest{Reason: "again"}, boss)
		if err != nil || len(second.Removed) != 0 {
			h.t.Errorf("a second reset removed %+v, %v", second.Removed, err)
		}
	})
}

func TestLatestCallerCheck_IsTheOneThatThisAdminHasAsked(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.Enroll("ada", "a")
		_, err := p.Call() // it has signed something
		must(h.t, err)
		one := audit.ByAdmin(h.person("one", user.Helpdesk, false).UID, nil)
		other := audit.ByAdmin(h.person("other", user.Helpdesk, false).UID, nil)
		asked, err := h.Admins.CheckCaller(h.t.Context(), "ada", "Help desk", "about it", one)
		must(h.t, err)
		shown, there, err := h.Admins.LatestCallerCheck(h.t.Context(), "ada", one)
		if err != nil || !there || shown.ID != asked.ID || shown.Number != asked.Number || shown.State != login.CallerPending || shown.Note != "about it" {
			h.t.Errorf("%+v, %t, %v", shown, there, err)
		}
		_, there, err = h.Admins.LatestCallerCheck(h.t.Context(), "ada", other)
		if there || err != nil {
			h.t.Errorf("another admin sees it: %v", err)
		}
	})
}
