package loginapi

import (
	"cmp"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server"
	"tutela/server/access"
)

// How a call is authorized: a client shows itself, unless it does in the body; or somebody has a token that a client was given.
const (
	schemeClient = "clientBasic"
	schemeHolder = "mfaTokenOrEnrolmentToken"
)

// operation is an endpoint for /openapi.json. They are plain handlers, since they take forms as well as JSON, so they
// are described by hand.
type operation struct {
	method                   string // POST when it is left out
	path, id, summary, about string
	byHolder                 bool         // it wants a bearer token
	inPath                   string       // the parameter of the path, if any
	parameters               []string     // of the body; a leading * marks one that is required
	answer                   reflect.Type // nil: 204, without a body
	refuses                  []error
	codes                    []server.Refusal // of those that are no error of the domain
}

// byClient are the errors of every call.
var byClient = []error{access.ErrClient}

var operations = []operation{
	{
		path:    "/bc-authorize",
		id:      "backchannel-authorize",
		summary: "Ask a user's phones for an approval",
		about: "CIBA Core 1.0 §7, poll and ping mode. client_notification_token is of a client that is pinged. number is to be shown to the person; delivery is push, pull or silent. " +
			"scope and login_hint are required. A client with request_alg sends request, a JWT that has all parameters as claims (§7.1.1), and beside it nothing but what it authenticates by.",
		parameters: []string{
			"scope", "login_hint", "request", "binding_message", "requested_expiry", "audience", "authorization_details",
			"ip", "user_agent", "login_id", "client_notification_token", "client_id", "client_secret", "client_assertion", "client_assertion_type",
		},
		answer: reflect.TypeFor[authorized](),
		refuses: []error{
			access.ErrGrant, access.ErrAudience, access.ErrRequest, login.ErrUnknownUser, login.ErrRecovery, login.ErrNoPhone, login.ErrBlocked,
		},
		codes: []server.Refusal{
			{Status: http.StatusBadRequest, Code: "invalid_binding_message"},
			{Status: http.StatusBadRequest, Code: "invalid_authorization_details"},
		},
	},
	{
		path:    "/oauth/token",
		id:      "token",
		summary: "Get tokens",
		about: "Grants: urn:openid:params:grant-type:ciba (auth_req_id, wait), authorization_code (code, redirect_uri, code_verifier), client_credentials (audience), " +
			"http://auth0.com/oauth/grant-type/mfa-otp (mfa_token, otp), http://auth0.com/oauth/grant-type/mfa-oob (mfa_token, oob_code), " +
			"http://auth0.com/oauth/grant-type/mfa-recovery-code (mfa_token, recovery_code), " +
			"urn:tutela:params:grant-type:mfa-webauthn (mfa_token, credential).",
		parameters: []string{
			"*grant_type", "auth_req_id", "wait", "mfa_token", "otp", "oob_code", "binding_code", "recovery_code", "credential", "audience", "scope", "remember",
			"code", "redirect_uri", "code_verifier", "client_id", "client_secret", "client_assertion", "client_assertion_type",
		},
		answer: reflect.TypeFor[tokenResponse](),
		refuses: []error{
			access.ErrGrant, access.ErrAudience, access.ErrManagementAudience, login.ErrGrant, login.ErrUndecided, login.ErrSlowDown,
			login.ErrExpired, login.ErrDenied, login.ErrMFAToken, login.ErrMFATokenExpired, recovery.ErrWrongCode,
			device.ErrWrongOTP, recovery.ErrLimited, login.ErrRejected, login.ErrWeakProof, login.ErrUnnamed, login.ErrEnrolment,
			device.ErrTicket, device.ErrTooMany, passkey.ErrResponse, passkey.ErrCeremony, passkey.ErrRefused, passkey.ErrTooOften,
		},
		codes: []server.Refusal{
			{Status: http.StatusBadRequest, Code: "unsupported_grant_type"},
		},
	},
	{
		path:       "/mfa/start",
		id:         "start-mfa",
		summary:    "Begin a login that a grant satisfies",
		about:      "The mfa_token counts only for the client that asked for it, for ten minutes.",
		parameters: []string{"*user_id", "email", "name", "ticket", "remember_token", "ip", "user_agent", "client_id", "client_secret", "client_assertion", "client_assertion_type"},
		answer:     reflect.TypeFor[mfaStarted](),
		refuses:    []error{user.ErrID, login.ErrBlocked, login.ErrTicketRequired},
	},
	{
		path:    "/mfa/requests",
		id:      "request-page",
		summary: "Begin a login that a hosted page satisfies",
		about: "url is for the browser: single use, ten minutes, of the first browser that opens it. It comes back to redirect_uri with code, state and iss " +
			"(RFC 9207), or with error=access_denied. code_challenge_method is S256.",
		parameters: []string{
			"*user_id", "*redirect_uri", "*code_challenge", "code_challenge_method", "state", "purpose", "email", "name", "ticket", "binding_message",
			"ip", "user_agent", "client_id", "client_secret", "client_assertion", "client_assertion_type",
		},
		answer: reflect.TypeFor[pageRequested](),
		refuses: []error{
			access.ErrGrant, user.ErrID, login.ErrPageRequest, login.ErrBlocked, login.ErrTicketRequired, login.ErrNoFactor, login.ErrTooManyStarts,
		},
		codes: []server.Refusal{{Status: http.StatusBadRequest, Code: "invalid_binding_message"}},
	},
	{
		path:       "/mfa/challenge",
		id:         "challenge-mfa",
		summary:    "Ask for one of a user's factors",
		about:      "challenge_type has one or more of oob, otp and webauthn, of which a passkey comes first. publicKey is for navigator.credentials.get. number is to be shown to the person. The client's secret may be left out.",
		parameters: []string{"*mfa_token", "challenge_type", "authenticator_id", "audience", "client_id", "client_secret", "client_assertion", "client_assertion_type"},
		answer:     reflect.TypeFor[challenged](),
		refuses: []error{
			login.ErrMFAToken, login.ErrMFATokenExpired, login.ErrGrant, login.ErrBlocked, login.ErrNoChallenge, login.ErrPresence,
			login.ErrTapOnly, login.ErrTapEnrols, login.ErrWeakProof, passkey.ErrTooOften,
		},
	},
	{
		path:       "/mfa/associate",
		id:         "associate-authenticator",
		summary:    "Enrol an authenticator",
		about:      "By the mfa_token of a new user, or by an enrolment token. The same token gets the same answer again.",
		byHolder:   true,
		parameters: []string{"*authenticator_types", "oob_channels", "replaces", "client_id", "client_secret", "client_assertion", "client_assertion_type"},
		answer:     reflect.TypeFor[associated](),
		refuses: []error{
			login.ErrEnrolled, login.ErrTicketRequired, login.ErrBlocked, login.ErrFlow, device.ErrNoEnrollment, device.ErrFactor,
			passkey.ErrNoDomain, passkey.ErrTooOften,
		},
		codes: byHolder,
	},
	{
		path:       "/mfa/associate/verify",
		id:         "verify-association",
		summary:    "Confirm the association of a passkey",
		about:      "credential is what navigator.credentials.create has made, as toJSON writes it. The same credential gets the same answer again, without recovery codes.",
		byHolder:   true,
		parameters: []string{"*oob_code", "*credential", "client_id", "client_secret", "client_assertion", "client_assertion_type"},
		answer:     reflect.TypeFor[verified](),
		refuses: []error{
			login.ErrBlocked, login.ErrGrant, device.ErrTicket, device.ErrTooMany, device.ErrRegistered, device.ErrFactorOff,
			passkey.ErrResponse, passkey.ErrCeremony, passkey.ErrRefused,
		},
		codes: byHolder,
	},
	{
		method:   http.MethodGet,
		path:     "/mfa/authenticators",
		id:       "list-authenticators",
		summary:  "List a user's authenticators",
		byHolder: true,
		answer:   reflect.TypeFor[[]authenticator](),
		refuses:  []error{login.ErrBlocked},
		codes:    byHolder,
	},
	{
		method:   http.MethodDelete,
		path:     "/mfa/authenticators/{id}",
		id:       "delete-authenticator",
		summary:  "Remove an authenticator",
		about:    "By an enrolment token. The last way in stays.",
		byHolder: true,
		inPath:   "id",
		refuses:  []error{login.ErrBlocked, device.ErrNoEnrollment, device.ErrLastFactor},
		codes:    byHolder,
	},
}

