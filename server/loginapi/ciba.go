package loginapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"tutela/device"
	"tutela/device/login"
	"tutela/server"
	"tutela/server/access"
	"tutela/storage/audit"
	"tutela/storage/legible"
)

// What CIBA fixes, or we within it.
const (
	maxBindingMessage = 64 // characters
	waitsPerLogin     = 2
	maxLoginIDBytes   = 255
	maxDetailsBytes   = 8 << 10
)

// authorized is the response of the backchannel authentication endpoint; number and delivery are ours.
type authorized struct {
	ID       string         `json:"auth_req_id"`
	Expires  int            `json:"expires_in"`
	Interval int            `json:"interval"`
	Number   string         `json:"number,omitempty"`
	Delivery login.Delivery `json:"delivery"`
}

// authorize is the backchannel authentication endpoint.
//
// Source: CIBA Core 1.0 §7.
func (a *API) authorize(c *fiber.Ctx) error {
	p, client, err := a.read(c)
	if err != nil {
		return err
	}
	if err := client.MayUse(access.GrantCIBA); err != nil {
		return err
	}
	if p, err = a.signedParams(c.UserContext(), p, client); err != nil {
		return err
	}
	req, err := a.cibaRequest(c, p, client)
	if err != nil {
		return err
	}
	begun, err := a.logins.Begin(c.UserContext(), req)
	if err != nil {
		return unknownUser(client, err)
	}
	return c.JSON(authorized{
		ID:       begun.ID,
		Expires:  seconds(begun.Expires + time.Second - 1),
		Interval: seconds(login.PollInterval),
		Number:   begun.Number,
		Delivery: begun.Delivery,
	})
}

// seconds are the whole seconds of d.
func seconds(d time.Duration) int { return int(d / time.Second) }

// unknownUser hides, from a client that may not read users, whether a user is unknown or has nothing enrolled.
func unknownUser(client access.Client, err error) error {
	if errors.Is(err, login.ErrUnknownUser) && slices.Contains(client.Scopes, access.ScopeReadUsers) {
		return &server.Problem{Status: http.StatusBadRequest, Code: "unknown_user_id", Message: server.Message(err)}
	}
	return err
}

func (a *API) cibaRequest(c *fiber.Ctx, p params, client access.Client) (login.Request, error) {
	req := login.Request{Client: client.ID, Name: client.Name, TapOnly: client.Presence == device.PresenceTap}
	scopes, err := p.scopes()
	if err != nil {
		return req, err
	}
	if !slices.Contains(scopes, access.ScopeOpenID) {
		return req, badRequest("openid scope must be requested")
	}
	req.Scope = joined(client.Granted(scopes))
	if req.UserID, err = loginHint(p); err != nil {
		return req, err
	}
	if req.Message, err = bindingMessage(p); err != nil {
		return req, err
	}
	expiry, err := p.number("requested_expiry", seconds(login.DefaultLife), 1, seconds(login.MaxLife))
	if err != nil {
		return req, err
	}
	req.Life = time.Duration(expiry) * time.Second
	if req.Audience, err = p.text("audience", maxLongBytes); err != nil {
		return req, err
	}
	if err := a.access.CheckAudience(c.UserContext(), client, req.Audience); err != nil {
		return req, err
	}
	if req.Details, err = authorizationDetails(p); err != nil {
		return req, err
	}
	if err := pingOf(p, client, &req); err != nil {
		return req, err
	}
	err = aboutLogin(p, &req)
	return req, err
}

// aboutLogin reads what the login system says about the browser that logs in.
func aboutLogin(p params, req *login.Request) (err error) {
	if req.IP, req.Agent, err = browserOf(p); err != nil {
		return err
	}
	req.LoginID, err = p.text("login_id", maxLoginIDBytes)
	return err
}

// browserOf reads the address and the user agent of the browser that logs in. They are only shown, and choose the bucket of
// pushes: what is wrong with them is mended, and an address that cannot be read counts as none.
func browserOf(p params) (ip, agent string, err error) {
	ip, errIP := p.text("ip", anyBytes)
	agent, errAgent := p.text("user_agent", anyBytes)
	return readAddress(ip), audit.ClipAgent(agent), cmp.Or(errIP, errAgent)
}

