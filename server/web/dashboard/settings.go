package dashboard

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"tutela/device"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/server/access"
	"tutela/server/web/page"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

const settingsPath = "admin/settings"

func (p *pages) mountSettings() {
	const read = "read:mfa_policies"
	p.get("/admin/settings", read, p.settings)
	p.form("/admin/settings/:policy", read, p.setPolicy, p.policy) // the domain asks who may
}

// shownPolicy is a policy in the words of people.
type shownPolicy struct {
	setting.Info
	setting.Shape
	Least user.Role // the lowest that sets it
	May   bool      // the admin has that
}

// IsFactor reports whether the policy switches a factor on and off.
func (p shownPolicy) IsFactor() bool { return strings.HasPrefix(p.Name, "factor.") }

// IsOn reports whether a factor is on.
func (p shownPolicy) IsOn() bool { return p.Value == device.FactorValue(true) }

// Weakens reports whether the policy would be weaker with another value than it is now.
func (p shownPolicy) Weakens(to string) bool { return access.Weakens(p.Name, p.Value, to) }

// CanBeWeaker reports whether there is a value that is weaker than the present one, or than the default.
func (p shownPolicy) CanBeWeaker() bool {
	return p.Name == "approval.digits" || slices.ContainsFunc(p.Words, func(word string) bool {
		return slices.ContainsFunc(p.Words, func(from string) bool { return access.Weakens(p.Name, from, word) })
	})
}

// IsWeaker reports whether the policy is weaker than an installation begins with.
func (p shownPolicy) IsWeaker() bool { return access.Weakens(p.Name, p.Default, p.Value) }

// Long reports whether the value takes a field of several lines.
func (p shownPolicy) Long() bool { return p.Name == "brand.logo" }

// Icon names the picture of a factor.
func (p shownPolicy) Icon() string { return strings.TrimPrefix(p.Name, "factor.") }

// policyTexts has the words for policies. Of one that the catalogue does not know, the domain's own are shown.
type policyTexts struct {
	Shell
	Totals  ways.Totals
	Counted bool
}

// text returns a text about a policy, or what stands for it.
func (t policyTexts) text(p shownPolicy, of, instead string) string {
	key := "admin_settings.policy." + p.Name + "." + of
	if said := t.T(key); said != key {
		return said
	}
	return instead
}

// Named is what people call a policy.
func (t policyTexts) Named(p shownPolicy) string { return t.text(p, "title", p.Name) }

// What is what a policy rules.
func (t policyTexts) What(p shownPolicy) string { return t.text(p, "what", p.About) }

// Value is a value of a policy as people read it.
func (t policyTexts) Value(p shownPolicy, value string) string {
	switch {
	case value == "":
		return t.T("admin_settings.empty")
	case p.Words == nil:
		return page.Short(value)
	}
	return t.text(p, "value."+value+".is", value)
}

// Means is what a value of a policy does.
func (t policyTexts) Means(p shownPolicy, value string) string {
	return t.text(p, "value."+value+".means", "")
}

// Takes is which values a policy takes.
func (t policyTexts) Takes(p shownPolicy) string {
	switch {
	case p.Low != "":
		return t.T("admin_settings.from_to", p.Low, p.High)
	case p.Words != nil:
		return strings.Join(p.Words, ", ")
	}
	return t.text(p, "takes", p.Accepts)
}

// Who is who sets a policy.
func (t policyTexts) Who(p shownPolicy) string {
	who := t.T("admin_settings.who." + string(p.Least))
	if p.CanBeWeaker() {
		who += " " + t.T("admin_settings.who.weaker")
	}
	return who
}

// settingsPage is the page of factors and policies.
type settingsPage struct {
	policyTexts
	Factors  []shownPolicy
	Policies []shownPolicy
}

func (p *pages) settings(c *Call) (page.Reply, error) {
	list, err := p.Access.Policies(c.UserContext())
	shown := settingsPage{policyTexts: policyTexts{Shell: c.Shell(settingsPath)}}
	for _, info := range list {
		if one := c.shownPolicy(info); one.IsFactor() {
			shown.Factors = append(shown.Factors, one)
		} else {
			shown.Policies = append(shown.Policies, one)
		}
	}
	return page.Reply{Template: "settings.html", Data: shown}, err
}

func (c *Call) shownPolicy(info setting.Info) shownPolicy {
	least := access.LeastToSet(info.Name)
	return shownPolicy{
		Info:  info,
		Shape: setting.ShapeOf(info.Name),
		Least: least,
		May:   !least.Above(c.Session.User.Role),
	}
}

// policyPage is the page of one policy.
type policyPage struct {
	policyTexts
	Policy shownPolicy
	Fresh  bool
	Typed  string // what was sent, or the value
	Fault  string // below admin_settings.fault in the catalogue; "": nothing is wrong
	Said   string // the domain's own words about it
}

// Path is the page's own.
func (p policyPage) Path() string { return settingsPath + "/" + p.Policy.Name }

// Affected is how many users have what a factor is about; -1: nobody counts that.
func (p policyPage) Affected() int64 {
	way, counted := map[string]ways.Way{"factor.recovery_code": ways.ByCode}[p.Policy.Name]
	if !counted || !p.Counted {
		return -1
	}
	return p.Totals.Ways[way]
}

func (p *pages) policy(c *Call) (page.Reply, error) { return p.policyPage(c, "", nil) }

// policyPage shows a policy. fault is why what was typed was not taken.
func (p *pages) policyPage(c *Call, typed string, fault error) (page.Reply, error) {
	info, err := p.Access.Policy(c.UserContext(), c.Params("policy"))
	if err != nil {
		return page.Reply{}, err
	}
	shown := policyPage{
		policyTexts: policyTexts{Shell: c.Shell(settingsPath)},
		Policy:      c.shownPolicy(info),
		Fresh:       c.Session.Fresh,
		Typed:       info.Value,
	}
	shown.Totals, err = p.Admins.Recoverability(c.UserContext())
	shown.Counted = err == nil
	if err != nil && !errors.Is(err, admin.ErrCounting) {
		return page.Reply{}, err
	}
	status := http.StatusOK
	if fault != nil {
		shown.Typed = typed
		shown.Said = fault.Error()
		shown.Fault, status = policyFault(fault)
	}
	return page.Reply{Status: status, Template: "policy.html", Data: shown}, nil
}

// policyFault names why a policy was not set.
func policyFault(err error) (name string, status int) {
	switch {
	case errors.Is(err, setting.ErrValue):
		return "value", http.StatusBadRequest
	case errors.Is(err, access.ErrWeakens):
		return "weakens", http.StatusForbidden
	case errors.Is(err, admin.ErrRefused):
		return "role", http.StatusForbidden
	}
	return "conflict", http.StatusConflict
}

// setPolicy sets a policy as the Management API does.
func (p *pages) setPolicy(c *Call) (page.Reply, error) {
	name := c.Params("policy")
	value := strings.TrimSpace(c.Posted("value"))
	err := p.Access.SetPolicies(c.UserContext(), c.Session.Actor().In(audit.CallChangePolicies), map[string]string{name: value})
	switch code := storage.CodeOf(err); {
	case err == nil:
		return c.GoTo(settingsPath, nil), nil
	case errors.Is(err, admin.ErrProveAgain), errors.Is(err, setting.ErrUnknown):
		return page.Reply{}, err
	case code == storage.Invalid, code == storage.Conflict, code == storage.Denied:
		return p.policyPage(c, value, err)
	}
	return page.Reply{}, err
}
