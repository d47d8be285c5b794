package own

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tutela/device"
	"tutela/device/login"
	"tutela/device/otp"
	"tutela/device/own"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/server/web/page"
	"tutela/storage"
)

// The pages that may ask for more proof, with the parameter that says what they are about.
var provable = map[string]string{"remove": "id", "add": "what", "code": "", "not-me": "line"}

// proveFor leads to the page that asks for more proof, and from there to a page of ours.
func proveFor(c *page.Call, then, about string) page.Reply {
	return c.GoTo("mfa/me/prove", url.Values{"then": {then}, "about": {about}})
}

// next leads to where more proof was asked for; to the first page when nobody has said, or not in our words.
func next(c *page.Call, then, about string) page.Reply {
	param, known := provable[then]
	if !known {
		return c.GoTo("mfa/me", nil)
	}
	var query url.Values
	if param != "" {
		query = url.Values{param: {about}}
	}
	return c.GoTo("mfa/me/"+then, query)
}

// proving is the page that asks for more proof.
type proving struct {
	page.Frame
	own.Page
	Then  string
	About string
	Rung  login.Ringing // its number is shown while the phone is asked
	Rings bool
	Again int
	Wait  string // the address that is held
	Asked string // the options, when a passkey is asked for
	Wrong string // what is wrong, below what
	At    string // number, code, otp or passkey: where Wrong stands
}

func (p *pages) showProve(c *page.Call) (page.Reply, error) {
	then := c.Query("then")
	about := c.Query("about")
	shown := proving{Then: then, About: about, Again: page.Soon}
	if c.Query("wait") != "" {
		again, err := c.Hold("own:"+token(c), 4, func(ctx context.Context, most time.Duration) error {
			_, err := p.Own.AwaitRung(ctx, token(c), most)
			return err
		})
		if errors.Is(err, storage.ErrHeld) {
			return page.Reply{}, err
		}
		shown.Again = again
	}
	return p.prove(c, shown)
}

// prove shows the page that asks for more proof, or goes on once there is enough.
func (p *pages) prove(c *page.Call, shown proving) (page.Reply, error) {
	rung, err := p.Own.Rung(c.UserContext(), token(c))
	switch {
	case errors.Is(err, login.ErrExpired):
	case err != nil:
		return page.Reply{}, err
	case rung.State == login.Approved:
		err := p.Own.StepUpByNumber(c.UserContext(), token(c), actor(c))
		if err == nil || errors.Is(err, login.ErrExpired) {
			return next(c, shown.Then, shown.About), nil
		}
		if storage.CodeOf(err) != storage.Denied {
			return page.Reply{}, err
		}
		shown.Wrong = c.T("own.prove.refused")
		shown.At = "number"
	case rung.State == login.Denied && shown.Wrong == "":
		shown.Wrong = c.T("own.prove.refused")
		shown.At = "number"
	case p.Now().Before(rung.Expires) && rung.State == login.Pending:
		shown.Rings = true
		shown.Rung = rung
	}
	state, err := p.Own.Look(c.UserContext(), token(c))
	if err != nil {
		return page.Reply{}, err
	}
	// The page may come again after what it asked for was shown: a script loads it once the phone has answered, and so does Back.
	if enough := state.Strong && (shown.Then != "add" || !state.Enrolled); enough && !shown.Rings && shown.Wrong == "" {
		return next(c, shown.Then, shown.About), nil
	}
	shown.Frame = c.Frame()
	shown.Page = state
	status := http.StatusOK
	if shown.Wrong != "" {
		status = http.StatusBadRequest
	}
	r := page.Reply{Status: status, Template: "prove.html", Data: &shown}
	if shown.Rings && shown.Wrong == "" {
		query := url.Values{"then": {shown.Then}, "about": {shown.About}, "wait": {"1"}}
		shown.Wait = "mfa/me/prove?" + query.Encode()
		r.Live = &page.Live{Address: shown.Wait, Again: shown.Again}
	}
	return r, nil
}

