package managementapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"tutela/device"
	"tutela/server"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// factorsPath is where the factors lie below the base.
const factorsPath = "/guardian/factors"

// factorNames are the factors that are listed, in Auth0's order. Those that are none of package device are off for ever.
//
// Source: the recordings of Auth0's official clients.
var factorNames = []string{
	"sms", string(device.FactorPush), string(device.FactorOTP), "email", "duo", string(device.FactorRoaming), string(device.FactorPlatform),
	string(device.FactorCode),
}

// guardianFactor is one factor as it is listed.
type guardianFactor struct {
	Name    string `json:"name" enum:"sms,push-notification,otp,email,duo,webauthn-roaming,webauthn-platform,recovery-code"`
	Enabled bool   `json:"enabled"`
	Trial   bool   `json:"trial_expired" doc:"Always false."`
}

type factorsOutput struct{ Body []guardianFactor }

// factorChange switches a factor on or off.
type factorChange struct {
	Name string `path:"name"`
	Body struct {
		Enabled bool `json:"enabled"`
	}
}

type factorOutput struct {
	Body struct {
		Enabled bool `json:"enabled"`
	}
}

// The scopes of the calls about factors.
var (
	readFactors   = []string{"read:guardian_factors"}
	updateFactors = []string{"update:guardian_factors"}
)

func (a *api) mountFactors() {
	register(a, call{
		Word:    audit.CallListFactors,
		Method:  http.MethodGet,
		Path:    factorsPath,
		Summary: "Retrieve Factors",
		Scopes:  readFactors,
	}, a.listFactors)
	register(a, call{
		Word:        audit.CallSetFactor,
		Method:      http.MethodPut,
		Path:        factorsPath + "/{name}",
		Summary:     "Enable or Disable a Multi-factor Authentication Factor",
		Description: "A factor that is off is neither offered nor asked; what is enrolled stays. The recovery code is hidden at logins alone.",
		Scopes:      updateFactors,
	}, a.setFactor)
}

// mountNoFactors refuses what lies below the factors and is not mounted: the factors and providers of Auth0 that are not here. It
// comes after all that is mounted there.
func (a *api) mountNoFactors() {
	a.calls[audit.CallOtherFactor] = call{
		Word:    audit.CallOtherFactor,
		Method:  http.MethodPut,
		Path:    factorsPath + "/{name}/…",
		Summary: "Configure a Factor that Is Not Available",
		Scopes:  updateFactors,
	}
	a.server.Beyond(base+factorsPath, func(method string, asked server.Asked) error {
		c := a.calls[audit.CallOtherFactor]
		if method == http.MethodGet || method == http.MethodHead {
			c.Scopes = readFactors
		}
		who, err := a.admit(c, asked)
		if err != nil {
			return err
		}
		if method != http.MethodGet && method != http.MethodHead {
			a.failed(asked.Context(), who, c, http.StatusBadRequest)
		}
		if strings.HasSuffix(strings.TrimRight(server.CallOf(asked.Context()).Path(), "/"), "/push-notification/providers/fcm") {
			return errOldFCM
		}
		return errNoMethod
	})
}

// errOldFCM is what is said of FCM's API of before.
var errOldFCM = device.ErrFactor.With("Google has ended the legacy FCM API and its server keys: set the key file of a service account at providers/fcmv1")

// errNoMethod is what is said of the factors and providers of Auth0 that are not here.
var errNoMethod = device.ErrFactor.With("this factor or provider is not available here; push-notification, otp, webauthn-roaming, " +
	"webauthn-platform and recovery-code are")

func (a *api) listFactors(ctx context.Context, _ audit.Actor, _ *struct{}) (*factorsOutput, error) {
	policies, err := a.Access.Policies(ctx)
	if err != nil {
		return nil, err
	}
	out := &factorsOutput{}
	for _, name := range factorNames {
		setBy, known := device.FactorSetting(device.Factor(name))
		at := slices.IndexFunc(policies, func(p setting.Info) bool { return known && p.Name == setBy })
		out.Body = append(out.Body, guardianFactor{Name: name, Enabled: at >= 0 && policies[at].Value == device.FactorValue(true)})
	}
	return out, nil
}

func (a *api) setFactor(ctx context.Context, actor audit.Actor, in *factorChange) (*factorOutput, error) {
	out := &factorOutput{}
	out.Body.Enabled = in.Body.Enabled
	setBy, known := device.FactorSetting(device.Factor(in.Name))
	switch {
	case known:
		return out, a.Access.SetPolicies(ctx, actor, map[string]string{setBy: device.FactorValue(in.Body.Enabled)})
	case !in.Body.Enabled && slices.Contains(factorNames, in.Name):
		return out, nil // it is off for ever
	default:
		return nil, errNoMethod
	}
}
