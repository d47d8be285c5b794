package challenge

import (
	"errors"
	"net/url"
	"slices"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/otp"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/server/web/page"
)

// mistakes are what the page says of what was typed, below challenge.wrong.
var mistakes = []struct {
	err  error
	says string
}{
	{otp.ErrTypo, "digits"},
	{device.ErrWrongOTP, "otp"},
	{recovery.ErrTypo, "typo"},
	{recovery.ErrWrongCode, "code"},
	{recovery.ErrLimited, "limited"},
	{device.ErrCodeEnd, "end"},
	{passkey.ErrResponse, "passkey"},
	{passkey.ErrCeremony, "passkey"},
	{passkey.ErrRefused, "passkey"},
	{passkey.ErrCopied, "passkey"},
	{passkey.ErrBound, "passkey"},
	{login.ErrTooMany, "often"},
}

// moved are errors of a step that the page has gone past: it shows how it stands.
var moved = []error{
	login.ErrGrant, login.ErrMFAToken, login.ErrMFATokenExpired, login.ErrExpired, login.ErrNoLogin, login.ErrBlocked, login.ErrUnsaved,
	login.ErrNoPhone, login.ErrRecovery, login.ErrUnknownUser, login.ErrPresence, login.ErrTapEnrols, login.ErrEnrolment,
	device.ErrFactorOff, login.ErrNoChallenge, login.ErrUndecided, login.ErrDenied,
}

// ways are the pages on which something is typed or signed, by the parameter that names them.
var ways = []string{"otp", "code", "passkey"}

// done answers a step: the page goes on, or says what is wrong.
func (p *pages) done(c *page.Call, err error) (page.Reply, error) {
	if err == nil {
		return goTo(c), nil
	}
	for _, m := range mistakes {
		if !errors.Is(err, m.err) {
			continue
		}
		c.Tell(about(c), m.says)
		to := url.Values{"request": {c.Query("request")}}
		if way := c.Query("way"); slices.Contains(ways, way) {
			to.Set("way", way)
		}
		return c.GoTo("mfa/challenge", to), nil
	}
	for _, past := range moved {
		if errors.Is(err, past) {
			return goTo(c), nil
		}
	}
	return page.Reply{}, err
}

// about names the page of a request.
func about(c *page.Call) string { return "challenge " + c.Query("request") }

// told returns what the page says of the form before: what is wrong, below challenge.wrong; "": nothing. What waits since it was tried
// too often, the page says by itself.
func told(c *page.Call) (wrong string) {
	words := c.Told(about(c))
	if len(words) != 1 {
		return ""
	}
	for _, m := range mistakes {
		if m.says == words[0] {
			return m.says
		}
	}
	return ""
}

func (p *pages) newNumber(c *page.Call) (page.Reply, error) {
	return p.done(c, p.Logins.AskAgain(c.UserContext(), VisitOf(c)))
}

// remembers notes what the form says about remembering the browser, if it asks.
func (p *pages) remembers(c *page.Call) error {
	if c.Posted("asks") == "" {
		return nil
	}
	return p.Logins.RememberPage(c.UserContext(), VisitOf(c), c.Posted("remember") != "")
}

func (p *pages) remember(c *page.Call) (page.Reply, error) { return p.done(c, p.remembers(c)) }

func (p *pages) typeOTP(c *page.Call) (page.Reply, error) {
	err := p.remembers(c)
	if err == nil {
		err = p.Logins.TypePageOTP(c.UserContext(), VisitOf(c), c.Posted("otp"))
	}
	return p.done(c, err)
}

func (p *pages) typeCode(c *page.Call) (page.Reply, error) {
	return p.done(c, p.Logins.TypePageCode(c.UserContext(), VisitOf(c), c.Posted("code")))
}

func (p *pages) signPasskey(c *page.Call) (page.Reply, error) {
	err := p.remembers(c)
	if err == nil {
		err = p.Logins.SignPagePasskey(c.UserContext(), VisitOf(c), passkey.Response(c.Posted("credential")))
	}
	return p.done(c, err)
}

// confirmSaved ends the showing of the next recovery code.
func (p *pages) confirmSaved(c *page.Call) (page.Reply, error) {
	return p.done(c, p.Logins.ConfirmPageCode(c.UserContext(), VisitOf(c), c.Posted("end")))
}

// setUpPhone leads the browser to the enrolment page of a new phone.
func (p *pages) setUpPhone(c *page.Call) (page.Reply, error) {
	ticket, err := p.Logins.SetUpPhone(c.UserContext(), VisitOf(c), c.Posted("replaces"))
	if errors.Is(err, device.ErrNoEnrollment) {
		err = login.ErrEnrolment // it is gone meanwhile: the page shows which are left
	}
	if err != nil {
		return p.done(c, err)
	}
	return c.GoTo("mfa/enrollment", url.Values{"ticket": {ticket}}), nil
}

func (p *pages) goOn(c *page.Call) (page.Reply, error) {
	return p.done(c, p.Logins.GoOn(c.UserContext(), VisitOf(c)))
}

// cancel sends the browser back without a proof.
func (p *pages) cancel(c *page.Call) (page.Reply, error) {
	f, err := p.Logins.CancelPage(c.UserContext(), VisitOf(c))
	if err != nil {
		return page.Reply{}, err
	}
	return c.Leave(backURL(f, p.Issuer)), nil
}
