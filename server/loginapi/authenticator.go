package loginapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"tutela/device"
	"tutela/device/login"
	"tutela/server"
	"tutela/server/access"
)

// holder is who calls with a bearer token: an mfa_token, or an enrolment token.
type holder struct {
	pass   login.Pass
	scopes []string // of an enrolment token
}

// pass reads an mfa_token or an enrolment token, of a client that is registered.
//
// Errors: login.ErrMFAToken.
func (a *API) pass(ctx context.Context, token string) (login.Pass, []string, error) {
	pass, err := a.logins.ReadMFAToken(token)
	if err == nil {
		_, err = a.access.Client(ctx, pass.Client)
		if errors.Is(err, access.ErrNoClient) {
			err = login.ErrMFAToken
		}
		return pass, nil, err
	}
	e, err := a.access.VerifyEnrolment(ctx, token)
	if errors.Is(err, access.ErrToken) {
		err = login.ErrMFAToken
	}
	return login.Pass{Login: e.TxID, Client: e.ClientID, Enrols: true}, e.Scopes, err
}

// bearerDoor lets a caller with a token of ours in, before the body is read.
func (a *API) bearerDoor(asked server.Asked) (any, error) {
	return a.bearer(asked.Context(), asked.Header(fiber.HeaderAuthorization))
}

// bearer reads the bearer token of a call. One that comes to nothing counts against the caller's address.
func (a *API) bearer(ctx context.Context, field string) (holder, error) {
	scheme, token, _ := strings.Cut(field, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return holder{}, a.charged(ctx, noBearer("the call wants an mfa_token or an enrolment token: Authorization: Bearer"))
	}
	pass, scopes, err := a.pass(ctx, strings.TrimSpace(token))
	if errors.Is(err, login.ErrMFAToken) {
		return holder{}, a.charged(ctx, noBearer("the token is neither an mfa_token nor an enrolment token, or it has expired"))
	}
	return holder{pass, scopes}, err
}

// noBearer is the error of a call without a token that counts.
//
// Source: RFC 6750 §3.1.
func noBearer(message string) error {
	return &server.Problem{
		Status:  http.StatusUnauthorized,
		Code:    "invalid_token",
		Message: message,
		Header:  map[string]string{fiber.HeaderWWWAuthenticate: `Bearer realm="tutela", error="invalid_token"`},
	}
}

// holderOf returns who makes a call, whose token has the scope if it is an enrolment token.
func (a *API) holderOf(c *fiber.Ctx, scope string) (holder, error) {
	ctx := c.UserContext()
	h, known := server.CallOf(ctx).Admitted().(holder)
	if !known {
		var err error
		if h, err = a.bearer(ctx, c.Get(fiber.HeaderAuthorization)); err != nil {
			return h, err
		}
	}
	if h.pass.Enrols && !slices.Contains(h.scopes, scope) {
		return h, &server.Problem{
			Status:  http.StatusForbidden,
			Code:    "insufficient_scope",
			Message: "the enrolment token lacks the scope " + scope,
			Header:  map[string]string{fiber.HeaderWWWAuthenticate: `Bearer realm="tutela", error="insufficient_scope", scope="` + scope + `"`},
		}
	}
	return h, nil
}

// readHeld reads the parameters of a call that is made with a token; see holderOf.
func (a *API) readHeld(c *fiber.Ctx, scope string) (h holder, p params, err error) {
	if h, err = a.holderOf(c, scope); err != nil {
		return h, nil, err
	}
	if p, err = parse(c); err != nil {
		return h, nil, err
	}
	return h, p, a.checkHolder(c, p, h.pass)
}

// overBearer words the end of what a bearer token is for as the end of the token.
func overBearer(err error) error {
	for _, over := range []error{login.ErrMFATokenExpired, login.ErrEnrolment, login.ErrGrant} {
		if errors.Is(err, over) {
			return noBearer(server.Message(err))
		}
	}
	return err
}

// authenticator is one of a user's factors.
//
// Source: the MFA API of Auth0.
type authenticator struct {
	ID       string   `json:"id"` // of the kind, and of the enrollment
	Type     string   `json:"type"`
	Kind     string   `json:"authenticator_type"`
	Channel  string   `json:"oob_channel,omitempty"`
	Channels []string `json:"oob_channels,omitempty"`
	Active   bool     `json:"active"`
	Name     string   `json:"name,omitempty"`
}

// channelPush is what the MFA API of Auth0 calls approvals on phones.
const channelPush = "auth0"

