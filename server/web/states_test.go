package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/device/login"
	"tutela/device/own"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server"
	"tutela/server/access"
	"tutela/server/appapi"
	"tutela/server/servertest"
	"tutela/server/web/page"
	"tutela/server/web/webtest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting/brand"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// Every state in which a page of people's can be, looked at in both languages, in the light and in the dark, on the narrowest phone and
// with letters twice as large. A text of the catalogue that no state shows is a state that is missing here.
func TestStates_OfPagesOfPeople(t *testing.T) {
	check.WithoutRace(t)
	public, lead := webtest.Localhost(t)
	h := newPeople(t, public)
	lead(h.URL)
	seen := webtest.LookAt(t, slices.Concat(h.enrollments(), h.challenges(), h.ownPages(), h.others()), func(t *testing.T) { h.t = t })
	seen.Lacks(t, "page/catalogue",
		[]string{"enrollment", "own", "trouble"},
		[]string{
			"code.file",                    // in the file that is downloaded
			"frame.moved",                  // of an answer that browsers follow
			"frame.go_on",                  // the same
			"enrollment.code.some_passkey", // of what has no name
			"enrollment.code.some_phone",   // the same
			"enrollment.passkey.too_often", // takes 128 answers within five minutes
			"own.prove.wrong_otp",          // where one-time codes are all that she has
			"own.prove.otp_waits",          // the same
			"own.prove.use_otp",            // the same
			"own.prove.otp",                // the same
			"own.prove.nothing",
			"own.prove.too_often",
			"own.line.nothing",
			"own.me.left",
			"own.me.backup", // of a phone whose name nobody knows any more
		})
}

// people is the pages over one store. Each state has a person of its own.
type people struct {
	*servertest.House
	t      testing.TB
	public string // URL by which browsers come
	own    *own.Service
	bank   access.Client
	users  int
	ahead  chan string // the paths that a browser has loaded ahead
}

// browserSecret is what the challenge pages know the browser by whose steps the test takes at the services.
const browserSecret = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

// verifier is the login system's own secret of its requests.
const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

var her = audit.ByUser().WithOrigin("203.0.113.7", "Mozilla/5.0 Firefox/140.0")

// newPeople opens the pages. public are the URLs by which browsers come; none: where the house listens.
func newPeople(t testing.TB, public ...string) *people {
	t.Helper()
	h := &people{t: t, ahead: make(chan string, 64)}
	h.House = servertest.Open(t, servertest.Options{
		Public: public,
		Ground: ground.Options{Clock: storage.NewFakeClock(time.Now())},
		Mount: func(s *servertest.House) {
			s.Server.App().Use(func(c *fiber.Ctx) error {
				if strings.Contains(c.Get("Sec-Purpose"), "prefetch") {
					h.ahead <- string(c.Request().URI().Path())
				}
				return c.Next()
			})
			h.own = own.New(s.Store, s.Ring, s.Codes, s.Devices, s.Logins, s.Restores)
			Mount(s.Server, Services{
				Devices:  s.Devices,
				Logins:   s.Logins,
				Issuer:   s.Access.Issuer(),
				Passkeys: s.Passkeys,
				Brand:    brand.New(s.Store),
				Own:      h.own,
				Now:      s.Store.Now,
			})
			appapi.Mount(s.Server, appapi.Services{
				Devices:  s.Devices,
				Logins:   s.Logins,
				Backups:  s.Backups,
				Restores: s.Restores,
				Access:   s.Access,
				Epoch:    s.Store.Epoch,
			})
			mountShortcuts(s)
		},
	})
	h.public = append(public, h.URL)[0]
	var err error
	h.bank, _, err = h.Access.AddClient(t.Context(), audit.ByOperator(0), access.Client{Name: "Hafenlicht Bank", Scopes: []string{"openid"}})
	check.Must(t, err)
	return h
}

