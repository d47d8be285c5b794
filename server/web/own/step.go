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

	"github.com/gofiber/fiber/v2"

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
	if words := c.Told("own prove"); len(words) == 2 && c.Query("wait") == "" {
		shown.At = words[0]
		shown.Wrong = faultOf(c, words[0], words[1])
	}
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
	if c.Query("with") == "passkey" && state.StepUp.Passkey {
		if err := p.askPasskey(c, &shown); err != nil {
			return page.Reply{}, err
		}
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

// askPasskey asks for a passkey on the page.
func (p *pages) askPasskey(c *page.Call, shown *proving) error {
	asked, err := p.Own.AskPasskey(c.UserContext(), token(c), actor(c))
	if storage.CodeOf(err) == storage.Limited {
		shown.At = "passkey"
		shown.Wrong = c.T("own.prove.too_often")
		return nil
	}
	shown.Asked = string(asked.Options)
	return err
}

// faultOf is what the page says of a proof that was not taken: where it was typed, and why.
func faultOf(c *page.Call, at, why string) string {
	switch at + " " + why {
	case "code " + saidWrong:
		return c.T("own.prove.wrong_code")
	case "otp " + saidWrong:
		return c.T("own.prove.wrong_otp")
	case "passkey " + saidWrong:
		return c.T("own.prove.wrong_passkey")
	}
	switch why {
	case saidTypo:
		return c.T("own.prove.typo")
	case saidNoPhone:
		return c.T("own.prove.no_phone")
	case saidWait:
		return c.T("own.prove.too_often")
	}
	return ""
}

// wrongly leads back to the page, which says what is wrong.
func (p *pages) wrongly(c *page.Call, at, why string) (page.Reply, error) {
	c.Tell("own prove", at, why)
	return proveFor(c, c.Posted("then"), c.Posted("about")), nil
}

func (p *pages) ring(c *page.Call) (page.Reply, error) {
	_, err := p.Own.Ring(c.UserContext(), token(c), actor(c))
	switch storage.CodeOf(err) {
	case storage.Limited:
		return p.wrongly(c, "number", saidWait)
	case storage.Denied, storage.Invalid:
		if !errors.Is(err, own.ErrSession) {
			return p.wrongly(c, "number", saidNoPhone)
		}
	}
	return proveFor(c, c.Posted("then"), c.Posted("about")), err
}

func (p *pages) proveByCode(c *page.Call) (page.Reply, error) {
	err := p.Own.StepUpByCode(c.UserContext(), token(c), c.Posted("code"), actor(c))
	switch {
	case errors.Is(err, recovery.ErrTypo):
		return p.wrongly(c, "code", saidTypo)
	case errors.Is(err, recovery.ErrWrongCode):
		return p.wrongly(c, "code", saidWrong)
	case storage.CodeOf(err) == storage.Limited:
		return p.wrongly(c, "code", saidWait)
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
		return p.wrongly(c, "otp", saidWrong)
	case storage.CodeOf(err) == storage.Limited:
		return p.wrongly(c, "otp", saidWait)
	}
	return next(c, c.Posted("then"), c.Posted("about")), err
}

// proveByPasskey leads to where a passkey is asked for, or takes what one has signed.
func (p *pages) proveByPasskey(c *page.Call) (page.Reply, error) {
	credential := c.Posted("credential")
	if credential == "" {
		return c.GoTo("mfa/me/prove", url.Values{"then": {c.Posted("then")}, "about": {c.Posted("about")}, "with": {"passkey"}}), nil
	}
	err := p.Own.StepUpByPasskey(c.UserContext(), token(c), passkey.Response(credential), actor(c))
	switch code := storage.CodeOf(err); {
	case errors.Is(err, own.ErrSession):
	case code == storage.Denied, code == storage.Invalid, code == storage.Expired, code == storage.NotFound:
		return p.wrongly(c, "passkey", saidWrong)
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
	if c.Query("wait") == "" {
		shown.Wrong = notAdded(c, told(c, "add"))
	}
	return p.adding(c, shown)
}

// notAdded is what the page says of what was not added.
func notAdded(c *page.Call, why string) string {
	switch why {
	case saidNotHere:
		return c.T("own.add.not_here")
	case saidTypo:
		return c.T("own.add.wrong_otp")
	case saidWrong:
		return c.T("own.add.wrong_passkey")
	case saidWait:
		return c.T("own.prove.too_often")
	}
	return ""
}

// addFrom leads back to the page on which something is added. why is what it says; "": nothing.
func addFrom(c *page.Call, what, why string) page.Reply {
	if why != "" {
		c.Tell("own add", why)
	}
	return c.GoTo("mfa/me/add", url.Values{"what": {what}})
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
		return added(c, begun.Made.ID), nil
	case err == nil && p.Now().Before(begun.Expires) && begun.Type == kinds[shown.What]:
		shown.Adding = begun
		shown.Begun = true
	case err == nil, errors.Is(err, own.ErrStepUp):
		if c.Query("waits") != "" && err != nil && state.Enrolled {
			return c.GoTo("mfa/me", nil), nil // another tab has said that it is there: this page shows it
		}
		if !state.Strong || state.Enrolled {
			return proveFor(c, "add", shown.What), nil
		}
		err = nil // she has not begun yet
	default:
		return page.Reply{}, err
	}
	if err := p.options(c, &shown); err != nil {
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
			shown.Wait = "mfa/me/add?" + url.Values{"what": {"phone"}, "wait": {"1"}, "waits": {"1"}}.Encode()
			r.Live = &page.Live{Address: shown.Wait, Again: shown.Again}
		}
	}
	r.Data = &shown
	return r, err
}

