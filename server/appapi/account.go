package appapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"tutela/device"
)

// account is an enrollment as its own app sees it: the values that it named last, whether pushes reach it, and the epoch of the
// store that says so.
//
// Source: guardian-wire.md §2.3; push, token and epoch are tutela's.
type account struct {
	Body struct {
		ID         string           `json:"id"`
		Identifier string           `json:"identifier"`
		Name       string           `json:"name"`
		Push       *pushCredentials `json:"push_credentials,omitempty"` // whole or absent: iOS fails on half of it
		PushState  string           `json:"push" enum:"ok,lost,none" doc:"lost: the push service says that the address is gone. Name one, also the same, to have it tried again."`
		Token      string           `json:"token,omitempty" doc:"By device JWT: another device token, which takes the place of the one before when it is used."`
		Epoch      string           `json:"epoch" doc:"Opaque. Another than before: the server's data was put back from a copy."`
	}
}

func (a *api) accountOf(e *device.Enrollment, p device.Proof) *account {
	var out account
	out.Body.PushState = string(e.PushState())
	if !p.ByToken {
		out.Body.Token = string(e.Push.NextToken)
	}
	out.Body.Epoch = a.Epoch().String()
	out.Body.ID = e.ID
	out.Body.Identifier = e.Push.Identifier
	out.Body.Name = e.Name
	if to := e.PushAddress(); !to.IsZero() {
		out.Body.Push = &pushCredentials{Service: string(to.Service), Token: to.Token}
	}
	return &out
}

// change is what a PATCH may change; a member that is absent or null stays as it is.
//
// Source: guardian-wire.md §2.2; capabilities are tutela's.
type change struct {
	AccountPath
	Body struct {
		Identifier   *string          `json:"identifier,omitempty" minLength:"1" maxLength:"512"`
		Name         *string          `json:"name,omitempty" minLength:"1"`
		Push         *pushCredentials `json:"push_credentials,omitempty"`
		Capabilities *[]string        `json:"capabilities,omitempty" maxItems:"16" doc:"By device JWT only."`
	}
}

// AccountPath is the part of an input that names the enrollment. The guard has looked it up. (Huma passes over embedded
// types that are not exported.)
type AccountPath struct {
	ID string `path:"id" doc:"The enrollment's id."`
}

func (a *api) mountAccount() {
	const path = "/api/device-accounts/{id}"
	register(a, byAnyDevice, huma.Operation{
		OperationID: "get-device-account",
		Method:      http.MethodGet,
		Path:        path,
		Summary:     "Read this enrollment",
	}, a.readAccount)
	register(a, byAnyDevice, huma.Operation{
		OperationID: "change-device-account",
		Method:      http.MethodPatch,
		Path:        path,
		Summary:     "Change this enrollment",
		Description: "A new push token or identifier, and capabilities given up, are told where the phone was reached before. What the device token " +
			"alone names is unproven: a push token stands beside the one before, and an identifier replaces nobody.",
	}, a.changeAccount)
	register(a, byAnyDevice, huma.Operation{
		OperationID: "delete-device-account",
		Method:      http.MethodDelete,
		Path:        path,
		Summary:     "End this enrollment",
		Description: "By the device token alone it has left: it is told and still asked, and an answer or a call with the device JWT within 7 days " +
			"brings it back. A token does that once.",
	}, a.deleteAccount)
	register(a, byDevice, huma.Operation{
		OperationID: "check-recovery-code",
		Method:      http.MethodPost,
		Path:        path + "/recovery-code/check",
		Summary:     "Practise: is this the recovery code?",
		Description: "Nothing is spent.",
	}, a.checkCode)
	register(a, byDevice, huma.Operation{
		OperationID:   "lose-recovery-code",
		Method:        http.MethodPost,
		Path:          path + "/recovery-code/lost",
		DefaultStatus: http.StatusNoContent,
		Summary:       "Say that the recovery code is lost",
		Description:   "It stays valid until another takes its place: at the next enrolment where one is shown. A repeat is no error.",
	}, a.loseCode)
}

func (a *api) readAccount(ctx context.Context, c *caller, _ *AccountPath) (*account, error) {
	e, err := a.Devices.Read(ctx, c.proof)
	if err != nil {
		return nil, err
	}
	return a.accountOf(e, c.proof), nil
}

func (a *api) changeAccount(ctx context.Context, c *caller, in *change) (*account, error) {
	address, err := in.Body.Push.address()
	if err != nil {
		return nil, err
	}
	if name := in.Body.Name; name != nil {
		*name = device.ClipName(*name)
	}
	e, err := a.Devices.Patch(ctx, c.proof, device.Change{
		Identifier:   in.Body.Identifier,
		Name:         in.Body.Name,
		Push:         address,
		Capabilities: in.Body.Capabilities,
	}, c.actor)
	if err != nil {
		return nil, err
	}
	return a.accountOf(e, c.proof), nil
}

func (a *api) deleteAccount(ctx context.Context, c *caller, _ *AccountPath) (*struct{}, error) {
	return nil, a.Devices.Leave(ctx, c.proof, c.actor)
}

// typedCode is a recovery code as the person typed it. What can be no code is a typo, and no malformed call.
type typedCode struct {
	RecoveryCode string `json:"recovery_code" doc:"24 characters; case, spaces and dashes do not matter."`
}

type checkedCode struct {
	Body struct {
		Valid bool `json:"valid"`
	}
}

func (a *api) checkCode(ctx context.Context, c *caller, in *struct {
	AccountPath
	Body typedCode
},
) (*checkedCode, error) {
	var out checkedCode
	var err error
	out.Body.Valid, err = a.Devices.Practise(ctx, c.proof, in.Body.RecoveryCode, c.actor)
	return &out, err
}

func (a *api) loseCode(ctx context.Context, c *caller, _ *AccountPath) (*struct{}, error) {
	return nil, a.Devices.LoseCode(ctx, c.proof, c.actor)
}
