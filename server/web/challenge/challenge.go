// Package challenge serves the pages on which a person proves that it is she who signs in, for a login system that has sent her browser
// here.
//
// One address shows whatever is next: the number to type on the phone, another way, the next recovery code, a new phone. When it is
// over, it sends the browser back. It belongs to the first browser that opens it, which a cookie knows again. A program that only reads
// links keeps no cookies, and so neither takes the page away nor makes a phone ring; nor does a browser that loads the page ahead.
package challenge

import (
	"context"
	"embed"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/device/login"
	"tutela/recovery"
	"tutela/server/web/page"
	"tutela/storage"
	"tutela/storage/audit"
)

//go:embed pages/*.html
var files embed.FS

// BrowserCookie is the name of the cookie that knows the browser of a challenge again. The person's own page is opened with it too.
const BrowserCookie = "tutela_challenge"

const (
	browserCharacters = 43 // of 62: 256 bits
	browserLife       = 24 * time.Hour
	rememberedCookie  = "tutela_remembered"
	mostRemembered    = 4 // tokens in the cookie: one a person and login system
	waitsPerPage      = 4
)

// Services are what the pages call.
type Services struct {
	Logins *login.Service
	Issuer string // of the answers that browsers bring back (RFC 9207)
}

// pages are the mounted pages.
type pages struct {
	Services
}

// Mount puts the pages on the kit's server.
func Mount(kit *page.Kit, services Services) {
	p := &pages{services}
	set := kit.Set(files, page.WithPasskeys(), page.WithTrouble(p.trouble))
	app := kit.App()
	set.Get(app, "/mfa/challenge", p.show)
	for path, act := range map[string]page.Handler{
		"/mfa/challenge/number":   p.newNumber,
		"/mfa/challenge/otp":      p.typeOTP,
		"/mfa/challenge/code":     p.typeCode,
		"/mfa/challenge/passkey":  p.signPasskey,
		"/mfa/challenge/saved":    p.confirmSaved,
		"/mfa/challenge/phone":    p.setUpPhone,
		"/mfa/challenge/on":       p.goOn,
		"/mfa/challenge/remember": p.remember,
		"/mfa/challenge/cancel":   p.cancel,
	} {
		set.Post(app, path, act)
		set.Get(app, path, p.back) // an address may be typed, or kept
	}
}

// back sends a browser from the address of a form to the page.
func (p *pages) back(c *page.Call) (page.Reply, error) { return goTo(c), nil }

// goTo sends the browser to the page of its request.
func goTo(c *page.Call) page.Reply {
	return c.GoTo("mfa/challenge", url.Values{"request": {c.Query("request")}})
}

// VisitOf is a call for the page of a request.
func VisitOf(c *page.Call) login.Visit {
	v := login.Visit{
		Request: c.Query("request"),
		Browser: c.Kept(BrowserCookie),
		IP:      c.Address(),
		Agent:   audit.ClipAgent(c.Agent()),
		Actor:   audit.ByUser().WithOrigin(c.Address(), c.Agent()),
	}
	if kept := c.Kept(rememberedCookie); kept != "" {
		v.Remembered = strings.SplitN(kept, "~", mostRemembered)
	}
	return v
}

// shown is what the pages about one request show.
type shown struct {
	page.Frame
	login.PageView
	Request   string
	Wrong     string // why what was typed does not count: a key of the catalogue below challenge.wrong; "": nothing was typed
	Again     int    // seconds until the page asks again
	Options   string // of a passkey, as JSON
	Saves     page.Code
	Hear      string // what to wait for
	Link      string // to the page itself
	Reference []string
}

// show shows what is next of a request.
func (p *pages) show(c *page.Call) (page.Reply, error) {
	if c.Ahead() {
		return c.NotYet(), nil
	}
	if c.Kept(BrowserCookie) == "" {
		return p.meet(c)
	}
	v := VisitOf(c)
	again := page.Soon
	var view login.PageView
	var err error
	if c.Query("wait") != "" {
		again, err = c.Hold("challenge:"+v.Request, waitsPerPage, func(ctx context.Context, most time.Duration) error {
			_, err := p.Logins.AwaitPage(ctx, v, c.Query("mark"), most)
			return err
		})
		if err != nil {
			return page.Reply{}, err
		}
	}
	if view, err = p.Logins.OpenPage(c.UserContext(), v); err != nil {
		return page.Reply{}, err
	}
	s := shown{Again: again}
	if c.Query("wait") == "" {
		s.Wrong = told(c)
	}
	return p.showView(c, view, s)
}

// meet gives a browser that comes first its cookie, and looks whether it brings that back.
func (p *pages) meet(c *page.Call) (page.Reply, error) {
	if c.Query("met") != "" {
		return page.Reply{}, page.ErrNoCookies
	}
	c.Keep(BrowserCookie, storage.NewID("", browserCharacters), browserLife)
	return c.GoTo("mfa/challenge", url.Values{"request": {c.Query("request")}, "met": {"1"}}), nil
}