// readAddress reads an IP address, that may come with a port, brackets or blanks; "" when it is none.
func readAddress(given string) string {
	given = strings.TrimSpace(given)
	if pair, err := netip.ParseAddrPort(given); err == nil {
		given = pair.Addr().String()
	}
	given = strings.TrimSuffix(strings.TrimPrefix(given, "["), "]")
	addr, err := netip.ParseAddr(given)
	if err != nil {
		return ""
	}
	return addr.Unmap().WithZone("").String()
}

// loginHint reads whom the request is about: iss_sub as JSON text, whose iss is not compared, or the plain user id.
// No other hint is taken beside it.
//
// Source: CIBA Core 1.0 §7.1 (one hint and no more).
func loginHint(p params) (string, error) {
	for _, other := range []string{"login_hint_token", "id_token_hint"} {
		if _, there := p[other]; there {
			return "", badRequest("the user is named by login_hint alone, not by " + other)
		}
	}
	hint, err := p.required("login_hint", maxLongBytes)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(strings.TrimSpace(hint), "{") {
		return hint, nil
	}
	named, errForm := parseJSON([]byte(hint))
	format, errFormat := named.text("format", maxShortBytes)
	subject, err := named.required("sub", maxLongBytes)
	if err := errors.Join(errForm, errFormat, err); err != nil || format != "iss_sub" {
		return "", badRequest("login_hint is no {\"format\":\"iss_sub\",\"iss\",\"sub\"}")
	}
	return subject, nil
}

// bindingMessage reads the message that both screens show. What nobody can see in it becomes U+FFFD, so that it is seen on
// the phone.
func bindingMessage(p params) (string, error) {
	message, err := p.text("binding_message", maxLongBytes)
	message = legible.Clean(message, maxLongBytes)
	if err == nil && utf8.RuneCountInString(message) > maxBindingMessage {
		err = fmt.Errorf("binding_message has more than %d characters", maxBindingMessage)
	}
	if err != nil {
		return "", &server.Problem{Status: http.StatusBadRequest, Code: "invalid_binding_message", Message: err.Error()}
	}
	return message, nil
}

