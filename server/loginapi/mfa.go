package loginapi

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"tutela/device"
	"tutela/device/login"
	"tutela/server/access"
)

// requirements is what a user can be challenged with, or has to enrol.
type requirements struct {
	Challenge []factor `json:"challenge,omitempty"`
	Enroll    []factor `json:"enroll,omitempty"`
}

type factor struct {
	Type string `json:"type"`
}

// mfaStarted is the answer of POST /mfa/start.
type mfaStarted struct {
	Token        string       `json:"mfa_token,omitempty"`
	Requirements requirements `json:"mfa_requirements"`
	Created      bool         `json:"created,omitempty"` // the user was not known: an id may be mistyped

	Remembered bool   `json:"remembered,omitempty"` // the browser is: nothing is asked, and there is no mfa_token
	Result     string `json:"result_token,omitempty"`
}

// startMFA begins a login that a grant is to satisfy. The client needs no grant of its own for it.
func (a *API) startMFA(c *fiber.Ctx) error {
	p, client, err := a.read(c)
	if err != nil {
		return err
	}
	start := login.MFAStart{
		Client:  client.ID,
		Name:    client.Name,
		TapOnly: client.Presence == device.PresenceTap,
		Actor:   actorOf(c, client),
	}
	if start.IP, start.Agent, err = browserOf(p); err != nil {
		return err
	}
	if start.User.ID, err = p.required("user_id", maxLongBytes); err != nil {
		return err
	}
	if start.User.Email, err = p.text("email", maxShortBytes); err != nil {
		return err
	}
	if start.User.Name, err = p.text("name", maxShortBytes); err != nil {
		return err
	}
	if start.Ticket, err = p.text("ticket", maxShortBytes); err != nil {
		return err
	}
	if start.Browser, err = p.text("remember_token", maxLongBytes); err != nil {
		return err
	}
	started, err := a.logins.StartMFA(c.UserContext(), start)
	if err != nil {
		return err
	}
	if started.Remembered != nil {
		return a.remembered(c, client, *started.Remembered)
	}
	return c.JSON(mfaStarted{Token: started.Token, Requirements: required(started), Created: started.Created})
}

// required says what is asked of a user. Who is not new is always challenged: a recovery_only user with the recovery code
// alone, with or without one, and never with first-time set-up.
func required(s login.MFAStarted) requirements {
	pushFactor := factor{string(device.FactorPush)}
	otpFactor := factor{string(device.FactorOTP)}
	codeFactor := factor{string(device.FactorCode)}
	var r requirements
	for _, f := range s.Enroll {
		r.Enroll = append(r.Enroll, factor{string(f)})
	}
	if s.Phones {
		r.Challenge = append(r.Challenge, pushFactor)
	}
	if s.OTP {
		r.Challenge = append(r.Challenge, otpFactor)
	}
	for _, f := range s.Passkeys {
		r.Challenge = append(r.Challenge, factor{string(f)})
	}
	if s.AskCode {
		r.Challenge = append(r.Challenge, codeFactor)
	}
	return r
}

// remembered answers a login of a remembered browser, with what was proven when it was remembered.
func (a *API) remembered(c *fiber.Ctx, client access.Client, r login.Remembered) error {
	l := access.Login{
		UserID: r.UserID,
		AMR:    []string{"mfa", string(r.Method)},
		At:     a.store.Wall().Add(r.Proved.Sub(a.store.Now())),
	}
	token, err := a.access.ResultToken(c.UserContext(), client, l, "", login.ResultLife)
	if err != nil {
		return err
	}
	return c.JSON(mfaStarted{Remembered: true, Result: token})
}

// mfaGrant is what the MFA grants have in common.
type mfaGrant struct {
	grant   login.Grant
	code    string // as it was typed, or an oob_code
	request tokenRequest
}

