package signin_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device/devicetest"
	"tutela/recovery/admin"
	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

func TestInvite_MakesTheUserAndLetsHimInByThePasskeyThatHeMakes(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		invited, err := h.Invite(h.t.Context(), signin.InviteRequest{User: user.User{ID: "ada"}, Role: user.Owner}, devicetest.Admin)
		check.Must(h.t, err)
		if !strings.HasPrefix(invited.URL, devicetest.PublicURL+"/admin") || !invited.Expires.Equal(h.Store.Now().Add(time.Hour)) {
			h.t.Errorf("invited %+v", invited)
		}
		secret := h.secretOf(invited)
		h.Unchanged(func() {
			page, err := h.OpenInvite(h.t.Context(), secret, "")
			check.Must(h.t, err)
			if page.User.ID != "ada" || page.User.Role != user.Owner || page.Begun {
				h.t.Errorf("the page shows %+v", page)
			}
		})
		a := devicetest.NewAuthenticator(h.t)
		session := h.accept(secret, a)
		open, err := h.Open(h.t.Context(), session, true)
		check.Must(h.t, err)
		if open.User.ID != "ada" || open.User.Role != user.Owner || !open.Fresh || open.Address != "192.0.2.7" || open.Passkey != "A laptop" {
			h.t.Errorf("signed in: %+v", open)
		}
		again, err := h.signIn(a)
		check.Must(h.t, err)
		h.expectOpen("signed in again", again, nil)
		for _, plain := range []string{secret, session, again} {
			if h.Holds(plain) {
				h.t.Error("the store holds a secret in plain form")
			}
		}
		words := h.sessionWords("ada")
		if len(words) != 2 || words[0] != audit.SessionStarted || words[1] != audit.SessionInvited {
			h.t.Errorf("events %v", words)
		}
		if e := h.EventsOf("ada", audit.AdminLogin)[0]; e.Detail.IP != "192.0.2.7" || e.Detail.UserAgent != "Firefox 140" {
			h.t.Errorf("detail %+v", e.Detail)
		}
	})
}

func TestInvite_BelongsToTheFirstBrowserThatSpendsIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		secret := h.invite("ada", user.Admin, false)
		browsers := []string{signin.NewSecret(), signin.NewSecret()}
		errs := make([]error, 2)
		var done sync.WaitGroup
		for i, browser := range browsers {
			done.Go(func() { _, errs[i] = h.SpendInvite(ctx, secret, browser) })
		}
		done.Wait()
		if errs[0] != nil {
			slices.Reverse(browsers)
			slices.Reverse(errs)
		}
		first := browsers[0]
		second := browsers[1]
		h.expect("the first", errs[0], nil)
		h.expect("the second", errs[1], signin.ErrOtherBrowser)
		for _, other := range []string{second, ""} {
			_, err := h.OpenInvite(ctx, secret, other)
			h.expect("the page elsewhere", err, signin.ErrOtherBrowser)
		}
		options, err := h.SpendInvite(ctx, secret, first)
		h.expect("the first once more", err, nil)
		response := devicetest.NewAuthenticator(h.t).Create(options)
		_, err = h.AcceptInvite(ctx, made(secret, second, response), byBrowser)
		h.expect("the passkey from another browser", err, signin.ErrOtherBrowser)
		session, err := h.AcceptInvite(ctx, made(secret, first, response), byBrowser)
		check.Must(h.t, err)
		h.expectOpen("the first", session, nil)
		_, err = h.AcceptInvite(ctx, made(secret, first, response), byBrowser)
		h.expect("once more", err, signin.ErrInvite)
		_, err = h.OpenInvite(ctx, secret, first)
		h.expect("the page afterwards", err, signin.ErrInvite)
	})
}

