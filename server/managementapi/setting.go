package managementapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"tutela/device"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// passkeySettings are the settings of passkeys, as Auth0 has them. Both kinds have one relying party.
type passkeySettings struct {
	Verification *string `json:"userVerification,omitempty" nullable:"true" enum:"discouraged,preferred,required" doc:"Of security keys. What would weaken it is refused; left out it stays as it is."`
	Override     *bool   `json:"overrideRelyingParty,omitempty" nullable:"true"`
	RelyingParty *string `json:"relyingPartyIdentifier,omitempty" nullable:"true" maxLength:"253" doc:"A domain; with overrideRelyingParty. Changing it is refused while there are passkeys."`
}

type passkeySettingsBody struct{ Body passkeySettings }

// platformSettings are those of passkeys of phones and computers, which always verify their user.
type platformSettings struct {
	Override     *bool   `json:"overrideRelyingParty,omitempty" nullable:"true"`
	RelyingParty *string `json:"relyingPartyIdentifier,omitempty" nullable:"true" maxLength:"253"`
}

type platformSettingsBody struct{ Body platformSettings }

// guardianSettings are those of remembered browsers. Times are in seconds.
type guardianSettings struct {
	Offer      *bool  `json:"display_remember_me_checkbox,omitempty" nullable:"true" doc:"Whether a login page offers to remember the browser."`
	Ticked     *bool  `json:"remember_me_default_value,omitempty" nullable:"true" doc:"Whether that offer is ticked to begin with."`
	Inactivity *int64 `json:"mfa_session_inactivity_timeout,omitempty" nullable:"true" minimum:"60" maximum:"2592000" doc:"Seconds that a remembered browser may be unused."`
	Overall    *int64 `json:"mfa_session_overall_timeout,omitempty" nullable:"true" minimum:"60" maximum:"2592000" doc:"Seconds from the login to the next question, at most."`
}

type guardianSettingsBody struct{ Body guardianSettings }

// mfaPush is what the enrolment page says of the app.
type mfaPush struct {
	Name   *string `json:"app_name" doc:"null until it is set."`
	Apple  *string `json:"apple_app_link"`
	Google *string `json:"google_app_link"`
}

type mfaPushOutput struct{ Body mfaPush }

type mfaPushChange struct {
	Body struct {
		Name   *string `json:"app_name,omitempty" nullable:"true"`
		Apple  *string `json:"apple_app_link,omitempty" nullable:"true"`
		Google *string `json:"google_app_link,omitempty" nullable:"true"`
	}
}

// onWord is the value of a policy that is on or off.
const onWord = "on"

func (a *api) mountSettings() {
	const roaming = factorsPath + "/webauthn-roaming/settings"
	const platform = factorsPath + "/webauthn-platform/settings"
	register(a, call{
		Word:    audit.CallGetPasskeyRoaming,
		Method:  http.MethodGet,
		Path:    roaming,
		Summary: "Retrieve the Settings of Security Keys",
		Scopes:  readFactors,
	}, a.readRoaming)
	register(a, call{
		Word:    audit.CallSetPasskeyRoaming,
		Method:  http.MethodPut,
		Path:    roaming,
		Summary: "Update the Settings of Security Keys",
		Scopes:  updateFactors,
	}, a.setRoaming)
	register(a, call{
		Word:    audit.CallGetPasskeyPlatform,
		Method:  http.MethodGet,
		Path:    platform,
		Summary: "Retrieve the Settings of Passkeys",
		Scopes:  readFactors,
	}, a.readPlatform)
	register(a, call{
		Word:    audit.CallSetPasskeyPlatform,
		Method:  http.MethodPut,
		Path:    platform,
		Summary: "Update the Settings of Passkeys",
		Scopes:  updateFactors,
	}, a.setPlatform)
	register(a, call{
		Word:    audit.CallGetGuardianSettings,
		Method:  http.MethodGet,
		Path:    "/guardian/settings",
		Summary: "Retrieve the Settings of Remembered Browsers",
		Scopes:  readFactors,
	}, a.readGuardianSettings)
	register(a, call{
		Word:    audit.CallSetGuardianSettings,
		Method:  http.MethodPut,
		Path:    "/guardian/settings",
		Summary: "Update the Settings of Remembered Browsers",
		Scopes:  updateFactors,
	}, a.setGuardianSettings)
	register(a, call{
		Word:    audit.CallGetMFAPush,
		Method:  http.MethodGet,
		Path:    "/prompts/mfa-push",
		Summary: "Retrieve the App that the Enrolment Page Names",
		Scopes:  []string{"read:prompts", "read:guardian_factors"},
	}, a.readMFAPush)
	register(a, call{
		Word:    audit.CallPatchMFAPush,
		Method:  http.MethodPatch,
		Path:    "/prompts/mfa-push",
		Summary: "Update the App that the Enrolment Page Names",
		Scopes:  []string{"update:prompts", "update:guardian_factors"},
	}, a.changeMFAPush)
}

func (a *api) readRoaming(ctx context.Context, _ audit.Actor, _ *struct{}) (*passkeySettingsBody, error) {
	party, err := a.relyingParty(ctx)
	if err != nil {
		return nil, err
	}
	set, err := a.Access.Policy(ctx, passkey.VerificationSetting())
	if err != nil {
		return nil, err
	}
	out := &passkeySettingsBody{}
	out.Body.Verification = &set.Value
	out.Body.Override = party.Override
	out.Body.RelyingParty = party.RelyingParty
	return out, nil
}

