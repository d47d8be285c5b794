package access

import (
	"errors"
	"testing"

	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// What a role sets, it sets; what weakens takes an owner who has just shown his passkey. The role is the user's now, not the session's.
func TestSetPolicies_OfAnAdminFollowTheRoleAndThePasskey(t *testing.T) {
	h := newHouse(t)
	desk := h.admin("desk", user.Helpdesk, "manage:policies")
	ada := h.admin("ada", user.Admin, "manage:policies", admin.ScopeResetAdminMFA)
	stale := h.admin("boss", user.Owner, "manage:policies")
	fresh := audit.ByAdmin(stale.ActsAs(), []string{"manage:policies", admin.ScopeResetAdminMFA})
	for _, c := range []struct {
		what        string
		actor       audit.Actor
		name, value string
		want        error
	}{
		{"the help desk, a factor", desk, "push.provider", "direct", admin.ErrRefused},
		{"an admin, a provider", ada, "push.provider", "direct", nil},
		{"an admin, a policy", ada, "restore.wait", "5m", admin.ErrRefused},
		{"an owner, a policy", stale, "restore.wait", "5m", nil},
		{"an owner, weaker", stale, "restore.veto", "off", admin.ErrProveAgain},
		{"an owner with a passkey", fresh, "restore.veto", "off", nil},
		{"an owner, stronger", stale, "restore.veto", "on", nil},
		{"an owner, out of bounds", fresh, "restore.wait", "30m", setting.ErrValue},
		{"an admin, weaker, by a passkey", ada, "approval.presence", "tap", admin.ErrRefused},
	} {
		err := h.SetPolicies(h.ctx(), c.actor, map[string]string{c.name: c.value})
		if c.want == nil {
			must(t, err)
			continue
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	must(t, h.store.Update(h.ctx(), func(tx *storage.Tx) error {
		_, err := user.Change(tx, fresh.ActsAs(), func(u *user.User) error {
			u.Blocked = true
			return nil
		})
		return err
	}))
	wantErr(t, h.SetPolicies(h.ctx(), fresh, map[string]string{"restore.wait": "6m"}), admin.ErrRefused)
	if events := h.events(audit.TenantUpdate); len(events) == 0 || events[0].By != fresh.By() && events[0].By != ada.By() {
		t.Errorf("events %+v", events)
	}
}
