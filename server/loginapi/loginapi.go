// Package loginapi is what login systems call: CIBA in poll mode, the token endpoint, the MFA grants, and the
// documents that describe them. It decodes, authenticates the client, calls one domain method and encodes.
//
// Source: OpenID Connect CIBA Core 1.0; RFC 6749; the MFA API of Auth0.
package loginapi

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"tutela/device/login"
	"tutela/server"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/audit"
)

// API is the login API. Safe for concurrent use.
type API struct {
	store  *storage.Store
	access *access.Service
	logins *login.Service
	waits  *server.Waits
	limit  *server.AddressLimit
}

// Mount puts the login API on a server.
func Mount(s *server.Server, store *storage.Store, a *access.Service, logins *login.Service) {
	api := &API{
		store:  store,
		access: a,
		logins: logins,
		waits:  s.Waits(),
		limit:  s.AddressLimit(),
	}
	s.Translate(server.LoginAPI, api.translate)
	app := s.App()
	app.Get("/.well-known/openid-configuration", api.discovery)
	app.Get("/.well-known/jwks.json", api.jwks)
	app.Get("/.well-known/webauthn", api.relatedOrigins)
	s.Door(http.MethodPost, "/mfa/associate", api.bearerDoor)
	app.Post("/mfa/associate", api.associate)
	s.Door(http.MethodPost, "/mfa/associate/verify", api.bearerDoor)
	app.Post("/mfa/associate/verify", api.verifyPasskey)
	app.Get("/mfa/authenticators", api.authenticators)
	s.Door(http.MethodDelete, "/mfa/authenticators/{id}", api.bearerDoor)
	app.Delete("/mfa/authenticators/:id", api.removeAuthenticator)
	s.Door(http.MethodPost, "/mfa/challenge", api.door)
	app.Post("/mfa/challenge", api.challenge)
	for path, handle := range map[string]fiber.Handler{
		"/bc-authorize": api.authorize,
		"/oauth/token":  api.token,
		"/mfa/start":    api.startMFA,
		"/mfa/requests": api.requestPage,
	} {
		s.Door(http.MethodPost, path, api.door)
		app.Post(path, handle)
	}
	api.describe(s)
}

func (a *API) discovery(c *fiber.Ctx) error { return document(c, a.access.Discovery()) }

func (a *API) jwks(c *fiber.Ctx) error {
	keys, err := a.access.JWKS(c.UserContext())
	if err != nil {
		return err
	}
	return document(c, keys)
}

// document answers with a public document. Keys are published ten minutes before they sign, so five minutes in a
// cache hide none that is needed.
func document(c *fiber.Ctx, body []byte) error {
	c.Set(fiber.HeaderCacheControl, "public, max-age=300")
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(body)
}

// token is the token endpoint: one function a grant.
func (a *API) token(c *fiber.Ctx) error {
	p, client, err := a.read(c)
	if err != nil {
		return err
	}
	grant, err := p.text("grant_type", maxShortBytes)
	if err != nil {
		return err
	}
	switch grant {
	case "":
		return badRequest("grant_type is missing")
	case access.GrantCIBA:
		return a.collect(c, p, client)
	case access.GrantOTP:
		return a.redeemOTP(c, p, client)
	case access.GrantOOB:
		return a.redeemOOB(c, p, client)
	case access.GrantPasskey:
		return a.redeemPasskey(c, p, client)
	case access.GrantRecoveryCode:
		return a.redeemCode(c, p, client)
	case access.GrantAuthorizationCode:
		return a.exchangePage(c, p, client)
	case access.GrantClientCredentials:
		return a.managementToken(c, p, client)
	default:
		return &server.Problem{Status: http.StatusBadRequest, Code: "unsupported_grant_type", Message: "this grant_type is not served here"}
	}
}

// managementToken is the grant client_credentials.
func (a *API) managementToken(c *fiber.Ctx, p params, client access.Client) error {
	audience, err := p.text("audience", maxLongBytes)
	if err != nil {
		return err
	}
	scopes, err := p.scopes()
	if err != nil {
		return err
	}
	token, granted, err := a.access.ManagementToken(c.UserContext(), client, audience, scopes)
	if err != nil {
		return err
	}
	return c.JSON(tokenResponse{
		AccessToken: token,
		TokenType:   "Bearer",
		ExpiresIn:   int(access.ManagementLife.Seconds()),
		Scope:       joined(granted),
	})
}

// actorOf is the user, by the login system that makes a call.
func actorOf(c *fiber.Ctx, client access.Client) audit.Actor {
	address := server.CallOf(c.UserContext()).Address.String()
	return audit.ByUser().WithClient(client.ID).WithOrigin(address, c.Get(fiber.HeaderUserAgent))
}