func (a *api) readPlatform(ctx context.Context, _ audit.Actor, _ *struct{}) (*platformSettingsBody, error) {
	party, err := a.relyingParty(ctx)
	return &platformSettingsBody{party}, err
}

// relyingParty returns what is set of the domain of passkeys.
func (a *api) relyingParty(ctx context.Context) (platformSettings, error) {
	set, err := a.Access.Policy(ctx, passkey.RelyingPartySetting())
	overrides := set.Value != ""
	return platformSettings{Override: &overrides, RelyingParty: known(set.Value)}, err
}

// setRoaming leaves verification as it is when nobody names it: the default could be weaker, which takes the operator.
func (a *api) setRoaming(ctx context.Context, actor audit.Actor, in *passkeySettingsBody) (*passkeySettingsBody, error) {
	values, err := a.relyingPartyOf(ctx, in.Body.Override, in.Body.RelyingParty)
	if err != nil {
		return nil, err
	}
	if in.Body.Verification != nil {
		values[passkey.VerificationSetting()] = *in.Body.Verification
	}
	return in, a.Access.SetPolicies(ctx, actor, values)
}

func (a *api) setPlatform(ctx context.Context, actor audit.Actor, in *platformSettingsBody) (*platformSettingsBody, error) {
	values, err := a.relyingPartyOf(ctx, in.Body.Override, in.Body.RelyingParty)
	if err != nil {
		return nil, err
	}
	return in, a.Access.SetPolicies(ctx, actor, values)
}

// relyingPartyOf returns what the two members set. Who overrides the domain and names none keeps the one that is set.
//
// Errors: errBody.
func (a *api) relyingPartyOf(ctx context.Context, override *bool, party *string) (map[string]string, error) {
	name := passkey.RelyingPartySetting()
	switch {
	case override == nil || !*override:
		return map[string]string{name: ""}, nil
	case party != nil && *party != "":
		return map[string]string{name: *party}, nil
	}
	set, err := a.Access.Policy(ctx, name)
	if err == nil && set.Value == "" {
		err = errBody.With("overrideRelyingParty needs relyingPartyIdentifier, a domain such as example.com")
	}
	return map[string]string{name: set.Value}, err
}

func (a *api) readGuardianSettings(ctx context.Context, _ audit.Actor, _ *struct{}) (*guardianSettingsBody, error) {
	out := &guardianSettingsBody{}
	overall, inactivity, offer, ticked := recovery.RememberSettings()
	for setBy, to := range map[string]**int64{overall: &out.Body.Overall, inactivity: &out.Body.Inactivity} {
		set, err := a.Access.Policy(ctx, setBy)
		if err != nil {
			return nil, err
		}
		span, err := setting.ParseSpan(set.Value)
		if err != nil {
			return nil, err
		}
		seconds := int64(span / time.Second)
		*to = &seconds
	}
	for setBy, to := range map[string]**bool{offer: &out.Body.Offer, ticked: &out.Body.Ticked} {
		set, err := a.Access.Policy(ctx, setBy)
		if err != nil {
			return nil, err
		}
		on := set.Value == onWord
		*to = &on
	}
	return out, nil
}

// setGuardianSettings sets what is named, and the rest back to its default.
func (a *api) setGuardianSettings(ctx context.Context, actor audit.Actor, in *guardianSettingsBody) (*guardianSettingsBody, error) {
	values := map[string]string{}
	overall, inactivity, offer, ticked := recovery.RememberSettings()
	for setBy, seconds := range map[string]*int64{overall: in.Body.Overall, inactivity: in.Body.Inactivity} {
		set, err := a.Access.Policy(ctx, setBy)
		if err != nil {
			return nil, err
		}
		values[setBy] = set.Default
		if seconds != nil {
			values[setBy] = strconv.FormatInt(*seconds, 10) + "s"
		}
	}
	for setBy, on := range map[string]*bool{offer: in.Body.Offer, ticked: in.Body.Ticked} {
		set, err := a.Access.Policy(ctx, setBy)
		if err != nil {
			return nil, err
		}
		values[setBy] = set.Default
		if on != nil {
			values[setBy] = map[bool]string{true: onWord, false: "off"}[*on]
		}
	}
	return in, a.Access.SetPolicies(ctx, actor, values)
}

func (a *api) readMFAPush(ctx context.Context, _ audit.Actor, _ *struct{}) (*mfaPushOutput, error) {
	out := &mfaPushOutput{}
	name, apple, google := device.AppSettings()
	for setBy, to := range map[string]**string{name: &out.Body.Name, apple: &out.Body.Apple, google: &out.Body.Google} {
		set, err := a.Access.Policy(ctx, setBy)
		if err != nil {
			return nil, err
		}
		*to = known(set.Value)
	}
	return out, nil
}

func (a *api) changeMFAPush(ctx context.Context, actor audit.Actor, in *mfaPushChange) (*mfaPushOutput, error) {
	values := map[string]string{}
	name, apple, google := device.AppSettings()
	for setBy, to := range map[string]*string{name: in.Body.Name, apple: in.Body.Apple, google: in.Body.Google} {
		if to != nil {
			values[setBy] = *to
		}
	}
	if err := a.Access.SetPolicies(ctx, actor, values); err != nil {
		return nil, err
	}
	return a.readMFAPush(ctx, actor, nil)
}