// The kinds of authenticators, as the MFA API of Auth0 writes them before an id.
var idPrefixes = map[login.Way]string{
	login.WayPush:     "push",
	login.WayOTP:      "totp",
	login.WayRecovery: "recovery-code",
	login.WayRoaming:  "webauthn-roaming",
	login.WayPlatform: "webauthn-platform",
}

func (a *API) authenticators(c *fiber.Ctx) error {
	h, err := a.holderOf(c, access.ScopeReadAuthenticators)
	if err != nil {
		return err
	}
	list, err := a.logins.Authenticators(c.UserContext(), h.pass)
	if err != nil {
		return overBearer(err)
	}
	shown := make([]authenticator, 0, len(list))
	for _, one := range list {
		shown = append(shown, shownAuthenticator(one))
	}
	return c.JSON(shown)
}

func shownAuthenticator(one login.Authenticator) authenticator {
	shown := authenticator{
		ID:     idPrefixes[one.Kind] + "|" + one.ID,
		Type:   string(one.Kind),
		Kind:   string(one.Kind),
		Active: one.Active,
	}
	if one.Kind == login.WayRoaming || one.Kind == login.WayPlatform {
		shown.Name = one.Name
	}
	if one.Kind == login.WayPush {
		shown.Type = "push-notification"
		shown.Kind = "oob"
		shown.Channel = channelPush
		shown.Channels = []string{channelPush}
		shown.Name = one.Name
	}
	return shown
}

// cutAuthenticatorID returns the kind and the enrollment of an authenticator's id; "" for what is none.
func cutAuthenticatorID(id string) (kind login.Way, enrollment string) {
	prefix, enrollment, _ := strings.Cut(id, "|")
	for kind, named := range idPrefixes {
		if named == prefix {
			return kind, enrollment
		}
	}
	return "", ""
}

// removeAuthenticator retires an authenticator. The recovery code cannot be removed: it is what is left when all else is lost.
func (a *API) removeAuthenticator(c *fiber.Ctx) error {
	h, err := a.holderOf(c, access.ScopeRemoveAuthenticators)
	if err != nil {
		return err
	}
	id := c.Params("id")
	if decoded, err := url.PathUnescape(id); err == nil {
		id = decoded
	}
	kind, enrollment := cutAuthenticatorID(id)
	if kind == login.WayRecovery {
		return &server.Problem{Status: http.StatusForbidden, Code: "access_denied", Message: "the recovery code is replaced, and not removed"}
	}
	client := access.Client{ID: h.pass.Client}
	err = a.logins.RemoveAuthenticator(c.UserContext(), h.pass, enrollment, actorOf(c, client))
	if err != nil {
		return overBearer(err)
	}
	return c.SendStatus(http.StatusNoContent)
}

// associated is the answer of POST /mfa/associate.
//
// Source: the MFA API of Auth0.
type associated struct {
	Kind    string   `json:"authenticator_type"`
	Channel string   `json:"oob_channel,omitempty"`
	Code    string   `json:"oob_code,omitempty"`
	Secret  string   `json:"secret,omitempty"`
	URI     string   `json:"barcode_uri,omitempty"`
	Codes   []string `json:"recovery_codes,omitempty"`

	PublicKey json.RawMessage `json:"publicKey,omitempty"` // of a passkey: the creation options
}

func (a *API) associate(c *fiber.Ctx) error {
	h, p, err := a.readHeld(c, access.ScopeEnroll)
	if err != nil {
		return err
	}
	asked := login.Association{Pass: h.pass, Actor: actorOf(c, access.Client{ID: h.pass.Client})}
	if asked.Type, err = associationType(p); err != nil {
		return err
	}
	if asked.Replaces, err = p.text("replaces", maxShortBytes); err != nil {
		return err
	}
	if _, enrollment := cutAuthenticatorID(asked.Replaces); enrollment != "" {
		asked.Replaces = enrollment
	}
	made, err := a.logins.Associate(c.UserContext(), asked)
	if err != nil {
		return overBearer(err)
	}
	answer := associated{Kind: "otp", Secret: made.Secret, URI: made.URI}
	if asked.Type.IsPasskey() {
		answer = associated{Kind: string(asked.Type), Code: made.ID, PublicKey: made.Options}
	}
	if asked.Type == device.TypePush {
		answer = associated{
			Kind:    "oob",
			Channel: channelPush,
			Code:    made.ID,
			URI:     made.URI,
		}
	}
	if made.Code != "" {
		answer.Codes = []string{string(made.Code)}
	}
	return c.JSON(answer)
}

