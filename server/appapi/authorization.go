package appapi

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"tutela/device"
)

// What a call is authorized by, as the description of the API names it.
const (
	schemeDevice    = "deviceJWT"
	schemeAnyDevice = "deviceTokenOrJWT"
	schemeBearer    = "bearer"
	schemeTicket    = "ticket"
	schemeStart     = "requestTokenOrTicket"
	schemeFlow      = "transactionToken"

	schemePossession = "mfaDPoP"
)

// maxTicketBytes bounds what is looked up as a ticket.
const maxTicketBytes = 256

// describeSchemes adds the ways to be authorized to the description of the API.
func describeSchemes(api huma.API) {
	components := api.OpenAPI().Components
	if components.SecuritySchemes == nil {
		components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	schemes := components.SecuritySchemes
	schemes[schemeDevice] = &huma.SecurityScheme{
		Type:         "http",
		Scheme:       "bearer",
		BearerFormat: "JWT",
		Description:  "A JWT signed by the enrolled key: iss the enrollment's id, sub the user id, aud {base}/api/device-accounts, exp at most 2 h after iat.",
	}
	schemes[schemeAnyDevice] = &huma.SecurityScheme{Type: "http", Scheme: "bearer",
		Description: "The device JWT, or the device token of the enrolment's answer."}
	schemes[schemeBearer] = &huma.SecurityScheme{Type: "http", Scheme: "bearer",
		Description: "The token that came with what is answered: txtkn with an approval, the restore token with a restore."}
	schemes[schemeStart] = &huma.SecurityScheme{
		Type:        "apiKey",
		In:          "header",
		Name:        "Authorization",
		Description: `Bearer <the mfa_token of POST /mfa/start>, or Ticket id="<ticket>"`,
	}
	schemes[schemeFlow] = &huma.SecurityScheme{
		Type:         "http",
		Scheme:       "bearer",
		BearerFormat: "JWT",
		Description:  "The transaction_token of start-flow.",
	}
	schemes[schemePossession] = &huma.SecurityScheme{
		Type:        "apiKey",
		In:          "header",
		Name:        "Authorization",
		Description: "MFA-DPoP <txtkn>, with a proof of possession of the enrolled key in the field MFA-DPoP.",
	}
	schemes[schemeTicket] = &huma.SecurityScheme{
		Type:        "apiKey",
		In:          "header",
		Name:        "Authorization",
		Description: `Ticket id="<enrollment_tx_id or ticket>"`,
	}
}

// bearer takes the token out of an Authorization field.
//
// Errors: errAuthorization.
//
// Source: RFC 6750 §2.1.
func bearer(field string) (string, error) {
	token, ok := credentials(field, "Bearer")
	if !ok || len(token) > device.MaxTokenBytes || !isToken68(token) {
		return "", errAuthorization.With("the call wants Authorization: Bearer and a token")
	}
	return token, nil
}

// possessed takes the txtkn out of an Authorization field that is bound to a key: MFA-DPoP and the token.
//
// Errors: errAuthorization.
//
// Source: guardian-wire.md §4.5.
func possessed(field string) (string, error) {
	token, ok := credentials(field, "MFA-DPoP")
	if !ok || len(token) > device.MaxTokenBytes || !isToken68(token) {
		return "", errAuthorization.With("the call wants Authorization: MFA-DPoP and the txtkn")
	}
	return token, nil
}

// claimedEnrollment reads which enrollment a device JWT says that it is by, for a path that names none. Nothing is
// believed yet: the signature is looked at next.
//
// Errors: errAuthorization.
func claimedEnrollment(token string) (string, error) {
	var claims struct {
		Issuer string `json:"iss"`
	}
	parts := strings.Split(token, ".")
	if len(parts) == 3 {
		if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil && json.Unmarshal(payload, &claims) == nil {
			return claims.Issuer, nil
		}
	}
	return "", errAuthorization.With("the call wants a device JWT")
}

// ticket takes the ticket out of an Authorization field: Ticket id="…". The quotes may be missing. A person may have typed
// it with blanks, or pasted a whole link.
//
// Errors: errAuthorization, for a field of another scheme, or without an id; device.ErrTicket, for an id that can be none, since
// apps then say "ask for a new one".
//
// Source: guardian-wire.md §1.4.
func ticket(field string) (string, error) {
	malformed := errAuthorization.With(`the call wants Authorization: Ticket id="…"`)
	parameter, ok := credentials(field, "Ticket")
	if !ok {
		return "", malformed
	}
	name, value, ok := strings.Cut(parameter, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(name), "id") {
		return "", malformed
	}
	value = strings.TrimSpace(value)
	if quoted, ok := strings.CutPrefix(value, `"`); ok {
		if value, ok = strings.CutSuffix(quoted, `"`); !ok {
			return "", malformed
		}
	}
	value = device.ReadTicket(value)
	if value == "" || len(value) > maxTicketBytes || !isToken68(value) {
		return "", device.ErrTicket
	}
	return value, nil
}

// credentials cuts the scheme, whose case does not matter, off an Authorization field.
//
// Source: RFC 9110 §11.4.
func credentials(field, scheme string) (rest string, ok bool) {
	named, rest, ok := strings.Cut(strings.TrimSpace(field), " ")
	rest = strings.TrimSpace(rest)
	return rest, ok && rest != "" && strings.EqualFold(named, scheme)
}

// isToken68 reports whether s has only the characters that a token may have.
//
// Source: RFC 9110 §11.2.
func isToken68(s string) bool {
	for _, b := range []byte(s) {
		alphanumeric := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
		if !alphanumeric && strings.IndexByte("-._~+/=", b) < 0 {
			return false
		}
	}
	return true
}
