package managementapi

import (
	"context"
	"net/http"

	"tutela/storage/audit"
)

// codeOutput is a recovery code, which is shown once.
type codeOutput struct {
	Body struct {
		RecoveryCode string `json:"recovery_code"`
	}
}

func (a *api) mountCodes() {
	register(a, call{
		Word:        audit.CallRegenerateCode,
		Method:      http.MethodPost,
		Path:        "/users/{id}/recovery-code-regeneration",
		Summary:     "Generate New Multi-factor Authentication Recovery Code",
		Scopes:      []string{"update:users", "issue:recovery_codes"},
		Description: "The old code dies, and the user's phones are told. You have seen the new one: it counts for 24 hours.",
	}, a.regenerateCode)
}

func (a *api) regenerateCode(ctx context.Context, actor audit.Actor, in *UserPath) (*codeOutput, error) {
	code, err := a.Admins.Regenerate(ctx, in.ID, actor)
	if err != nil {
		return nil, err
	}
	out := &codeOutput{}
	out.Body.RecoveryCode = string(code)
	return out, nil
}