// options asks the browser for the passkey that is being added.
func (p *pages) options(c *page.Call, shown *adding) error {
	typ := kinds[shown.What]
	if !shown.Begun || !typ.IsPasskey() {
		return nil
	}
	options, err := p.Own.Add(c.UserContext(), token(c), typ, actor(c)) // the same offer, once more
	if err != nil {
		why, errLeft := whyNotAdded(err)
		shown.Wrong = notAdded(c, why)
		return errLeft
	}
	shown.Options = string(options)
	return nil
}

// added leads to the page which says that what was being added is there. A call that was held may have nobody left who hears the answer:
// it changes nothing, and has the page go on by itself.
func added(c *page.Call, id string) page.Reply {
	r := c.GoTo("mfa/me/added", url.Values{"id": {id}})
	if c.Query("wait") != "" {
		r.Status = http.StatusOK
		r.Header = map[string]string{"Refresh": "0; url=" + r.Header[fiber.HeaderLocation]}
	}
	return r
}

// showAdded says that what was added is there, and that the recovery code that came with it is to be saved.
func (p *pages) showAdded(c *page.Call) (page.Reply, error) {
	if _, err := p.Own.Added(c.UserContext(), token(c)); err != nil && !errors.Is(err, own.ErrStepUp) { // said before
		return page.Reply{}, err
	}
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
	_, err := p.Own.Add(c.UserContext(), token(c), typ, actor(c))
	switch {
	case errors.Is(err, own.ErrStepUp):
		return proveFor(c, "add", what), nil
	case err != nil:
		why, errLeft := whyNotAdded(err)
		return addFrom(c, what, why), errLeft
	}
	return addFrom(c, what, ""), nil
}

// whyNotAdded returns what the page says of an error of own.Service.Add, or the error.
func whyNotAdded(err error) (why string, left error) {
	switch code := storage.CodeOf(err); {
	case code == storage.Invalid, errors.Is(err, device.ErrFactorOff):
		return saidNotHere, nil
	case code == storage.Limited:
		return saidWait, nil
	}
	return "", err
}

func (p *pages) confirmApp(c *page.Call) (page.Reply, error) {
	err := p.Own.ConfirmApp(c.UserContext(), token(c), c.Posted("otp"), actor(c))
	switch {
	case errors.Is(err, otp.ErrTypo), errors.Is(err, device.ErrWrongOTP):
		return addFrom(c, "app", saidTypo), nil
	case errors.Is(err, own.ErrStepUp):
		return proveFor(c, "add", "app"), nil
	}
	return addFrom(c, "app", ""), err
}

func (p *pages) addPasskey(c *page.Call) (page.Reply, error) {
	what := c.Posted("what")
	if !json.Valid([]byte(c.Posted("credential"))) {
		return addFrom(c, what, ""), nil
	}
	err := p.Own.AddPasskey(c.UserContext(), token(c), passkey.Response(c.Posted("credential")), actor(c))
	switch code := storage.CodeOf(err); {
	case errors.Is(err, own.ErrStepUp):
		return proveFor(c, "add", what), nil
	case errors.Is(err, own.ErrSession), err == nil:
	case code == storage.Denied, code == storage.Invalid, code == storage.Conflict, code == storage.Expired:
		return addFrom(c, what, saidWrong), nil
	}
	return addFrom(c, what, ""), err
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

// showCode shows the code that is to be confirmed; without one, what a new one does.
func (p *pages) showCode(c *page.Call) (page.Reply, error) {
	then := c.Query("then")
	about := c.Query("about")
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
	s.Code.Wrong = told(c, "code") == saidWrong
	status := http.StatusOK
	if s.Code.Wrong {
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
		c.Tell("own code", saidWrong)
		return c.GoTo("mfa/me/code", url.Values{"then": {then}, "about": {about}}), nil
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
