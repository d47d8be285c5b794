package managementapi

import (
	"context"
	"net/http"

	"tutela/storage/audit"
)

func (a *api) mountBrowsers() {
	register(a, call{
		Word:        audit.CallForgetBrowsers,
		Method:      http.MethodPost,
		Path:        "/users/{id}/multifactor/actions/invalidate-remember-browser",
		Summary:     "Invalidate All Remembered Browsers for Multi-factor Authentication",
		Scopes:      []string{"update:users"},
		Status:      http.StatusNoContent,
		Description: "Each browser that the user has had remembered is asked again at its next login.",
	}, a.forgetBrowsers)
}

func (a *api) forgetBrowsers(ctx context.Context, actor audit.Actor, in *UserPath) (*struct{}, error) {
	return nil, a.Admins.ForgetBrowsers(ctx, in.ID, actor)
}
