package appapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// mountPush mounts what an app asks before it has a push address.
func (a *api) mountPush() {
	register(a, byNobody, huma.Operation{
		OperationID: "get-web-push",
		Method:      http.MethodGet,
		Path:        "/api/push/web",
		Summary:     "The key for a Web Push subscription",
		Description: "For PushManager.subscribe (applicationServerKey) or a UnifiedPush distributor. It stays the same for the life of the installation.",
	}, a.webPush)
}

type webPushOutput struct {
	Body struct {
		PublicKey string `json:"public_key" doc:"VAPID key (RFC 8292): a point of P-256, uncompressed, in unpadded base64url."`
	}
}

func (a *api) webPush(context.Context, *caller, *struct{}) (*webPushOutput, error) {
	out := &webPushOutput{}
	out.Body.PublicKey = a.WebPush
	return out, nil
}