// wrongly shows the page again, with what is wrong.
func (p *pages) wrongly(c *page.Call, at, what string) (page.Reply, error) {
	return p.prove(c, proving{
		Then:  c.Posted("then"),
		About: c.Posted("about"),
		Again: page.Soon,
		At:    at,
		Wrong: what,
	})
}

func (p *pages) ring(c *page.Call) (page.Reply, error) {
	_, err := p.Own.Ring(c.UserContext(), token(c), actor(c))
	switch storage.CodeOf(err) {
	case storage.Limited:
		return p.wrongly(c, "number", c.T("own.prove.too_often"))
	case storage.Denied, storage.Invalid:
		if !errors.Is(err, own.ErrSession) {
			return p.wrongly(c, "number", c.T("own.prove.no_phone"))
		}
	}
	return proveFor(c, c.Posted("then"), c.Posted("about")), err
}

func (p *pages) proveByCode(c *page.Call) (page.Reply, error) {
	err := p.Own.StepUpByCode(c.UserContext(), token(c), c.Posted("code"), actor(c))
	switch {
	case errors.Is(err, recovery.ErrTypo):
		return p.wrongly(c, "code", c.T("own.prove.typo"))
	case errors.Is(err, recovery.ErrWrongCode):
		return p.wrongly(c, "code", c.T("own.prove.wrong_code"))
	case storage.CodeOf(err) == storage.Limited:
		return p.wrongly(c, "code", c.T("own.prove.too_often"))
	case err != nil:
		return page.Reply{}, err
	}
	// The next code is saved first.
	return c.GoTo("mfa/me/code", url.Values{"then": {c.Posted("then")}, "about": {c.Posted("about")}}), nil
}

func (p *pages) proveByOTP(c *page.Call) (page.Reply, error) {
	err := p.Own.StepUpByOTP(c.UserContext(), token(c), c.Posted("otp"), actor(c))
	switch {
	case errors.Is(err, otp.ErrTypo), errors.Is(err, device.ErrWrongOTP), errors.Is(err, login.ErrWeakProof):
		return p.wrongly(c, "otp", c.T("own.prove.wrong_otp"))
	case storage.CodeOf(err) == storage.Limited:
		return p.wrongly(c, "otp", c.T("own.prove.too_often"))
	}
	return next(c, c.Posted("then"), c.Posted("about")), err
}

// proveByPasskey asks for a passkey, or takes what one has signed.
func (p *pages) proveByPasskey(c *page.Call) (page.Reply, error) {
	credential := c.Posted("credential")
	if credential == "" {
		asked, err := p.Own.AskPasskey(c.UserContext(), token(c), actor(c))
		if storage.CodeOf(err) == storage.Limited {
			return p.wrongly(c, "passkey", c.T("own.prove.too_often"))
		}
		if err != nil {
			return page.Reply{}, err
		}
		return p.prove(c, proving{
			Then:  c.Posted("then"),
			About: c.Posted("about"),
			Again: page.Soon,
			Asked: string(asked.Options),
		})
	}
	err := p.Own.StepUpByPasskey(c.UserContext(), token(c), passkey.Response(credential), actor(c))
	switch code := storage.CodeOf(err); {
	case errors.Is(err, own.ErrSession):
	case code == storage.Denied, code == storage.Invalid, code == storage.Expired, code == storage.NotFound:
		return p.wrongly(c, "passkey", c.T("own.prove.wrong_passkey"))
	}
	return next(c, c.Posted("then"), c.Posted("about")), err
}

// adding is the page on which something is added.
type adding struct {
	page.Frame
	own.Adding
	Account string
	What    string // phone, app or passkey
	Begun   bool
	QR      page.QR
	Link    template.URL // the text of the QR code, for an app on this very phone
	Options string       // of a passkey
	Again   int
	Wait    string
	Wrong   string
}

// kinds are what can be added.
var kinds = map[string]device.Type{"phone": device.TypePush, "app": device.TypeOTP, "passkey": device.TypePlatform, "key": device.TypeRoaming}

