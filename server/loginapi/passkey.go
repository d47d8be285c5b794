package loginapi

import (
	"encoding/json"
	"errors"

	"github.com/gofiber/fiber/v2"

	"tutela/device/login"
	"tutela/device/passkey"
	"tutela/server/access"
)

// verified is the answer of POST /mfa/associate/verify.
type verified struct {
	ID    string   `json:"id"`
	Kind  string   `json:"authenticator_type"`
	Name  string   `json:"name"`
	Codes []string `json:"recovery_codes,omitempty"`
}

// verifyPasskey confirms an association by a passkey.
func (a *API) verifyPasskey(c *fiber.Ctx) error {
	h, p, err := a.readHeld(c, access.ScopeEnroll)
	if err != nil {
		return err
	}
	confirmation := login.PasskeyConfirmation{Pass: h.pass, Actor: actorOf(c, access.Client{ID: h.pass.Client})}
	if confirmation.OOBCode, err = p.required("oob_code", maxLongBytes); err != nil {
		return err
	}
	if confirmation.Response, err = p.credential(); err != nil {
		return err
	}
	made, err := a.logins.ConfirmPasskey(c.UserContext(), confirmation)
	if err != nil {
		return overBearer(err)
	}
	kind := string(made.Enrollment.Type)
	answer := verified{ID: kind + "|" + made.Enrollment.ID, Kind: kind, Name: made.Enrollment.Name}
	if made.Code != "" {
		answer.Codes = []string{string(made.Code)}
	}
	return c.JSON(answer)
}

// credential returns what a browser has made of a passkey: an object, or in a form its text.
func (p params) credential() (passkey.Response, error) {
	raw, ok := p["credential"]
	if !ok {
		return nil, badRequest("credential is missing: what the browser made, as PublicKeyCredential.toJSON writes it")
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	if len(raw) > passkey.MaxResponseBytes {
		return nil, badRequest("credential has more than 65536 bytes")
	}
	return passkey.Response(raw), nil
}

// relatedOrigins answers which pages may use the installation's passkeys: none, where the public URL has no domain.
//
// Source: Web Authentication Level 3, §5.11 "Using Web Authentication across related origins".
func (a *API) relatedOrigins(c *fiber.Ctx) error {
	registered, err := a.access.WebOrigins(c.UserContext())
	if err != nil {
		return err
	}
	origins, err := a.logins.RelatedOrigins(c.UserContext(), registered)
	if err != nil && !errors.Is(err, passkey.ErrNoDomain) {
		return err
	}
	return c.JSON(map[string][]string{"origins": append([]string{}, origins...)})
}
