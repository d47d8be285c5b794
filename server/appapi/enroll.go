package appapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"tutela/device"
	"tutela/device/push"
)

// installation is what an app says of itself.
//
// Source: guardian-wire.md §1.4; capabilities are tutela's.
type installation struct {
	Identifier   string           `json:"identifier" minLength:"1" maxLength:"512" doc:"The app's own id of this phone."`
	Name         string           `json:"name" minLength:"1" doc:"As the person knows it. What is over 256 bytes is cut off, and what nobody can see becomes U+FFFD."`
	Push         *pushCredentials `json:"push_credentials,omitempty" doc:"Left out by an app that pulls."`
	PublicKey    publicKey        `json:"public_key"`
	Platform     string           `json:"platform,omitempty" doc:"What the app runs on: android, ios, web or another word. Admins see it."`
	Capabilities []string         `json:"capabilities,omitempty" maxItems:"16" doc:"number-matching: the app asks for the digits on the login screen. recovery-code: it shows the recovery code of the answer."`
}

// pushCredentials is where a push service finds an app. iOS decodes it whole or not at all.
type pushCredentials struct {
	Service string `json:"service" enum:"GCM,FCM,APNS,WEBPUSH"`
	Token   string `json:"token" minLength:"1" maxLength:"4096" doc:"Of WEBPUSH the subscription, as JSON."`
}

// address reads the credentials; the zero Address when the app gave none.
//
// Errors: push.ErrAddress.
func (p *pushCredentials) address() (push.Address, error) {
	if p == nil {
		return push.Address{}, nil
	}
	return push.ParseAddress(p.Service, p.Token)
}

// publicKey is a JWK as it came: the domain reads it, and normalises what Android gets wrong.
type publicKey json.RawMessage

// UnmarshalJSON keeps the JWK as it is.
func (k *publicKey) UnmarshalJSON(data []byte) error {
	*k = append((*k)[:0], data...)
	return nil
}

// Schema describes the JWK.
func (publicKey) Schema(huma.Registry) *huma.Schema {
	text := func(maxLength int) *huma.Schema { return &huma.Schema{Type: huma.TypeString, MaxLength: &maxLength} }
	word := text(16)
	number := text(2048)
	s := &huma.Schema{
		Type:                 huma.TypeObject,
		AdditionalProperties: true,
		Required:             []string{"kty"},
		Description:          "A JWK: RSA of at least 2048 bits (RS256), EC on P-256 (ES256), or OKP Ed25519 (EdDSA).",
		Properties: map[string]*huma.Schema{
			"kty": word, "alg": word, "use": word, "crv": word, "n": number, "e": number, "x": number, "y": number,
		},
	}
	s.PrecomputeMessages()
	return s
}

// device reads what the domain has types of its own for.
//
// Errors: device.ErrKey; push.ErrAddress.
func (i *installation) device() (device.Installation, error) {
	key, err := device.ParseKey(json.RawMessage(i.PublicKey))
	if err != nil {
		return device.Installation{}, err
	}
	address, err := i.Push.address()
	return device.Installation{
		Identifier:   i.Identifier,
		Name:         device.ClipName(i.Name),
		Push:         address,
		Key:          key,
		Capabilities: i.Capabilities,
		Platform:     device.ClipPlatform(i.Platform),
	}, err
}

// enrolled is what an app is told that has enrolled. Android cannot do without any member but recovery_code, and
// crashes on a totp that is null or whose numbers are strings.
//
// Source: guardian-wire.md §1.5.
type enrolled struct {
	Body *device.Enrolled
}

func (a *api) mountEnroll() {
	register(a, byTicket, huma.Operation{
		OperationID:   "enroll",
		Method:        http.MethodPost,
		Path:          "/api/enroll",
		DefaultStatus: http.StatusCreated,
		Summary:       "Spend a ticket and bind this installation to its user",
		Description: "The same ticket with the same key gets the same answer again, until the enrollment's first call and for " +
			"15 minutes at most: the first may have been lost.",
	}, a.enroll)
}

func (a *api) enroll(ctx context.Context, c *caller, in *struct{ Body installation }) (*enrolled, error) {
	app, err := in.Body.device()
	if err != nil {
		return nil, err
	}
	told, err := a.Devices.Enroll(ctx, c.credential, app, c.actor)
	if err != nil {
		return nil, err
	}
	return &enrolled{told}, nil
}
