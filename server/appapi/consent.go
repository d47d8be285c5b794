package appapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"tutela/storage"
)

func (a *api) mountConsents() {
	register(a, byAsked, huma.Operation{
		OperationID: "get-rich-consent",
		Method:      http.MethodGet,
		Path:        "/rich-consents/{id}",
		Summary:     "Read what a login is about",
		Description: "{id} is txlnkid of the message. Each proof counts once, and twenty of a phone for one login.",
	}, a.consent)
}

type consentInput struct {
	ID    string `path:"id" maxLength:"256"`
	Proof string `header:"MFA-DPoP" doc:"A dpop+jwt by the enrolled key: jwk in its header; htu, htm, ath, jti and iat."`
}

// consent is what a login is about. The times are texts, as the iOS SDK wants them.
//
// Source: guardian-wire.md §4.5.
type consent struct {
	ID        string          `json:"id"`
	Created   string          `json:"created_at" format:"date-time"`
	Expires   string          `json:"expires_at" format:"date-time"`
	Requested requestedOutput `json:"requested_details"`
}

// requestedOutput are the details as the domain encoded them, since the log knows the hash of these bytes.
type requestedOutput json.RawMessage

// MarshalJSON returns the details as they are.
func (r requestedOutput) MarshalJSON() ([]byte, error) { return r, nil }

// Schema describes the details.
func (requestedOutput) Schema(huma.Registry) *huma.Schema {
	text := &huma.Schema{Type: huma.TypeString}
	return &huma.Schema{
		Type:     huma.TypeObject,
		Required: []string{"audience", "scope"},
		Properties: map[string]*huma.Schema{
			"audience":        text,
			"scope":           {Type: huma.TypeArray, Items: text},
			"binding_message": text,
			"authorization_details": {
				Type:        huma.TypeArray,
				Items:       &huma.Schema{Type: huma.TypeObject},
				Description: "Objects with a type (RFC 9396), as the login system sent them.",
			},
		},
	}
}

type consentOutput struct{ Body consent }

func (a *api) consent(ctx context.Context, c *caller, in *consentInput) (*consentOutput, error) {
	shown, err := a.Logins.Consent(ctx, in.ID, c.credential, in.Proof)
	if err != nil {
		return nil, err
	}
	return &consentOutput{consent{
		ID:        shown.ID,
		Created:   storage.FormatInstant(shown.Created),
		Expires:   storage.FormatInstant(shown.Expires),
		Requested: requestedOutput(shown.Requested),
	}}, nil
}