// showView shows a page as it stands.
func (p *pages) showView(c *page.Call, view login.PageView, s shown) (page.Reply, error) {
	s.Frame = c.Frame()
	s.PageView = view
	s.Request = c.Query("request")
	s.Reference = c.Reference()
	s.Link = s.Root + "challenge?" + url.Values{"request": {s.Request}}.Encode()
	s.Hear = s.Link + "&" + url.Values{"wait": {"1"}, "mark": {view.Mark}}.Encode()
	r := page.Reply{FormAction: originOf(view.Redirect)}
	switch view.State {
	case login.PageReady:
		return p.leave(c, s, r)
	case login.PageEnrols:
		return c.GoTo("mfa/enrollment", url.Values{"ticket": {view.Ticket}}), nil
	case login.PageAsks:
		return p.showAsking(c, s, r)
	case login.PageSaves:
		s.Saves = c.Code(view.Account, string(view.Next), "mfa/challenge/saved?"+url.Values{"request": {s.Request}}.Encode())
		s.Saves.Wrong = s.Wrong != ""
		r.Template = "saves.html"
	case login.PageOffers:
		r.Template = "offers.html"
	default:
		r.Template = "over.html"
	}
	if s.Wrong != "" {
		r.Status = http.StatusBadRequest
	}
	r.Data = s
	return r, nil
}

// showAsking shows a page that asks for a factor: the number, or the way that the person has chosen.
func (p *pages) showAsking(c *page.Call, s shown, r page.Reply) (page.Reply, error) {
	way := c.Query("way")
	if way == "" && s.OnlyCode && s.Code {
		way = "code"
	}
	switch {
	case way == "otp" && s.OTP:
		r.Template = "otp.html"
	case way == "code" && s.Code:
		r.Template = "code.html"
	case way == "lost":
		r.Template = "lost.html"
	case way == "passkey" && s.Passkey:
		options, err := p.Logins.ChallengePagePasskey(c.UserContext(), VisitOf(c))
		if err != nil {
			return r, err
		}
		s.Options = string(options)
		r.Template = "passkey.html"
	default:
		r.Template = "asks.html"
		if s.Asking == login.AskingWaits {
			_, below, _ := strings.Cut(s.Hear, s.Root)
			r.Live = &page.Live{Address: "mfa/" + below, Again: s.Again}
		}
	}
	if s.Wrong != "" {
		r.Status = http.StatusBadRequest
	}
	r.Data = s
	return r, nil
}

// leave sends the browser back. A call that waits is made by a script, which may not follow to another origin, or by a browser without
// script: both are told to load the page itself.
func (p *pages) leave(c *page.Call, s shown, r page.Reply) (page.Reply, error) {
	if c.Query("wait") != "" {
		r.Template = "approved.html"
		r.Header = map[string]string{"Refresh": "0; url=" + s.Link}
		r.Data = s
		return r, nil
	}
	f, err := p.Logins.FinishPage(c.UserContext(), VisitOf(c))
	if err != nil {
		return r, err
	}
	if f.Remember != "" {
		keepRemembered(c, f.Remember)
	}
	if f.Manages {
		return c.GoTo("mfa/me", url.Values{"request": {s.Request}}), nil
	}
	return c.Leave(backURL(f, p.Issuer)), nil
}

// keepRemembered adds a token to those of the browser.
func keepRemembered(c *page.Call, token string) {
	tokens := []string{token}
	if kept := c.Kept(rememberedCookie); kept != "" {
		tokens = append(tokens, strings.SplitN(kept, "~", mostRemembered)...)
	}
	if len(tokens) > mostRemembered {
		tokens = tokens[:mostRemembered]
	}
	c.Keep(rememberedCookie, strings.Join(tokens, "~"), recovery.MaxRemembered)
}

// backURL returns the address by which a browser goes back, with what the client is told.
//
// Source: RFC 6749 §4.1.2; RFC 9207 §2.
func backURL(f login.Finished, issuer string) string {
	to, err := url.Parse(f.Redirect)
	if err != nil {
		return f.Redirect // a registered one parses
	}
	told := url.Values{"iss": {issuer}}
	for name, value := range map[string]string{"code": f.Code, "state": f.State} {
		if value != "" {
			told.Set(name, value)
		}
	}
	if f.Refused {
		told.Set("error", "access_denied")
	}
	if to.RawQuery != "" {
		to.RawQuery += "&" // what the client has put there stays as it is
	}
	to.RawQuery += told.Encode()
	return to.String()
}

// originOf returns what the Content-Security-Policy names of an address to which a form may lead: Chromium holds redirects of forms to it.
func originOf(redirect string) string {
	to, err := url.Parse(redirect)
	switch {
	case err != nil:
		return ""
	case to.Scheme == "http" || to.Scheme == "https":
		return to.Scheme + "://" + to.Host
	default:
		return to.Scheme + ":"
	}
}

// gone are the errors of a request that this browser cannot use.
var gone = []error{login.ErrPage, login.ErrPageTaken}

// troubled is the data of a page about a request that cannot be used.
type troubled struct {
	page.Frame
	Taken     bool // by another browser
	Reference []string
}

// trouble shows what is wrong with a request.
func (p *pages) trouble(c *page.Call, err error) (page.Reply, error) {
	if !slices.ContainsFunc(gone, func(one error) bool { return errors.Is(err, one) }) {
		return page.Reply{}, err
	}
	if c.Method() == fiber.MethodPost {
		return goTo(c), nil // which says it
	}
	if tooMany := c.Charge(err); !errors.Is(tooMany, err) {
		return page.Reply{}, tooMany
	}
	taken := errors.Is(err, login.ErrPageTaken)
	r := page.Reply{
		Status:   http.StatusNotFound,
		Template: "gone.html",
		Data:     troubled{c.Frame(), taken, c.Reference()},
	}
	if taken {
		r.Status = http.StatusForbidden
	}
	return r, nil
}
