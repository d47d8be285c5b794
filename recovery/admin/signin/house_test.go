package signin_test

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"tutela/device/devicetest"
	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

// house is the service over users who are admins, or are to become some.
type house struct {
	*devicetest.House
	*signin.Service
	t *testing.T
}

func onEveryEngine(t *testing.T, test func(h *house)) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) { test(newHouse(t, o)) })
}

func newHouse(t *testing.T, o ground.Options) *house {
	t.Helper()
	home := devicetest.Open(t, o)
	return &house{House: home, Service: signin.New(home.Store, home.Ring, home.Passkeys, home.Bases), t: t}
}

// invite invites a user as the operator, and returns the secret in the link.
func (h *house) invite(id string, role user.Role, replace bool) (secret string) {
	h.t.Helper()
	made, err := h.Invite(h.t.Context(), signin.InviteRequest{
		User:    user.User{ID: id},
		Role:    role,
		Replace: replace,
	}, devicetest.Admin)
	check.Must(h.t, err)
	return h.secretOf(made)
}

func (h *house) secretOf(made signin.Invited) string {
	h.t.Helper()
	link, err := url.Parse(made.URL)
	check.Must(h.t, err)
	return link.Query().Get("invite")
}

// accept goes through an invite in a browser of its own, and returns the secret of the session.
func (h *house) accept(invite string, a *devicetest.Authenticator) (secret string) {
	h.t.Helper()
	browser := signin.NewSecret()
	options, err := h.SpendInvite(h.t.Context(), invite, browser)
	check.Must(h.t, err)
	secret, err = h.AcceptInvite(h.t.Context(), made(invite, browser, a.Create(options)), byBrowser)
	check.Must(h.t, err)
	return secret
}

func made(invite, browser string, r []byte) signin.Made {
	return signin.Made{
		Invite:   invite,
		Browser:  browser,
		Name:     "A laptop",
		Response: r,
	}
}

// admin makes an admin who is signed in.
func (h *house) admin(id string, role user.Role) (secret string, a *devicetest.Authenticator) {
	h.t.Helper()
	a = devicetest.NewAuthenticator(h.t)
	return h.accept(h.invite(id, role, false), a), a
}

// signIn signs in with a passkey.
func (h *house) signIn(a *devicetest.Authenticator) (secret string, err error) {
	h.t.Helper()
	options, sealed, err := h.Ask()
	check.Must(h.t, err)
	return h.SignIn(h.t.Context(), sealed, a.Get(options), byBrowser)
}

// proveAgain shows a passkey in a session.
func (h *house) proveAgain(secret string, a *devicetest.Authenticator) error {
	h.t.Helper()
	options, sealed, err := h.Ask()
	check.Must(h.t, err)
	return h.ProveAgain(h.t.Context(), secret, sealed, a.Get(options), byBrowser)
}

// actor is who is signed in.
func (h *house) actor(secret string) audit.Actor {
	h.t.Helper()
	open, err := h.Open(h.t.Context(), secret, false)
	check.Must(h.t, err)
	return open.Actor()
}

// expectOpen fails the test unless the secret opens a session, or err says why not.
func (h *house) expectOpen(what, secret string, want error) {
	h.t.Helper()
	_, err := h.Open(context.Background(), secret, false)
	h.expect(what, err, want)
}

// sessionWords returns what the events say of a user's sessions, the newest first.
func (h *house) sessionWords(id string) (words []audit.Word) {
	h.t.Helper()
	for _, e := range h.EventsOf(id, audit.AdminLogin) {
		words = append(words, e.Facts[audit.FactSession])
	}
	return words
}

func (h *house) expect(what string, err, want error) {
	h.t.Helper()
	if !errors.Is(err, want) {
		h.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

var byBrowser = audit.ByUser().WithOrigin("192.0.2.7", "Firefox 140")
