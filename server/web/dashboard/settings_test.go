package dashboard

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tutela/recovery/user"
	"tutela/storage/audit"
	"tutela/storage/setting"
	"tutela/storage/storagetest/check"
)

// valueOf is the value of a policy.
func (h *house) valueOf(name string) string {
	h.t.Helper()
	info, err := h.Access.Policy(h.t.Context(), name)
	check.Must(h.t, err)
	return info.Value
}

func TestBrowser_FactorsAndPolicies(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	c := h.boss("ada", user.Owner)
	c.PressNamed("Factors and policies")
	c.Sees("Factors and policies")
	c.PressNamed("Turn off… One-time code")
	c.Sees("One-time code")
	c.Says("Turning this off takes it from everybody at the next login.")
	c.Eval(`document.querySelector('input[value="off"]').click()`)
	c.PressNamed("Save the change")
	c.Sees("Factors and policies")
	if got := h.valueOf("factor.otp"); got != "off" {
		t.Errorf("factor.otp is %s", got)
	}
	events := h.Events(audit.TenantUpdate)
	member, err := h.SignIn.MemberOf(t.Context(), "ada")
	check.Must(t, err)
	if last := events[len(events)-1]; last.By != audit.ByAdmin(member.User.UID, nil).By() || last.Facts["policy"] != "factor.otp" {
		t.Errorf("the event: %+v", last)
	}
	// What is weaker takes the passkey, and is not lost on a page that says nothing.
	h.Clock.Advance(6 * time.Minute)
	c.PressNamed("Before a new phone gets a backup")
	c.Sees("Before a new phone gets a backup")
	c.Says("Weaker than now")
	c.Eval(`document.querySelector('input[value="off"]').click()`)
	c.PressNamed("Save the change")
	c.Sees("Show your passkey once more")
	c.PressNamed("Use your passkey")
	c.Sees("Before a new phone gets a backup")
	if got := h.valueOf("restore.veto"); got != "alive" {
		t.Errorf("restore.veto is %s", got)
	}
	c.Eval(`document.querySelector('input[value="off"]').click()`)
	c.PressNamed("Save the change")
	c.Sees("Factors and policies")
	c.Says("Weaker than it comes")
	if got := h.valueOf("restore.veto"); got != "off" {
		t.Errorf("restore.veto is %s", got)
	}
	c.PressNamed("Overview")
	c.Sees("Overview")
	c.Says("Before a new phone gets a backup: weaker than it comes")
	c.PressNamed("Before a new phone gets a backup")
	c.Sees("Before a new phone gets a backup")
	c.PressNamed("Factors and policies")
	// The domain's refusals, in words. Without script it is the same.
	c.WithoutScript()
	c.PressNamed("Wait for an old phone that calls")
	c.Sees("Wait for an old phone that calls")
	c.Type("#value", "30m")
	c.PressNamed("Save the change")
	c.Says("It does not take this value. The old one still stands.")
	c.Go(h.Base + "/admin/settings/brand.colour")
	c.Type("#value", "#f28c28")
	c.PressNamed("Save the change")
	c.Says("4.5")
	c.Speaks("de")
	c.Go(h.Base + "/admin/settings")
	c.Sees("Faktoren und Regeln")
	c.Go(h.Base + "/admin/settings/approval.presence")
	c.Sees("Was eine Bestätigung verlangt")
}

func TestSettings_EachRoleIsRefusedWhatItDoesNotSet(t *testing.T) {
	h := newHouse(t)
	h.invite("boss", user.Owner, false)
	for role, may := range map[user.Role]map[string]bool{
		user.Viewer:   {},
		user.Helpdesk: {},
		user.Admin:    {"factor.otp": true, "push.provider": true},
		user.Owner:    {"factor.otp": true, "push.provider": true, "restore.wait": true, "approval.presence": true},
	} {
		c := h.signedIn("one-"+string(role), role)
		for name, value := range map[string]string{"factor.otp": "off", "push.provider": "direct", "restore.wait": "5m", "approval.presence": "tap"} {
			check.Must(t, h.Access.SetPolicies(t.Context(), audit.ByOperator(0), map[string]string{name: defaultOf(t, h, name)}))
			a := c.Get("/admin/settings/" + name)
			if a.Status != http.StatusOK || strings.Contains(a.Body, `type="submit">Save the change`) != may[name] {
				t.Errorf("%s looks at %s: %d, and may save: %v", role, name, a.Status, !may[name])
			}
			a = c.Post("/admin/settings/"+name, url.Values{"value": {value}})
			if changed := h.valueOf(name) == value; changed != may[name] || !changed && a.Status != http.StatusForbidden {
				t.Errorf("%s sets %s: %d, changed %v", role, name, a.Status, changed)
			}
		}
	}
}

func defaultOf(t *testing.T, h *house, name string) string {
	t.Helper()
	info, err := h.Access.Policy(t.Context(), name)
	check.Must(t, err)
	return info.Default
}

// Every policy has its words in both languages: the domain's own are English.
func TestSettings_EachPolicyIsInTheCatalogue(t *testing.T) {
	h := newHouse(t)
	list, err := h.Access.Policies(t.Context())
	check.Must(t, err)
	c := h.signedIn("ada", user.Owner)
	c.Header = []string{"Accept-Language", "de"}
	for _, info := range list {
		if strings.HasPrefix(info.Name, "test.") {
			continue
		}
		a := c.Get("/admin/settings/" + info.Name)
		if a.Status != http.StatusOK || strings.Contains(a.Body, "<h1>"+info.Name) || strings.Contains(a.Body, info.About) {
			t.Errorf("%s: %d: put it into the catalogue, admin_settings.policy", info.Name, a.Status)
		}
		for _, word := range setting.ShapeOf(info.Name).Words {
			if strings.Contains(a.Body, "<strong>"+word+"</strong>") {
				t.Errorf("%s: the value %q has no words", info.Name, word)
			}
		}
	}
}
