package managementapi

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"

	"tutela/device"
	"tutela/device/otp"
	"tutela/recovery/admin"
	"tutela/storage/audit"
)

// MethodPath names an authentication method of a user.
type MethodPath struct {
	UserPath
	Method string `path:"mid" doc:"Its type, | and an id, percent-encoded as one segment."`
}

// method is one way in which a user authenticates. Secrets are never among its members.
type method struct {
	ID         string           `json:"id"`
	Type       admin.MethodType `json:"type" enum:"push,totp,webauthn-roaming,webauthn-platform,recovery-code"`
	Confirmed  bool             `json:"confirmed"`
	Name       string           `json:"name,omitempty"`
	CreatedAt  instant          `json:"created_at"`
	EnrolledAt instant          `json:"enrolled_at"`
	LastAuthAt instant          `json:"last_auth_at,omitzero"`
	KeyID      string           `json:"key_id,omitempty" doc:"Of WebAuthn: the credential's id, base64url."`
	PublicKey  string           `json:"public_key,omitempty" doc:"Of WebAuthn: the COSE key, base64url."`
	RelyingID  string           `json:"relying_party_identifier,omitempty"`
	BackedUp   *bool            `json:"credential_backed_up,omitempty" doc:"Of WebAuthn."`
	AAGUID     string           `json:"aaguid,omitempty" doc:"Of WebAuthn: the authenticator's model, in hex."`
}

func shownMethod(m admin.Method) method {
	if m.Enrollment == nil {
		return method{
			ID:         m.ID,
			Type:       m.Type,
			Confirmed:  true,
			CreatedAt:  instant{m.Issued},
			EnrolledAt: instant{m.Issued},
		}
	}
	e := m.Enrollment
	out := method{
		ID:         m.ID,
		Type:       m.Type,
		Confirmed:  true,
		Name:       e.Name,
		CreatedAt:  instant{e.Enrolled},
		EnrolledAt: instant{e.Enrolled},
		LastAuthAt: instant{e.LastAuth},
	}
	if e.Type == device.TypeRoaming || e.Type == device.TypePlatform {
		out.KeyID = base64.RawURLEncoding.EncodeToString(e.WebAuthn.CredentialID)
		out.PublicKey = base64.RawURLEncoding.EncodeToString(e.WebAuthn.PublicKey)
		out.RelyingID = e.WebAuthn.RelyingParty
		out.BackedUp = &e.WebAuthn.BackedUp
		out.AAGUID = hex.EncodeToString(e.WebAuthn.AAGUID)
	}
	return out
}

func shownMethods(all []admin.Method) []method {
	out := make([]method, 0, len(all))
	for _, m := range all {
		out = append(out, shownMethod(m))
	}
	return out
}

// newMethod is an authentication method as a caller names one. Members of other types are dropped.
type newMethod struct {
	ID     string `json:"id,omitempty" maxLength:"300" doc:"In a PUT: one that the user has, which stays."`
	Type   string `json:"type,omitempty" doc:"totp, to import one."`
	Name   string `json:"name,omitempty" maxLength:"256"`
	Secret string `json:"totp_secret,omitempty" maxLength:"512" doc:"Base32, in either case, with or without padding."`
}

// wanted reads what the caller wants the user to have.
//
// Errors: admin.ErrNoFactor, for a type that is not here; admin.ErrMethod; otp.ErrSecret.
func (n newMethod) wanted() (w admin.WantedMethod, err error) {
	w = admin.WantedMethod{ID: n.ID, Name: n.Name}
	switch {
	case n.Secret == "" && n.ID != "":
		return w, nil
	case n.Type == "":
		return w, admin.ErrMethod.With("an authentication method needs a type")
	case n.Type != string(admin.MethodTOTP):
		return w, admin.ErrNoFactor
	case n.Secret == "":
		return w, admin.ErrMethod.With("a new totp needs its totp_secret")
	}
	w.ID = "" // what another system calls it
	w.Import.Name = n.Name
	w.Import.Secret, err = otp.ParseSecret(n.Secret)
	return w, err
}

type (
	methodOutput  struct{ Body method }
	methodsOutput struct{ Body []method }
	methodList    struct{ Body list[method] }
)

func (a *api) mountMethods() {
	const path = "/users/{id}/authentication-methods"
	read := []string{"read:authentication_methods"}
	register(a, call{
		Word:    audit.CallListMethods,
		Method:  http.MethodGet,
		Path:    path,
		Summary: "Get a List of Authentication Methods",
		Scopes:  read,
	}, a.listMethods)
	register(a, call{
		Word:    audit.CallGetMethod,
		Method:  http.MethodGet,
		Path:    path + "/{mid}",
		Summary: "Get an Authentication Method by ID",
		Scopes:  read,
	}, a.readMethod)
	register(a, call{
		Word:    audit.CallUpdateMethod,
		Method:  http.MethodPatch,
		Path:    path + "/{mid}",
		Summary: "Update an Authentication Method",
		Scopes:  []string{"update:authentication_methods"},
	}, a.renameMethod)
	register(a, call{
		Word:        audit.CallDeleteMethod,
		Method:      http.MethodDelete,
		Path:        path + "/{mid}",
		Summary:     "Delete an Authentication Method by ID",
		Description: "With the last enrollment the whole of the user's MFA goes, as by a reset.",
		Scopes:      []string{"delete:authentication_methods"},
		Status:      http.StatusNoContent,
	}, a.deleteMethod)
	register(a, call{
		Word:        audit.CallCreateMethod,
		Method:      http.MethodPost,
		Path:        path,
		Summary:     "Creates an Authentication Method for a Given User",
		Description: "Imports an app of one-time codes: it is confirmed at once, brings no recovery code, and its secret is never answered.",
		Scopes:      []string{"create:authentication_methods"},
		Status:      http.StatusCreated,
	}, a.createMethod)
	register(a, call{
		Word:        audit.CallReplaceMethods,
		Method:      http.MethodPut,
		Path:        path,
		Summary:     "Update All Authentication Methods by Replacing Them with the Given Ones",
		Description: "All or nothing. What has an id of the user's stays; all others go. An empty array is the reset.",
		Scopes:      []string{"update:authentication_methods"},
	}, a.replaceMethods)
	a.mountResetsByMethods(path)
}

