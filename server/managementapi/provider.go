package managementapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"unicode/utf8"

	"tutela/device"
	"tutela/device/push/provider"
	"tutela/storage/audit"
)

const pushPath = factorsPath + "/push-notification"

// pushProvider says whose credentials for push services count.
type pushProvider struct {
	Body struct {
		Provider string `json:"provider" doc:"guardian: those of the command line; direct: those that are set here. sns is refused."`
	}
}

// apnsProvider is what is set for APNs.
type apnsProvider struct {
	Body struct {
		Bundle  *string `json:"bundle_id" doc:"null until it is set."`
		Sandbox bool    `json:"sandbox"`
		Enabled bool    `json:"enabled" doc:"There is a certificate, and messages can go by it."`
	}
}

// apnsChange changes what is set for APNs.
type apnsChange struct {
	Body struct {
		Bundle  *string `json:"bundle_id,omitempty" nullable:"true" maxLength:"255"`
		Sandbox *bool   `json:"sandbox,omitempty" nullable:"true"`
		P12     *string `json:"p12,omitempty" nullable:"true" maxLength:"50000" doc:"Base64 of a PKCS#12 file with an empty password. One that is left out stays as it is."`
	}
}

// apnsChanged is what has become of it.
type apnsChanged struct {
	Body struct {
		Sandbox bool    `json:"sandbox"`
		Bundle  *string `json:"bundle_id"`
	}
}

// maxKeyFile bounds a key file, in characters.
const maxKeyFile = 10_000

// fcmChange changes what is set for FCM.
type fcmChange struct {
	Body struct {
		Credentials *string `json:"server_credentials,omitempty" nullable:"true" maxLength:"10000" doc:"The key file of a service account, as text. Whatever cannot be used is taken, and told by an event, the log and /readyz. One that is left out stays as it is."`
	}
}

type emptyObject struct{ Body struct{} }

func (a *api) mountProviders() {
	register(a, call{
		Word:    audit.CallGetPushProvider,
		Method:  http.MethodGet,
		Path:    pushPath + "/selected-provider",
		Summary: "Retrieve the Push Notification Provider",
		Scopes:  readFactors,
	}, a.readPushProvider)
	register(a, call{
		Word:    audit.CallSetPushProvider,
		Method:  http.MethodPut,
		Path:    pushPath + "/selected-provider",
		Summary: "Update the Push Notification Provider",
		Scopes:  updateFactors,
	}, a.setPushProvider)
	register(a, call{
		Word:    audit.CallGetPushAPNs,
		Method:  http.MethodGet,
		Path:    pushPath + "/providers/apns",
		Summary: "Retrieve the APNs Configuration",
		Scopes:  readFactors,
	}, a.readAPNs)
	for _, one := range []call{
		{Word: audit.CallSetPushAPNs, Method: http.MethodPut, Description: "What is left out is set back, but for p12, which nobody can read again."},
		{Word: audit.CallPatchPushAPNs, Method: http.MethodPatch, Description: "What is left out stays as it is."},
	} {
		one.Path = pushPath + "/providers/apns"
		one.Summary = "Update the APNs Configuration"
		one.Scopes = updateFactors
		register(a, one, func(ctx context.Context, actor audit.Actor, in *apnsChange) (*apnsChanged, error) {
			return a.changeAPNs(ctx, actor, in, one.Method == http.MethodPut)
		})
	}
	for _, one := range []call{
		{Word: audit.CallSetPushFCM, Method: http.MethodPut},
		{Word: audit.CallPatchPushFCM, Method: http.MethodPatch},
	} {
		one.Path = pushPath + "/providers/fcmv1"
		one.Summary = "Update the FCM HTTP v1 Configuration"
		one.Scopes = updateFactors
		register(a, one, a.changeFCM)
	}
}

func (a *api) readPushProvider(ctx context.Context, _ audit.Actor, _ *struct{}) (*pushProvider, error) {
	set, err := a.Access.Policy(ctx, provider.Setting())
	if err != nil {
		return nil, err
	}
	out := &pushProvider{}
	out.Body.Provider = set.Value
	return out, nil
}

// errNoSNS refuses Amazon's service.
var errNoSNS = device.ErrFactor.With("sns is not available here; guardian and direct are")

func (a *api) setPushProvider(ctx context.Context, actor audit.Actor, in *pushProvider) (*pushProvider, error) {
	if in.Body.Provider == "sns" {
		return nil, errNoSNS
	}
	return in, a.Access.SetPolicies(ctx, actor, map[string]string{provider.Setting(): in.Body.Provider})
}

func (a *api) readAPNs(ctx context.Context, _ audit.Actor, _ *struct{}) (*apnsProvider, error) {
	set, err := a.Push.APNs(ctx)
	if err != nil {
		return nil, err
	}
	out := &apnsProvider{}
	out.Body.Bundle = known(set.Bundle)
	out.Body.Sandbox = set.Sandbox
	out.Body.Enabled = set.Enabled
	return out, nil
}

func (a *api) changeAPNs(ctx context.Context, actor audit.Actor, in *apnsChange, replace bool) (*apnsChanged, error) {
	change := provider.APNsChange{Bundle: in.Body.Bundle, Sandbox: in.Body.Sandbox, Replace: replace}
	if in.Body.P12 != nil {
		decoded, err := base64.StdEncoding.DecodeString(*in.Body.P12)
		if err != nil {
			return nil, provider.ErrCertificate
		}
		change.P12 = decoded
	}
	set, err := a.Push.SetAPNs(ctx, actor, change)
	if err != nil {
		return nil, err
	}
	out := &apnsChanged{}
	out.Body.Sandbox = set.Sandbox
	out.Body.Bundle = known(set.Bundle)
	return out, nil
}

func (a *api) changeFCM(ctx context.Context, actor audit.Actor, in *fcmChange) (*emptyObject, error) {
	if text := in.Body.Credentials; text != nil && utf8.RuneCountInString(*text) > maxKeyFile {
		return nil, errBody.With("server_credentials has at most %d characters", maxKeyFile)
	}
	return &emptyObject{}, a.Push.SetFCM(ctx, actor, in.Body.Credentials)
}