// readMFAGrant reads the parameters of an MFA grant, whose code is named by its parameter, if it has one. A code must not be spent on a request
// that cannot be answered, so all that can be refused is refused here.
func (a *API) readMFAGrant(c *fiber.Ctx, p params, client access.Client, codeParameter string) (g mfaGrant, err error) {
	token, err := p.required("mfa_token", maxLongBytes)
	if err != nil {
		return g, err
	}
	if codeParameter != "" {
		if g.code, err = p.required(codeParameter, maxLongBytes); err != nil {
			return g, err
		}
	}
	g.grant.Client = client.ID
	g.grant.Actor = actorOf(c, client)
	if g.grant.Pass, _, err = a.pass(c.UserContext(), token); err != nil {
		return g, err
	}
	if g.request.scopes, err = p.scopes(); err != nil {
		return g, err
	}
	if g.grant.Remember, err = p.boolean("remember"); err != nil {
		return g, err
	}
	g.request.enrols = access.EnrolmentScopes(g.request.scopes)
	if len(g.request.scopes) == 0 {
		g.request.scopes = []string{access.ScopeOpenID}
	}
	if g.request.audience, err = p.text("audience", maxLongBytes); err != nil {
		return g, err
	}
	if a.access.IsEnrolment(g.request.audience) {
		g.grant.Enrols = true
		g.request.txID = g.grant.Pass.Login
		return g, nil
	}
	return g, a.access.CheckAudience(c.UserContext(), client, g.request.audience)
}

// redeemed is what a grant comes to; only a recovery code has a next one.
type redeemed = login.CodeOutcome

// grantMFA serves an MFA grant, whose code is named by its parameter, if it has one.
func (a *API) grantMFA(
	c *fiber.Ctx, p params, client access.Client, grant, codeParameter string, redeem func(ctx context.Context, g mfaGrant) (redeemed, error),
) error {
	if err := client.MayUse(grant); err != nil {
		return err
	}
	g, err := a.readMFAGrant(c, p, client, codeParameter)
	if err != nil {
		return err
	}
	o, err := redeem(c.UserContext(), g)
	if err != nil {
		return err
	}
	response, err := a.makeTokens(c, client, o.Outcome, g.request)
	if err != nil {
		return err
	}
	response.RecoveryCode = string(o.Next)
	return c.JSON(response)
}

// redeemCode is the grant mfa-recovery-code.
func (a *API) redeemCode(c *fiber.Ctx, p params, client access.Client) error {
	return a.grantMFA(c, p, client, access.GrantRecoveryCode, "recovery_code", func(ctx context.Context, g mfaGrant) (redeemed, error) {
		return a.logins.RedeemCode(ctx, g.grant, g.code)
	})
}

// redeemOTP is the grant mfa-otp.
func (a *API) redeemOTP(c *fiber.Ctx, p params, client access.Client) error {
	return a.grantMFA(c, p, client, access.GrantOTP, "otp", func(ctx context.Context, g mfaGrant) (redeemed, error) {
		o, err := a.logins.RedeemOTP(ctx, g.grant, g.code)
		return redeemed{Outcome: o}, err
	})
}

// redeemOOB is the grant mfa-oob. binding_code is of factors that we do not have, and is not looked at.
func (a *API) redeemOOB(c *fiber.Ctx, p params, client access.Client) error {
	return a.grantMFA(c, p, client, access.GrantOOB, "oob_code", func(ctx context.Context, g mfaGrant) (redeemed, error) {
		o, err := a.logins.RedeemOOB(ctx, g.grant, g.code)
		return redeemed{Outcome: o}, err
	})
}

// redeemPasskey is the grant mfa-webauthn.
func (a *API) redeemPasskey(c *fiber.Ctx, p params, client access.Client) error {
	return a.grantMFA(c, p, client, access.GrantPasskey, "", func(ctx context.Context, g mfaGrant) (redeemed, error) {
		response, err := p.credential()
		if err != nil {
			return redeemed{}, err
		}
		o, err := a.logins.RedeemPasskey(ctx, g.grant, response)
		return redeemed{Outcome: o}, err
	})
}