func TestInvite_EndsBeforeItsTime(t *testing.T) {
	for what, end := range map[string]func(h *house){
		"an hour":      func(h *house) { h.Clock.Advance(time.Hour) },
		"another one":  func(h *house) { h.invite("ada", user.NoRole, false) },
		"another role": func(h *house) { check.Must(h.t, h.Admins.SetRole(h.t.Context(), "ada", user.Viewer, devicetest.Admin)) },
		"no role":      func(h *house) { check.Must(h.t, h.Admins.SetRole(h.t.Context(), "ada", user.NoRole, devicetest.Admin)) },
		"a block":      func(h *house) { h.SetBlocked("ada", true) },
		"a block that was taken back": func(h *house) {
			h.SetBlocked("ada", true)
			h.SetBlocked("ada", false)
		},
		"a reset":                    func(h *house) { h.Reset("ada") },
		"the user is gone":           func(h *house) { check.Must(h.t, h.Admins.Delete(h.t.Context(), "ada", devicetest.Admin)) },
		"its owner is none any more": func(h *house) { h.SetBlocked("boss", true) },
	} {
		t.Run(what, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				ctx := h.t.Context()
				boss, _ := h.admin("boss", user.Owner)
				invited, err := h.Invite(ctx, signin.InviteRequest{User: user.User{ID: "ada"}, Role: user.Admin}, h.actor(boss))
				check.Must(h.t, err)
				secret := h.secretOf(invited)
				browser := signin.NewSecret()
				options, err := h.SpendInvite(ctx, secret, browser)
				check.Must(h.t, err)
				response := devicetest.NewAuthenticator(h.t).Create(options)
				end(h)
				_, err = h.OpenInvite(ctx, secret, browser)
				h.expect("its page", err, signin.ErrInvite)
				_, err = h.AcceptInvite(ctx, made(secret, browser, response), byBrowser)
				h.expect("its passkey", err, signin.ErrInvite)
			})
		})
	}
}

func TestInvite_IsTheOperatorsAndOwners(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		boss, key := h.admin("boss", user.Owner)
		other, _ := h.admin("other", user.Owner)
		simple, _ := h.admin("simple", user.Admin)
		as := func(actor audit.Actor, id string, role user.Role, replace bool) error {
			_, err := h.Invite(ctx, signin.InviteRequest{User: user.User{ID: id}, Role: role, Replace: replace}, actor)
			return err
		}
		owner := h.actor(boss)
		for what, c := range map[string]struct{ err, want error }{
			"an owner, somebody new":             {as(owner, "new", user.Owner, false), nil},
			"an owner, an admin to another role": {as(owner, "simple", user.Helpdesk, true), nil},
			"an owner, another owner":            {as(owner, "other", user.NoRole, true), nil},
			"an owner, another owner's role":     {as(owner, "other", user.Viewer, true), admin.ErrRefused},
			"an owner, himself":                  {as(owner, "boss", user.NoRole, true), admin.ErrRefused},
			"an owner, nobody without a role":    {as(owner, "newer", user.NoRole, false), signin.ErrInviteRole},
			"an admin":                           {as(audit.ByAdmin(h.UID("simple"), []string{admin.ScopeResetAdminMFA}), "x", user.Viewer, false), admin.ErrRefused},
			"a client":                           {as(audit.ByClient("c", []string{admin.ScopeResetAdminMFA}, h.UID("other")), "x", user.Viewer, false), admin.ErrRefused},
			"a user":                             {as(audit.ByUser(), "x", user.Viewer, false), admin.ErrRefused},
			"the operator, a blocked user": {func() error {
				h.SetBlocked("new", true)
				return as(devicetest.Admin, "new", user.NoRole, false)
			}(), signin.ErrBlocked},
		} {
			h.expect(what, c.err, c.want)
		}
		_ = simple
		_ = other
		h.Clock.Advance(5 * time.Minute)
		h.expect("an owner who has not shown his passkey lately", as(h.actor(boss), "y", user.Viewer, false), admin.ErrProveAgain)
		check.Must(h.t, h.proveAgain(boss, key))
		h.expect("who has", as(h.actor(boss), "y", user.Viewer, false), nil)
	})
}

func TestInvite_ReplacesPasskeysAndSessionsWhenItIsUsed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		session, before := h.admin("ada", user.Admin)
		further := devicetest.NewAuthenticator(h.t)
		h.accept(h.invite("ada", user.NoRole, false), further)
		_, err := h.signIn(before)
		h.expect("beside another passkey", err, nil)
		secret := h.invite("ada", user.NoRole, true)
		h.expectOpen("before it is used", session, nil)
		after := devicetest.NewAuthenticator(h.t)
		fresh := h.accept(secret, after)
		h.expectOpen("the old session", session, signin.ErrNoSession)
		h.expectOpen("the new session", fresh, nil)
		for _, old := range []*devicetest.Authenticator{before, further} {
			if _, err := h.signIn(old); err == nil {
				h.t.Error("an old passkey signs in")
			}
		}
		_, err = h.signIn(after)
		h.expect("the new passkey", err, nil)
	})
}

func TestInvite_UnderAnAddressSaysSo(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		if !h.HasDomain() {
			h.t.Error("localhost is a domain")
		}
		_, err := h.OpenInvite(h.t.Context(), "nothing", "")
		if !errors.Is(err, signin.ErrInvite) {
			h.t.Error(err)
		}
	})
}
