package managementapi

import (
	"context"
	"net/http"

	"tutela/storage/audit"
	"tutela/storage/setting"
)

// policy is one policy, as tutela policy shows it.
type policy struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Accepts string `json:"accepts" doc:"What it takes, in words."`
	About   string `json:"about" doc:"What it rules."`
}

type policiesOutput struct{ Body []policy }

// policiesChange gives policies values, by name.
type policiesChange struct {
	Body map[string]string `nullable:"false" doc:"All are set, or none."`
}

func (a *api) mountPolicies() {
	const path = "/policies"
	register(a, call{
		Word:    audit.CallListPolicies,
		Method:  http.MethodGet,
		Path:    path,
		Summary: "List the Installation's Policies",
		Scopes:  readFactors,
	}, a.listPolicies)
	register(a, call{
		Word:        audit.CallChangePolicies,
		Method:      http.MethodPatch,
		Path:        path,
		Summary:     "Change the Installation's Policies",
		Description: "All that are named are set, or none. What would weaken one is refused: that takes the operator.",
		Scopes:      []string{"manage:policies"},
	}, a.changePolicies)
}

func (a *api) listPolicies(ctx context.Context, _ audit.Actor, _ *struct{}) (*policiesOutput, error) {
	list, err := a.Access.Policies(ctx)
	return shownPolicies(list), err
}

func (a *api) changePolicies(ctx context.Context, actor audit.Actor, in *policiesChange) (*policiesOutput, error) {
	list, err := a.Access.ChangePolicies(ctx, actor, in.Body)
	return shownPolicies(list), err
}

func shownPolicies(list []setting.Info) *policiesOutput {
	out := &policiesOutput{Body: make([]policy, 0, len(list))}
	for _, info := range list {
		out.Body = append(out.Body, policy(info))
	}
	return out
}