// byHolder is how a call with a bearer token is refused.
var byHolder = []server.Refusal{
	{Status: http.StatusUnauthorized, Code: "invalid_token"},
	{Status: http.StatusForbidden, Code: "insufficient_scope"},
}

// describe adds the login API to the description of all APIs.
func (a *API) describe(s *server.Server) {
	doc := s.API().OpenAPI()
	if doc.Components.SecuritySchemes == nil {
		doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	doc.Components.SecuritySchemes[schemeClient] = &huma.SecurityScheme{
		Type:        "http",
		Scheme:      "basic",
		Description: "The client's id and secret. They may be client_id and client_secret in the body instead.",
	}
	doc.Components.SecuritySchemes[schemeHolder] = &huma.SecurityScheme{
		Type:         "http",
		Scheme:       "bearer",
		BearerFormat: "JWT",
		Description:  "The mfa_token of POST /mfa/start, or an enrolment token: an access token for the audience {public URL}/mfa/.",
	}
	for _, op := range operations {
		described := op.describe(doc.Components.Schemas)
		server.Describe(s.API(), server.LoginAPI, &described, a.refusals(op)...)
		doc.AddOperation(&described)
	}
	s.DescribeDocument("/.well-known/openid-configuration", "get-openid-configuration", "What this server can do",
		doc.Components.Schemas.Schema(access.DiscoveryType, true, "Discovery"))
	s.DescribeDocument("/.well-known/webauthn", "get-related-origins", "The origins whose pages may use the installation's passkeys", &huma.Schema{
		Type:       huma.TypeObject,
		Required:   []string{"origins"},
		Properties: map[string]*huma.Schema{"origins": {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}},
	})
	s.DescribeDocument("/.well-known/jwks.json", "get-keys", "The public keys that tokens are verified by", &huma.Schema{
		Type:     huma.TypeObject,
		Required: []string{"keys"},
		Properties: map[string]*huma.Schema{
			"keys": {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject, Description: "A JWK (RFC 7517)."}},
		},
	})
}