func (p *pages) showAdd(c *page.Call) (page.Reply, error) {
	shown := adding{What: c.Query("what"), Again: page.Soon}
	if c.Query("wait") != "" {
		again, err := c.Hold("own:"+token(c), 4, func(ctx context.Context, most time.Duration) error {
			_, err := p.Own.AwaitAdded(ctx, token(c), most)
			return err
		})
		if errors.Is(err, storage.ErrHeld) {
			return page.Reply{}, err
		}
		shown.Again = again
	}
	return p.adding(c, shown)
}

// adding shows what is to be scanned, or that it is there.
func (p *pages) adding(c *page.Call, shown adding) (page.Reply, error) {
	state, err := p.Own.Look(c.UserContext(), token(c))
	if err != nil {
		return page.Reply{}, err
	}
	if kinds[shown.What] == "" {
		return c.GoTo("mfa/me", nil), nil
	}
	shown.Frame = c.Frame()
	shown.Account = account(state)
	begun, err := p.Own.Adding(c.UserContext(), token(c))
	switch {
	case err == nil && begun.Made != nil:
		return p.added(c)
	case err == nil && p.Now().Before(begun.Expires) && begun.Type == kinds[shown.What]:
		shown.Adding = begun
		shown.Begun = true
	case err == nil, errors.Is(err, own.ErrStepUp):
		if !state.Strong || state.Enrolled {
			return proveFor(c, "add", shown.What), nil
		}
		err = nil // she has not begun yet
	default:
		return page.Reply{}, err
	}
	status := http.StatusOK
	if shown.Wrong != "" {
		status = http.StatusBadRequest
	}
	r := page.Reply{Status: status, Template: "add.html"}
	if shown.Begun && shown.URI != "" {
		shown.Body = "person wide"
		shown.Link = page.Link(shown.URI)
		shown.QR, err = page.NewQR(shown.URI, c.T("own.add.qr", shown.Account))
		if shown.What == "phone" {
			shown.Wait = "mfa/me/add?" + url.Values{"what": {"phone"}, "wait": {"1"}}.Encode()
			r.Live = &page.Live{Address: shown.Wait, Again: shown.Again}
		}
	}
	r.Data = &shown
	return r, err
}

// added shows that what was being added is there, or the recovery code that came with it.
func (p *pages) added(c *page.Call) (page.Reply, error) {
	e, err := p.Own.Added(c.UserContext(), token(c))
	if errors.Is(err, own.ErrStepUp) {
		return c.GoTo("mfa/me", nil), nil
	}
	if err != nil {
		return page.Reply{}, err
	}
	return c.GoTo("mfa/me/added", url.Values{"id": {e.ID}}), nil
}

// showAdded says that what was added is there.
func (p *pages) showAdded(c *page.Call) (page.Reply, error) {
	d, state, err := p.device(c, c.Query("id"))
	d.ToSave = state.ToSave
	return page.Reply{Template: "added.html", Data: d}, err
}

func (p *pages) add(c *page.Call) (page.Reply, error) {
	what := c.Posted("what")
	typ := kinds[what]
	if typ == "" {
		return c.GoTo("mfa/me", nil), nil
	}
	options, err := p.Own.Add(c.UserContext(), token(c), typ, actor(c))
	switch {
	case errors.Is(err, own.ErrStepUp):
		return proveFor(c, "add", what), nil
	case err != nil && storage.CodeOf(err) == storage.Invalid, errors.Is(err, device.ErrFactorOff):
		return p.adding(c, adding{What: what, Again: page.Soon, Wrong: c.T("own.add.not_here")})
	case err != nil:
		return page.Reply{}, err
	}
	if typ.IsPasskey() {
		return p.adding(c, adding{What: what, Again: page.Soon, Options: string(options)})
	}
	return c.GoTo("mfa/me/add", url.Values{"what": {what}}), nil
}

