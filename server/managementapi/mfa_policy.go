package managementapi

import (
	"context"
	"net/http"
	"slices"

	"tutela/storage/audit"
	"tutela/storage/setting"
)

// guardianPolicy is what Auth0 calls the policies of multi-factor authentication. It is kept and shown, and rules nothing: here the login
// system decides when to ask.
var guardianPolicy = setting.OneOf("guardian.policies",
	"what the Management API shows as the policy of when to ask for a second factor; it rules nothing, since the login system decides",
	noPolicy, "all-applications", "confidence-score")

const noPolicy = "none"

// guardianPolicies are none, or one.
type guardianPolicies struct {
	Body []string `nullable:"false" maxItems:"1" doc:"[], [\"all-applications\"] or [\"confidence-score\"]."`
}

func (a *api) mountGuardianPolicies() {
	const path = "/guardian/policies"
	register(a, call{
		Word:        audit.CallGetGuardianPolicies,
		Method:      http.MethodGet,
		Path:        path,
		Summary:     "Get the Multi-factor Authentication Policies",
		Description: "They rule nothing: the login system decides when to ask.",
		Scopes:      []string{"read:mfa_policies"},
	}, a.readGuardianPolicies)
	register(a, call{
		Word:    audit.CallSetGuardianPolicies,
		Method:  http.MethodPut,
		Path:    path,
		Summary: "Set the Multi-factor Authentication Policies",
		Scopes:  []string{"update:mfa_policies"},
	}, a.setGuardianPolicies)
}

func (a *api) readGuardianPolicies(ctx context.Context, _ audit.Actor, _ *struct{}) (*guardianPolicies, error) {
	set, err := a.Access.Policy(ctx, guardianPolicy.Name())
	out := &guardianPolicies{Body: []string{}}
	if err == nil && set.Value != noPolicy {
		out.Body = append(out.Body, set.Value)
	}
	return out, err
}

func (a *api) setGuardianPolicies(ctx context.Context, actor audit.Actor, in *guardianPolicies) (*guardianPolicies, error) {
	value := noPolicy
	if len(in.Body) > 0 {
		value = in.Body[0]
	}
	if len(in.Body) > 1 || slices.Contains(in.Body, noPolicy) {
		return nil, errBody.With(`the policies are [], ["all-applications"] or ["confidence-score"]`)
	}
	return in, a.Access.SetPolicies(ctx, actor, map[string]string{guardianPolicy.Name(): value})
}