// authorizationDetails reads an array of objects that each have a type; in a form it is JSON text.
//
// Source: RFC 9396 §2, §5.
func authorizationDetails(p params) (json.RawMessage, error) {
	raw, ok := p["authorization_details"]
	if !ok {
		return nil, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	var details []params
	err := server.Unmarshal(raw, &details)
	if err == nil && len(raw) > maxDetailsBytes {
		err = errors.New("too large")
	}
	for _, d := range details {
		_, noType := d.required("type", maxDetailsBytes)
		err = errors.Join(err, noType)
	}
	if err != nil || len(details) == 0 {
		return nil, &server.Problem{
			Status: http.StatusBadRequest, Code: "invalid_authorization_details",
			Message: "authorization_details is an array of objects with a type, of at most 8 KiB",
		}
	}
	return raw, nil
}

// tokenResponse is the response of the token endpoint; recovery_code only of the grant that spends one.
type tokenResponse struct {
	AccessToken  string          `json:"access_token"`
	IDToken      string          `json:"id_token,omitempty"`
	TokenType    string          `json:"token_type"`
	ExpiresIn    int             `json:"expires_in"`
	Scope        string          `json:"scope"` // always there: left out it would mean what was requested (RFC 6749 §5.1)
	Details      json.RawMessage `json:"authorization_details,omitempty"`
	RecoveryCode string          `json:"recovery_code,omitempty"`
	Remember     string          `json:"remember_token,omitempty"`
}

// collect is the CIBA grant. A call that waits is run again after each wake, so the client is known to be there still when
// it gets its tokens.
func (a *API) collect(c *fiber.Ctx, p params, client access.Client) error {
	if err := client.MayUse(access.GrantCIBA); err != nil {
		return err
	}
	id, err := p.required("auth_req_id", maxShortBytes)
	if err != nil {
		return err
	}
	wait, err := p.number("wait", 0, 0, seconds(login.MaxWait))
	if err != nil {
		return err
	}
	exchange := func(o login.Outcome) (tokenResponse, error) {
		return a.makeTokens(c, client, o, tokenRequest{authReqID: id, scopes: strings.Fields(o.Login.Scope), audience: o.Login.Audience})
	}
	if wait > 0 {
		return a.await(c, client, id, time.Duration(wait)*time.Second, exchange)
	}
	outcome, err := a.logins.Poll(c.UserContext(), client.ID, id)
	if err != nil {
		return err
	}
	response, err := exchange(outcome)
	if err != nil {
		return err
	}
	return c.JSON(response)
}

// await answers with the tokens of a login once it is decided: the same to each request that waits for it. Two wait at
// most; over that, or when the server has enough, the answer comes at once.
func (a *API) await(c *fiber.Ctx, client access.Client, id string, wait time.Duration, exchange func(login.Outcome) (tokenResponse, error)) error {
	ctx, leave, ok := a.waits.Enter(c.UserContext(), "login:"+client.ID+":"+id, waitsPerLogin)
	defer leave()
	if !ok {
		wait = 0
	}
	answer, err := a.logins.Exchange(ctx, login.Exchange{
		Client:  client.ID,
		ID:      id,
		Wait:    wait,
		IsThere: server.CallOf(c.UserContext()).CallerIsThere,
		Answer: func(o login.Outcome) ([]byte, error) {
			response, err := exchange(o)
			if err != nil {
				return nil, err
			}
			return json.Marshal(response)
		},
	})
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(answer)
}

// tokenRequest is what the tokens of a login are asked for with.
type tokenRequest struct {
	authReqID string
	scopes    []string
	audience  string
	enrols    []string // the scopes of the enrolment token that it may be
	txID      string   // of the login, for that
}

// makeTokens makes the tokens of a login.
func (a *API) makeTokens(c *fiber.Ctx, client access.Client, o login.Outcome, req tokenRequest) (tokenResponse, error) {
	ctx := c.UserContext()
	l := access.Login{
		UserID:    o.UserID,
		AMR:       []string{"mfa", string(o.Login.Method)},
		AuthReqID: req.authReqID,
		// The house's time differs from the wall after a jump; how long ago it was does not.
		At: a.store.Wall().Add(o.Decided.Sub(a.store.Now())),
	}
	granted := client.Granted(req.scopes)
	response := tokenResponse{
		TokenType: "Bearer",
		ExpiresIn: int(access.TokenLife.Seconds()),
		Scope:     joined(granted),
		Details:   o.Login.Details,
		Remember:  o.Remember,
	}
	err := a.accessToken(ctx, client, o, l, req, &response)
	if err != nil {
		return tokenResponse{}, err
	}
	if slices.Contains(granted, access.ScopeOpenID) {
		response.IDToken, err = a.access.IDToken(ctx, client, l)
	}
	return response, err
}

// accessToken puts the access token of a login into the response: an enrolment token if the domain has given one, and else one about the
// user, which is never for our own audience.
func (a *API) accessToken(
	ctx context.Context, client access.Client, o login.Outcome, l access.Login, req tokenRequest, response *tokenResponse,
) (err error) {
	if o.EnrolUntil.IsZero() {
		if a.access.IsEnrolment(req.audience) { // of an answer that gives none
			req.audience = ""
		}
		response.AccessToken, err = a.access.AccessToken(ctx, client, l, req.audience, req.scopes)
		return err
	}
	left := o.EnrolUntil.Sub(a.store.Now())
	response.ExpiresIn = seconds(left)
	scopes := slices.DeleteFunc(strings.Fields(response.Scope), func(scope string) bool { return slices.Contains(req.enrols, scope) })
	response.Scope = joined(append(scopes, req.enrols...))
	response.AccessToken, err = a.access.EnrolmentToken(ctx, l, access.Enrolment{
		Audience: req.audience,
		ClientID: client.ID,
		TxID:     req.txID,
		Scopes:   req.enrols,
		Until:    a.store.Wall().Add(left),
	})
	return err
}