func (p *pages) confirmApp(c *page.Call) (page.Reply, error) {
	err := p.Own.ConfirmApp(c.UserContext(), token(c), c.Posted("otp"), actor(c))
	switch {
	case errors.Is(err, otp.ErrTypo), errors.Is(err, device.ErrWrongOTP):
		return p.adding(c, adding{What: "app", Again: page.Soon, Wrong: c.T("own.add.wrong_otp")})
	case errors.Is(err, own.ErrStepUp):
		return proveFor(c, "add", "app"), nil
	}
	return c.GoTo("mfa/me/add", url.Values{"what": {"app"}}), err
}

func (p *pages) addPasskey(c *page.Call) (page.Reply, error) {
	what := c.Posted("what")
	if !json.Valid([]byte(c.Posted("credential"))) {
		return c.GoTo("mfa/me/add", url.Values{"what": {what}}), nil
	}
	err := p.Own.AddPasskey(c.UserContext(), token(c), passkey.Response(c.Posted("credential")), actor(c))
	switch code := storage.CodeOf(err); {
	case errors.Is(err, own.ErrStepUp):
		return proveFor(c, "add", what), nil
	case errors.Is(err, own.ErrSession), err == nil:
	case code == storage.Denied, code == storage.Invalid, code == storage.Conflict, code == storage.Expired:
		return p.adding(c, adding{What: what, Again: page.Soon, Wrong: c.T("own.add.wrong_passkey")})
	}
	return c.GoTo("mfa/me/add", url.Values{"what": {what}}), err
}

// saving is the page with a recovery code.
type saving struct {
	page.Frame
	Shown own.ShownCode
	Code  page.Code
	Then  string
	About string
	Has   bool // she has a code
}

func (p *pages) showCode(c *page.Call) (page.Reply, error) {
	return p.code(c, c.Query("then"), c.Query("about"), false)
}

// code shows the code that is to be confirmed; without one, what a new one does.
func (p *pages) code(c *page.Call, then, about string, wrong bool) (page.Reply, error) {
	state, err := p.Own.Look(c.UserContext(), token(c))
	if err != nil {
		return page.Reply{}, err
	}
	s := saving{
		Frame: c.Frame(),
		Then:  then,
		About: about,
		Has:   state.Code.Holds,
	}
	s.Shown, err = p.Own.ShowCode(c.UserContext(), token(c))
	switch {
	case errors.Is(err, own.ErrNoCode) && then != "":
		return next(c, then, about), nil // confirmed already
	case errors.Is(err, own.ErrNoCode) && !state.Strong:
		return proveFor(c, "code", ""), nil
	case errors.Is(err, own.ErrNoCode):
		return page.Reply{Template: "newcode.html", Data: s}, nil
	case err != nil:
		return page.Reply{}, err
	}
	fields := []page.Field{{Name: "then", Value: then}, {Name: "about", Value: about}}
	s.Code = c.Code(account(state), string(s.Shown.Code), "mfa/me/code", fields...)
	s.Code.Wrong = wrong
	status := http.StatusOK
	if wrong {
		status = http.StatusBadRequest
	}
	return page.Reply{Status: status, Template: "code.html", Data: s}, nil
}

func (p *pages) newCode(c *page.Call) (page.Reply, error) {
	err := p.Own.NewCode(c.UserContext(), token(c))
	if errors.Is(err, own.ErrStepUp) {
		return proveFor(c, "code", ""), nil
	}
	return c.GoTo("mfa/me/code", nil), err
}

func (p *pages) confirmCode(c *page.Call) (page.Reply, error) {
	then := c.Posted("then")
	about := c.Posted("about")
	err := p.Own.ConfirmCode(c.UserContext(), token(c), c.Posted("end"), actor(c))
	switch {
	case errors.Is(err, device.ErrCodeEnd):
		return p.code(c, then, about, true)
	case errors.Is(err, own.ErrStepUp):
		return proveFor(c, "code", ""), nil
	case errors.Is(err, own.ErrNoCode):
		err = nil // confirmed already, or too old: the next page says how it stands
	}
	return next(c, strings.TrimSpace(then), about), err
}

func (p *pages) keepCode(c *page.Call) (page.Reply, error) {
	err := p.Own.DropCode(c.UserContext(), token(c))
	return c.GoTo("mfa/me", nil), err
}
