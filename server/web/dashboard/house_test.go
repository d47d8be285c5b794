package dashboard

import (
	"context"
	"maps"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/passkey"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
	"tutela/recovery/webhook"
	"tutela/server/servertest"
	"tutela/server/web/page"
	"tutela/server/web/webtest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/outbox"
	"tutela/storage/setting/brand"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house serves the dashboard, at a name and at an address.
type house struct {
	*servertest.House
	SignIn *signin.Service
	hooks  *webhook.Service
	Base   string // the public URL

	known   map[string]string // ids of what was furnished, by a name in braces
	gateway *push.Gateway
	postman *postman          // the push services
	state   outbox.Status     // of the outbox, as the page is told
	tlsEnd  time.Time         // of the certificate, as the page is told
	wrong   map[string]string // of what the server looks at, as the page is told
	t       *testing.T
}

func newHouse(t *testing.T) *house {
	t.Helper()
	return houseAt(t, "localhost")
}

// houseAt serves a house whose public URL has a host.
func houseAt(t *testing.T, host string) *house {
	t.Helper()
	return openHouse(t, host, servertest.Options{})
}

// houseSince serves a house that is opened at an instant.
func houseSince(t *testing.T, opened time.Time) *house {
	t.Helper()
	return openHouse(t, "localhost", servertest.Options{Ground: ground.Options{Clock: storage.NewFakeClock(opened)}})
}

// neighbour serves another house over the same store, at another port.
func (h *house) neighbour() *house {
	h.t.Helper()
	return openHouse(h.t, "localhost", servertest.Options{Beside: h.House})
}

func openHouse(t *testing.T, host string, o servertest.Options) *house {
	t.Helper()
	h := &house{t: t, postman: &postman{}, known: map[string]string{}}
	o.Push = h.postman
	o.Device = func(o *device.Options) { h.gateway = o.Deliver }
	o.Mount = func(home *servertest.House) {
		h.House = home
		h.Base = strings.Replace(home.URL, "127.0.0.1", host, 1)
		h.mount()
	}
	h.House = servertest.Open(t, o)
	return h
}

func (h *house) mount() {
	bases := device.NewBases([]string{h.Base})
	passkeys := passkey.New(h.Store, h.Ring, passkey.Options{Bases: bases, Issuer: "Hafenlicht"})
	h.hooks = webhook.New(h.Store, webhook.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	h.t.Cleanup(h.hooks.Close)
	h.SignIn = signin.New(h.Store, h.Ring, passkeys, bases)
	kit := page.New(h.Server, page.Options{
		Name:      "Hafenlicht",
		PublicURL: h.Base,
		Now:       h.Store.Now,
		Brand:     brand.New(h.Store).Get,
	})
	Mount(kit, Services{
		SignIn:  h.SignIn,
		Admins:  h.Admins,
		Access:  h.Access,
		Devices: h.Devices,
		Checks:  h.checks,
		Push:    h.Direct,
		Gateway: h.gateway,
		Hooks:   h.hooks,
		Outbox:  func(context.Context) (outbox.Status, error) { return h.state, nil },
		TLSEnd:  func() time.Time { return h.tlsEnd },
		Store:   h.Store,
		Now:     h.Store.Now,
	})
}

// checks are those of the server, but for what the test says is wrong.
func (h *house) checks() map[string]string {
	all := map[string]string{"store": "ok", "disk": "ok", "clock": "ok"}
	maps.Copy(all, h.Server.Checks())
	maps.Copy(all, h.wrong)
	return all
}

// invite returns the link by which a user becomes an admin.
func (h *house) invite(id string, role user.Role, replace bool) string {
	h.t.Helper()
	made, err := h.SignIn.Invite(h.t.Context(), signin.InviteRequest{User: user.User{ID: id}, Role: role, Replace: replace}, audit.ByOperator(0))
	check.Must(h.t, err)
	return made.URL
}

// browser opens a browser with an authenticator.
func (h *house) browser() *webtest.Tab {
	h.t.Helper()
	c := webtest.Open(h.t)
	c.Passkeys()
	return c
}

// accept goes through an invite in a browser.
func (h *house) accept(c *webtest.Tab, link string) {
	h.t.Helper()
	c.Go(link)
	c.Sees("Become an admin")
	c.PressNamed("Go on in this browser")
	c.Sees("Make your passkey")
	c.PressNamed("Make the passkey")
	c.Sees("Overview")
}

// team goes to the page of admins and sessions.
func (h *house) team(c *webtest.Tab) {
	h.t.Helper()
	c.Go(h.Base + "/admin/team")
	c.Sees("Admins and sessions")
}

// secretIn is the secret in the link of an invite.
func secretIn(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	check.Must(t, err)
	return u.Query().Get("invite")
}

// lively has some users, of whom two could get back in.
func (h *house) lively() {
	h.t.Helper()
	check.Must(h.t, h.Admins.CountEveryone(h.t.Context()))
	for _, id := range []string{"maria", "otto", "eva"} {
		check.Must(h.t, h.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
			u, err := user.Create(tx, user.User{ID: id})
			if err != nil {
				return err
			}
			if _, err := h.Codes.Issue(tx, u.UID); err != nil || id == "eva" {
				return err
			}
			return recovery.Confirm(tx, u.UID)
		}))
	}
}