// mountShortcuts has a browser be one whose steps were taken at the services, and serves the pages about errors.
func mountShortcuts(s *servertest.House) {
	kit := webtest.Kit(s)
	set := kit.Set(files)
	set.Get(kit.App(), "/mfa/test/as", func(c *page.Call) (page.Reply, error) {
		c.Keep(c.Query("cookie"), c.Query("value"), time.Hour)
		return c.GoTo(c.Query("to"), nil), nil
	})
	for kind, err := range troubles {
		set.Get(kit.App(), "/mfa/test/"+kind, func(*page.Call) (page.Reply, error) { return page.Reply{}, err })
	}
}

// troubles are the errors that have a page, by its kind.
var troubles = map[string]error{
	"cookies":  page.ErrNoCookies,
	"forged":   page.ErrForged,
	"old_form": page.ErrOldForm,
	"often":    server.ErrTooManyCalls.After(time.Second),
	"busy":     storage.NewError(storage.Unavailable, "the store is away"),
	"unsure":   storage.NewError(storage.OutcomeUnknown, "nobody knows"),
	"broken":   errors.New("a test broke it"),
}

func (h *people) ctx() context.Context { return context.WithoutCancel(h.t.Context()) }

// as has a tab be the browser with a cookie, and go to a page.
func (h *people) as(c *webtest.Tab, cookie, value, to string) {
	c.Visit(h.public + "/mfa/test/as?" + url.Values{"cookie": {cookie}, "value": {value}, "to": {to}}.Encode())
}

// somebody is a user whom nobody has seen before.
func (h *people) somebody() user.User {
	h.users++
	return user.User{ID: "u-" + strconv.Itoa(h.users), Email: "maria@post.example"}
}

// phone makes a phone of a user.
func (h *people) phone(u user.User, name string) *webtest.Handset {
	h.t.Helper()
	return webtest.NewHandset(h.t, h.House, name, h.Ticket(u))
}

// saved notes that a user has her recovery code.
func (h *people) saved(u user.User) {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) error {
		found, err := user.Find(tx, u.ID)
		if err != nil {
			return err
		}
		return errors.Join(recovery.Arrived(tx, found.UID), recovery.Confirm(tx, found.UID))
	})
}

// request asks for a hosted page of a user.
func (h *people) request(u user.User, change ...func(*login.PageRequest)) string {
	h.t.Helper()
	sum := sha256.Sum256([]byte(verifier))
	r := login.PageRequest{
		Client:    h.bank.ID,
		Name:      "Hafenlicht Bank",
		User:      u,
		Purpose:   login.PageLogin,
		Redirect:  h.public + "/healthz",
		State:     "x",
		Challenge: base64.RawURLEncoding.EncodeToString(sum[:]),
		IP:        "203.0.113.7",
		Agent:     "Mozilla/5.0 Firefox/140.0",
		Actor:     her,
	}
	for _, c := range change {
		c(&r)
	}
	id, err := h.Logins.RequestPage(h.ctx(), r)
	check.Must(h.t, err)
	return id
}

// visit is the browser's visit of a hosted page.
func visit(request string) login.Visit {
	return login.Visit{
		Request: request,
		Browser: browserSecret,
		IP:      "203.0.113.7",
		Actor:   her,
	}
}

// opened opens a hosted page in the browser, and returns what it shows.
func (h *people) opened(request string) login.PageView {
	h.t.Helper()
	view, err := h.Logins.OpenPage(h.ctx(), visit(request))
	check.Must(h.t, err)
	return view
}

// others are the pages that belong to nothing else.
func (h *people) others() []webtest.State {
	states := []webtest.State{
		{Name: "home", Reach: func(c *webtest.Tab) { c.Visit(h.public + "/") }},
		{Name: "home-not-ready", Reach: func(c *webtest.Tab) {
			away := newHouse(h.t, func(o *servertest.Options) {
				o.Config = func(c *server.Config) {
					c.Checks = []server.Check{{Name: "disk", Run: func(context.Context) error { return storage.ErrUnavailable }}}
				}
			})
			c.Visit(away.URL + "/")
		}},
		{Name: "help", Reach: func(c *webtest.Tab) { c.Visit(h.public + "/mfa/help") }},
	}
	for kind := range troubles {
		states = append(states, webtest.State{Name: "trouble-" + kind, Reach: func(c *webtest.Tab) { c.Visit(h.public + "/mfa/test/" + kind) }})
	}
	return states
}