// describe describes an operation, but for how it refuses.
func (op operation) describe(schemas huma.Registry) huma.Operation {
	described := huma.Operation{
		OperationID: op.id,
		Method:      cmp.Or(op.method, http.MethodPost),
		Path:        op.path,
		Summary:     op.summary,
		Description: op.about,
		Tags:        []string{server.GroupLogin},
		Security:    []map[string][]string{{schemeClient: {}}, {}},
		Responses:   map[string]*huma.Response{"204": {Description: http.StatusText(http.StatusNoContent)}},
	}
	if op.byHolder {
		described.Security = []map[string][]string{{schemeHolder: {}}}
	}
	if op.inPath != "" {
		described.Parameters = []*huma.Param{{
			Name:     op.inPath,
			In:       "path",
			Required: true,
			Schema:   &huma.Schema{Type: huma.TypeString},
		}}
	}
	if len(op.parameters) > 0 {
		described.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			fiber.MIMEApplicationForm: {Schema: op.body(formTypes)},
			fiber.MIMEApplicationJSON: {Schema: op.body(jsonTypes)},
		}}
	}
	if op.answer != nil {
		described.Responses = map[string]*huma.Response{"200": {
			Description: http.StatusText(http.StatusOK),
			Content: map[string]*huma.MediaType{
				fiber.MIMEApplicationJSON: {Schema: schemas.Schema(op.answer, true, op.id)},
			},
		}}
	}
	return described
}

// refusals returns how an operation refuses, as its callers are told.
func (a *API) refusals(op operation) []server.Refusal {
	list := op.codes
	for _, err := range append(byClient, op.refuses...) {
		if p := a.translate(err); p != nil {
			list = append(list, server.Refusal{Status: p.Status, Code: p.Code})
		}
	}
	return list
}

// The types of parameters that are not text alone: in JSON, and in a form, where all is text.
var (
	formTypes = map[string]*huma.Schema{
		"requested_expiry":      {Type: huma.TypeString, Description: "Seconds, from 1 to 300."},
		"wait":                  {Type: huma.TypeString, Description: "Seconds, from 0 to 60."},
		"remember":              {Type: huma.TypeString, Enum: []any{"true", "false"}, Description: "Whether the browser is to be remembered."},
		"authorization_details": {Type: huma.TypeString, Description: "JSON text: an array of objects with a type (RFC 9396)."},
	}
	jsonTypes = map[string]*huma.Schema{
		"requested_expiry":      {OneOf: numberOrDigits, Description: "Seconds, from 1 to 300."},
		"wait":                  {OneOf: numberOrDigits, Description: "Seconds, from 0 to 60."},
		"remember":              {OneOf: trueOrText, Description: "Whether the browser is to be remembered."},
		"authenticator_types":   {OneOf: textsOrText, Description: "One of otp, oob, webauthn-roaming and webauthn-platform."},
		"credential":            {OneOf: objectOrText, Description: "What the browser has made, as PublicKeyCredential.toJSON writes it."},
		"oob_channels":          {OneOf: textsOrText, Description: "auth0, for an app on a phone."},
		"authorization_details": {OneOf: detailsOrText, Description: "An array of objects with a type (RFC 9396), or its JSON text."},
	}
	trueOrText     = []*huma.Schema{{Type: huma.TypeBoolean}, {Type: huma.TypeString, Enum: []any{"true", "false"}}}
	textsOrText    = []*huma.Schema{{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}, {Type: huma.TypeString}}
	objectOrText   = []*huma.Schema{{Type: huma.TypeObject}, {Type: huma.TypeString}}
	numberOrDigits = []*huma.Schema{{Type: huma.TypeInteger}, {Type: huma.TypeString}}
	detailsOrText  = []*huma.Schema{{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject}}, {Type: huma.TypeString}}
)

// body describes the parameters of an operation.
func (op operation) body(types map[string]*huma.Schema) *huma.Schema {
	schema := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}}
	for _, name := range op.parameters {
		bare := strings.TrimPrefix(name, "*")
		if bare != name {
			schema.Required = append(schema.Required, bare)
		}
		if schema.Properties[bare] = types[bare]; types[bare] == nil {
			schema.Properties[bare] = &huma.Schema{Type: huma.TypeString}
		}
	}
	return schema
}
