package loginapi

import (
	"net/url"
	"slices"

	"github.com/gofiber/fiber/v2"

	"tutela/device/login"
	"tutela/server/access"
)

// pageRequested is the answer of POST /mfa/requests.
type pageRequested struct {
	URL string `json:"url"`
}

// requestPage begins a login that a hosted page satisfies.
func (a *API) requestPage(c *fiber.Ctx) error {
	p, client, err := a.read(c)
	if err != nil {
		return err
	}
	if err := client.MayUse(access.GrantAuthorizationCode); err != nil {
		return err
	}
	request, err := readPageRequest(p, client)
	if err != nil {
		return err
	}
	request.Actor = actorOf(c, client)
	id, err := a.logins.RequestPage(c.UserContext(), request)
	if err != nil {
		return err
	}
	return c.JSON(pageRequested{a.access.Issuer() + "mfa/challenge?request=" + url.QueryEscape(id)})
}

// readPageRequest reads what a client asks a hosted page for. The redirect URI is compared character by character.
//
// Source: RFC 9700 §2.1 (exact match), §2.1.1 (PKCE, S256).
func readPageRequest(p params, client access.Client) (r login.PageRequest, err error) {
	r.Client = client.ID
	r.Name = client.Name
	r.Purpose = login.PageLogin
	if r.User.ID, err = p.required("user_id", maxLongBytes); err != nil {
		return r, err
	}
	if r.Redirect, err = p.required("redirect_uri", maxLongBytes); err != nil {
		return r, err
	}
	if !slices.Contains(client.RedirectURIs, r.Redirect) {
		return r, badRequest("redirect_uri is not registered for this client")
	}
	// PKCE, and what the page is for.
	method, err := p.text("code_challenge_method", maxShortBytes)
	if err != nil {
		return r, err
	}
	if method != "" && method != "S256" {
		return r, badRequest("code_challenge_method is S256")
	}
	purpose, err := p.text("purpose", maxShortBytes)
	if err != nil {
		return r, err
	}
	if purpose != "" {
		r.Purpose = login.PagePurpose(purpose)
	}
	// What else the client may say about the user and the browser.
	for name, to := range map[string]*string{
		"email":          &r.User.Email,
		"name":           &r.User.Name,
		"ticket":         &r.Ticket,
		"code_challenge": &r.Challenge,
	} {
		if *to, err = p.text(name, maxShortBytes); err != nil {
			return r, err
		}
	}
	if r.State, err = p.text("state", maxLongBytes); err != nil {
		return r, err
	}
	if r.Message, err = bindingMessage(p); err != nil {
		return r, err
	}
	r.IP, r.Agent, err = browserOf(p)
	return r, err
}

// exchangePage is the grant authorization_code, which hands over the outcome of a hosted page.
//
// Source: RFC 6749 §4.1.3; RFC 7636 §4.5.
func (a *API) exchangePage(c *fiber.Ctx, p params, client access.Client) error {
	if err := client.MayUse(access.GrantAuthorizationCode); err != nil {
		return err
	}
	e := login.PageExchange{Client: client.ID}
	var err error
	for name, to := range map[string]*string{
		"code":          &e.Code,
		"redirect_uri":  &e.Redirect,
		"code_verifier": &e.Verifier,
	} {
		if *to, err = p.required(name, maxLongBytes); err != nil {
			return err
		}
	}
	if !isVerifier(e.Verifier) {
		return badRequest("code_verifier has 43 to 128 characters of A-Z a-z 0-9 - . _ ~")
	}
	req := tokenRequest{}
	if req.scopes, err = p.scopes(); err != nil {
		return err
	}
	if len(req.scopes) == 0 {
		req.scopes = []string{access.ScopeOpenID}
	}
	if req.audience, err = p.text("audience", maxLongBytes); err != nil {
		return err
	}
	// A code must not be spent on a request that cannot be answered.
	if err := a.access.CheckAudience(c.UserContext(), client, req.audience); err != nil {
		return err
	}
	o, err := a.logins.ExchangePage(c.UserContext(), e)
	if err != nil {
		return err
	}
	response, err := a.makeTokens(c, client, o, req)
	if err != nil {
		return err
	}
	return c.JSON(response)
}

// isVerifier reports whether a text can be a code verifier.
//
// Source: RFC 7636 §4.1.
func isVerifier(text string) bool {
	if len(text) < 43 || len(text) > 128 {
		return false
	}
	for _, r := range []byte(text) {
		isLetter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !isLetter && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_' && r != '~' {
			return false
		}
	}
	return true
}