// associationType reads what is to be enrolled: one type, and of oob the channel of apps on phones.
func associationType(p params) (device.Type, error) {
	types, err := p.texts("authenticator_types")
	if err != nil {
		return "", err
	}
	channels, err := p.texts("oob_channels")
	if err != nil {
		return "", err
	}
	_, names := p["oob_channels"]
	switch {
	case slices.Equal(types, []string{"otp"}) && !names:
		return device.TypeOTP, nil
	case slices.Equal(types, []string{"oob"}) && (!names || slices.Equal(channels, []string{channelPush})):
		return device.TypePush, nil
	case len(types) == 1 && device.Type(types[0]).IsPasskey() && len(channels) == 0:
		return device.Type(types[0]), nil
	}
	return "", badRequest(`authenticator_types is ["otp"], ["webauthn-roaming"], ["webauthn-platform"], or ["oob"] with oob_channels ["auth0"]`)
}

// checkHolder checks what a call with a token says of its client beside it: it need say nothing, and nothing else.
func (a *API) checkHolder(c *fiber.Ctx, p params, pass login.Pass) error {
	ctx := c.UserContext()
	named, secret, err := p.credentials()
	if err != nil {
		return a.charged(ctx, err)
	}
	if named != "" && named != pass.Client {
		return a.charged(ctx, badRequest("client_id is not the client of the token"))
	}
	assertion, err := p.assertion()
	switch {
	case err != nil:
	case assertion != "" && secret != "":
		err = errTwoWays
	case assertion != "":
		_, err = a.byAssertion(ctx, pass.Client, assertion)
	case secret != "":
		_, err = a.client(ctx, pass.Client, secret, false)
	}
	return a.charged(ctx, err)
}

// challenged is the answer of POST /mfa/challenge; number and delivery are ours.
//
// Source: the MFA API of Auth0.
type challenged struct {
	Type     string         `json:"challenge_type"`
	Code     string         `json:"oob_code,omitempty"`
	Number   string         `json:"number,omitempty"`
	Delivery login.Delivery `json:"delivery,omitempty"`

	PublicKey json.RawMessage `json:"publicKey,omitempty"` // of a passkey: the request options
}

// challenge asks for one of the user's factors. The holder of the mfa_token may call it: a browser that cannot keep a
// secret gives only its client's id.
func (a *API) challenge(c *fiber.Ctx) error {
	ctx := c.UserContext()
	p, client, err := a.readAnyhow(c)
	if err != nil {
		return err
	}
	token, err := p.required("mfa_token", maxLongBytes)
	if err != nil {
		return a.charged(ctx, err)
	}
	pass, _, err := a.pass(ctx, token)
	if err != nil {
		return a.charged(ctx, err)
	}
	if client.ID != "" && client.ID != pass.Client {
		return login.ErrMFAToken
	}
	if err := a.checkHolder(c, p, pass); err != nil {
		return err
	}
	// Read what is asked for, and ask.
	asked, err := readChallenge(p, pass)
	if err != nil {
		return err
	}
	audience, err := p.text("audience", maxLongBytes)
	if err != nil {
		return err
	}
	asked.ToEnroll = a.access.IsEnrolment(audience)
	made, err := a.logins.Challenge(ctx, asked)
	if err != nil {
		return err
	}
	// The answer depends on the factor that was chosen.
	answer := challenged{Type: "otp"}
	if made.By == login.WayPasskey {
		answer = challenged{Type: string(login.WayPasskey), PublicKey: made.Options}
	}
	if made.By == login.WayPush {
		answer = challenged{
			Type:     "oob",
			Code:     made.ID,
			Number:   made.Number,
			Delivery: made.Delivery,
		}
	}
	return c.JSON(answer)
}

// readChallenge reads what will do as a proof: challenge_type says one or more types, and authenticator_id one authenticator.
func readChallenge(p params, pass login.Pass) (login.Challenge, error) {
	asked := login.Challenge{Pass: pass}
	types, err := p.text("challenge_type", maxShortBytes)
	if err != nil {
		return asked, err
	}
	named := strings.Fields(types)
	asked.Push = len(named) == 0 || slices.Contains(named, "oob")
	asked.OTP = len(named) == 0 || slices.Contains(named, "otp")
	asked.Passkey = slices.Contains(named, string(login.WayPasskey))
	id, err := p.text("authenticator_id", maxShortBytes)
	if err != nil || id == "" {
		return asked, err
	}
	kind, enrollment := cutAuthenticatorID(id)
	asked.Only = enrollment
	asked.Push = asked.Push && kind == login.WayPush
	asked.OTP = asked.OTP && kind == login.WayOTP
	asked.Passkey = asked.Passkey && (kind == login.WayRoaming || kind == login.WayPlatform)
	if enrollment == "" {
		return asked, login.ErrNoChallenge
	}
	return asked, nil
}