// mountResetsByMethods mounts the calls that take several methods away, or all.
func (a *api) mountResetsByMethods(path string) {
	const description = "The reset: every record of the user's MFA goes in one step, and a receipt stays. For nothing it is no error."
	register(a, call{
		Word:        audit.CallDeleteMethods,
		Method:      http.MethodDelete,
		Path:        path,
		Summary:     "Delete All Authentication Methods for the Given User",
		Description: description,
		Scopes:      []string{"delete:authentication_methods"},
		Status:      http.StatusNoContent,
	}, a.deleteMethods)
	register(a, call{
		Word:        audit.CallDeleteAuthenticators,
		Method:      http.MethodDelete,
		Path:        "/users/{id}/authenticators",
		Summary:     "Delete All Authenticators",
		Description: description,
		Scopes:      []string{"delete:guardian_enrollments"},
		Status:      http.StatusNoContent,
	}, a.deleteMethods)
	register(a, call{
		Word:        audit.CallDeleteProvider,
		Method:      http.MethodDelete,
		Path:        "/users/{id}/multifactor/{provider}",
		Summary:     "Delete a User's Multi-factor Provider",
		Description: "google-authenticator removes the apps that show codes and do no more; guardian is the reset.",
		Scopes:      []string{scopeUpdateUsers},
		Status:      http.StatusNoContent,
	}, a.deleteProvider)
}

func (a *api) listMethods(ctx context.Context, _ audit.Actor, in *struct {
	UserPath
	Paging
	Checkpoint
},
) (*methodList, error) {
	all, err := a.Admins.Methods(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out, err := listed("authenticators", shownMethods(all), in.Paging, in.Checkpoint, func(m method) string { return m.ID })
	return &methodList{out}, err
}

func (a *api) readMethod(ctx context.Context, _ audit.Actor, in *MethodPath) (*methodOutput, error) {
	m, err := a.Admins.Method(ctx, in.ID, in.Method)
	if err != nil {
		return nil, err
	}
	return &methodOutput{shownMethod(m)}, nil
}

func (a *api) renameMethod(ctx context.Context, actor audit.Actor, in *struct {
	MethodPath
	Body struct {
		Name string `json:"name,omitempty" maxLength:"256"`
	}
},
) (*methodOutput, error) {
	m, err := a.Admins.RenameMethod(ctx, in.ID, in.Method, in.Body.Name, actor)
	if err != nil {
		return nil, err
	}
	return &methodOutput{shownMethod(m)}, nil
}

func (a *api) deleteMethod(ctx context.Context, actor audit.Actor, in *MethodPath) (*nothing, error) {
	return nil, a.Admins.RemoveMethod(ctx, in.ID, in.Method, actor)
}

func (a *api) createMethod(ctx context.Context, actor audit.Actor, in *struct {
	UserPath
	Body newMethod
},
) (*methodOutput, error) {
	in.Body.ID = "" // it is ours to give
	w, err := in.Body.wanted()
	if err != nil {
		return nil, err
	}
	m, err := a.Admins.ImportMethod(ctx, in.ID, w.Import, actor)
	if err != nil {
		return nil, err
	}
	return &methodOutput{shownMethod(m)}, nil
}

func (a *api) replaceMethods(ctx context.Context, actor audit.Actor, in *struct {
	UserPath
	Body []newMethod `nullable:"false" maxItems:"50"`
},
) (*methodsOutput, error) {
	wanted := make([]admin.WantedMethod, 0, len(in.Body))
	for _, n := range in.Body {
		w, err := n.wanted()
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, w)
	}
	all, err := a.Admins.ReplaceMethods(ctx, in.ID, wanted, actor)
	if err != nil {
		return nil, err
	}
	return &methodsOutput{shownMethods(all)}, nil
}

func (a *api) deleteMethods(ctx context.Context, actor audit.Actor, in *UserPath) (*nothing, error) {
	return nil, a.Admins.RemoveAll(ctx, in.ID, actor)
}

// errProvider is said of a provider that is none.
var errProvider = errPath.With("a provider is google-authenticator or guardian")

func (a *api) deleteProvider(ctx context.Context, actor audit.Actor, in *struct {
	UserPath
	Provider string `path:"provider" doc:"google-authenticator or guardian."`
},
) (*nothing, error) {
	switch in.Provider {
	case "google-authenticator":
		return nil, a.Admins.RemoveType(ctx, in.ID, device.TypeOTP, actor)
	case "guardian":
		return nil, a.Admins.RemoveAll(ctx, in.ID, actor)
	case "duo":
		return nil, device.ErrFactor.With("duo is not available here")
	default:
		return nil, errProvider
	}
}
