package signin_test

import (
	"slices"
	"testing"
	"time"

	"tutela/device/devicetest"
	"tutela/recovery"
	"tutela/recovery/admin"
	"tutela/recovery/admin/signin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

func TestSession_EndsWithWhatItStandsOn(t *testing.T) {
	for what, end := range map[string]func(h *house, secret string){
		"half an hour without use": func(h *house, _ string) { h.Clock.Advance(30 * time.Minute) },
		"a page that asks by itself": func(h *house, secret string) {
			for range 10 {
				h.Clock.Advance(3 * time.Minute)
				_, _ = h.Open(h.t.Context(), secret, false)
			}
		},
		"half a day of use": func(h *house, secret string) {
			for range 36 {
				_, err := h.Open(h.t.Context(), secret, true)
				check.Must(h.t, err)
				h.Clock.Advance(20 * time.Minute)
			}
		},
		"another role": func(h *house, _ string) {
			check.Must(h.t, h.Admins.SetRole(h.t.Context(), "ada", user.Viewer, devicetest.Admin))
		},
		"another role and back": func(h *house, _ string) {
			check.Must(h.t, h.Admins.SetRole(h.t.Context(), "ada", user.Owner, devicetest.Admin))
			check.Must(h.t, h.Admins.SetRole(h.t.Context(), "ada", user.Admin, devicetest.Admin))
		},
		"a block": func(h *house, _ string) { h.SetBlocked("ada", true) },
		"a block that was taken back": func(h *house, _ string) {
			h.SetBlocked("ada", true)
			h.SetBlocked("ada", false)
		},
		"a reset":          func(h *house, _ string) { h.Reset("ada") },
		"the user is gone": func(h *house, _ string) { check.Must(h.t, h.Admins.Delete(h.t.Context(), "ada", devicetest.Admin)) },
		"signed out":       func(h *house, secret string) { check.Must(h.t, h.SignOut(h.t.Context(), secret, byBrowser)) },
		"ended by an owner": func(h *house, _ string) {
			m, err := h.MemberOf(h.t.Context(), "ada")
			check.Must(h.t, err)
			boss, _ := h.admin("boss", user.Owner)
			check.Must(h.t, h.EndSession(h.t.Context(), "ada", m.Sessions[0].ID, h.actor(boss)))
		},
		"its passkey is removed": func(h *house, _ string) {
			m, err := h.MemberOf(h.t.Context(), "ada")
			check.Must(h.t, err)
			boss, _ := h.admin("boss", user.Owner)
			check.Must(h.t, h.RemovePasskey(h.t.Context(), "ada", m.Passkeys[0].ID, h.actor(boss)))
		},
	} {
		t.Run(what, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				secret, a := h.admin("ada", user.Admin)
				h.expectOpen("before", secret, nil)
				end(h, secret)
				h.expectOpen("the session", secret, signin.ErrNoSession)
				h.expect("to prove it again", h.proveAgain(secret, a), signin.ErrNoSession)
				h.expect("to sign out", h.SignOut(h.t.Context(), secret, byBrowser), nil)
				if m, err := h.MemberOf(h.t.Context(), "ada"); err == nil && len(m.Sessions) > 0 {
					h.t.Errorf("it is listed: %+v", m.Sessions)
				}
			})
		})
	}
}

func TestSession_LastsWhileItIsUsed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		secret, _ := h.admin("ada", user.Helpdesk)
		for range 5 {
			h.Clock.Advance(29 * time.Minute)
			_, err := h.Open(h.t.Context(), secret, true)
			check.Must(h.t, err)
		}
		// Who clicks about writes once a minute.
		h.Unchanged(func() {
			h.Clock.Advance(59 * time.Second)
			_, err := h.Open(h.t.Context(), secret, true)
			check.Must(h.t, err)
		})
		h.Unchanged(func() {
			h.expectOpen("nothing", "", signin.ErrNoSession)
			h.expectOpen("another secret", signin.NewSecret(), signin.ErrNoSession)
		})
	})
}

func TestSession_SurvivesARestartAndAnotherServer(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		secret, a := h.admin("ada", user.Admin)
		other := signin.New(h.Store, h.Ring, h.Passkeys, h.Bases) // a second server over the same store
		_, err := other.Open(h.t.Context(), secret, true)
		h.expect("at the other server", err, nil)
		check.Must(h.t, other.SignOut(h.t.Context(), secret, byBrowser))
		h.expectOpen("signed out there", secret, signin.ErrNoSession)
		again, err := h.signIn(a)
		check.Must(h.t, err)
		h.Restart(0)
		h.Service = signin.New(h.Store, h.Ring, h.Passkeys, h.Bases)
		h.expectOpen("after a restart", again, nil)
	})
}

func TestProveAgain_LetsDoWhatIsGraveForFiveMinutes(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		secret, a := h.admin("ada", user.Helpdesk)
		_, stranger := h.admin("eve", user.Owner)
		h.Enroll("maria", "app")
		reset := func() error {
			_, err := h.Admins.Reset(ctx, "maria", recovery.ResetRequest{Reason: "lost"}, h.actor(secret))
			return err
		}
		h.Clock.Advance(5*time.Minute - time.Second)
		h.expect("just signed in", reset(), nil)
		h.Clock.Advance(time.Second)
		h.expect("five minutes later", reset(), admin.ErrProveAgain)
		h.expect("another's passkey", h.proveAgain(secret, stranger), signin.ErrSomebodyElse)
		h.expect("still", reset(), admin.ErrProveAgain)
		check.Must(h.t, h.proveAgain(secret, a))
		h.expect("proved", reset(), nil)
		if words := h.sessionWords("ada"); !slices.Equal(words, []audit.Word{audit.SessionProved, audit.SessionInvited}) {
			h.t.Errorf("events %v", words)
		}
	})
}

func TestEndSession_IsOnesOwnOrOfWhomOneStandsAbove(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		secrets := map[string]string{}
		ids := map[string]string{}
		for id, role := range map[string]user.Role{
			"owner": user.Owner, "owner2": user.Owner, "admin": user.Admin, "desk": user.Helpdesk, "viewer": user.Viewer,
		} {
			secrets[id], _ = h.admin(id, role)
			m, err := h.MemberOf(ctx, id)
			check.Must(h.t, err)
			ids[id] = m.Sessions[0].ID
		}
		for _, c := range []struct {
			who, whose string
			want       error
		}{
			{"desk", "admin", admin.ErrRefused},
			{"viewer", "desk", admin.ErrRefused},
			{"admin", "owner", admin.ErrRefused},
			{"admin", "desk", nil},
			{"viewer", "viewer", nil},
			{"owner", "owner2", nil},
			{"owner", "owner2", signin.ErrNoSession},
		} {
			h.expect(c.who+" ends the session of "+c.whose, h.EndSession(ctx, c.whose, ids[c.whose], h.actor(secrets[c.who])), c.want)
		}
	})
}

func TestSession_TheSeventeenthEndsTheOneUsedLongestAgo(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		first, a := h.admin("ada", user.Admin)
		h.Clock.Advance(time.Second)
		second, err := h.signIn(a)
		check.Must(h.t, err)
		for range 15 {
			h.Clock.Advance(time.Second)
			_, err = h.signIn(a)
			check.Must(h.t, err)
		}
		h.expectOpen("the first", first, signin.ErrNoSession)
		h.expectOpen("the second", second, nil)
	})
}

func TestPasskeys_AreAddedAndRemovedByWhoHasJustShownOne(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		secret, a := h.admin("ada", user.Viewer)
		m, err := h.MemberOf(ctx, "ada")
		check.Must(h.t, err)
		only := m.Passkeys[0].ID
		h.expect("the only one", h.RemoveOwnPasskey(ctx, secret, only, byBrowser), admin.ErrRefused)
		h.Clock.Advance(6 * time.Minute)
		_, err = h.BeginPasskey(ctx, secret)
		h.expect("not proved", err, admin.ErrProveAgain)
		check.Must(h.t, h.proveAgain(secret, a))
		options, err := h.BeginPasskey(ctx, secret)
		check.Must(h.t, err)
		key := devicetest.NewAuthenticator(h.t)
		check.Must(h.t, h.AddPasskey(ctx, secret, "A key", key.Create(options), byBrowser))
		other, err := h.signIn(key)
		check.Must(h.t, err)
		check.Must(h.t, h.RemoveOwnPasskey(ctx, other, only, byBrowser))
		h.expectOpen("the session of the passkey that is gone", secret, signin.ErrNoSession)
		h.expectOpen("the other", other, nil)
	})
}

// An owner who cannot sign in counts for nothing beside one who can.
func TestLastOwner_WhoCanSignInStays(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ctx := h.t.Context()
		boss, _ := h.admin("boss", user.Owner)
		h.invite("other", user.Owner, false)
		h.Enroll("other", "app")
		strong := audit.ByClient("c", []string{admin.ScopeResetAdminMFA}, storage.House)
		h.expect("beside one without a passkey", h.Admins.SetBlocked(ctx, "boss", true, strong), admin.ErrRefused)
		second, _ := h.admin("other", user.Owner)
		team, err := h.Team(ctx)
		check.Must(h.t, err)
		if len(team) != 2 || team[0].LastOwner || team[1].LastOwner {
			h.t.Errorf("team %+v", team)
		}
		m, err := h.MemberOf(ctx, "boss")
		check.Must(h.t, err)
		check.Must(h.t, h.RemovePasskey(ctx, "boss", m.Passkeys[0].ID, h.actor(second)))
		h.expectOpen("boss", boss, signin.ErrNoSession)
		m, err = h.MemberOf(ctx, "other")
		check.Must(h.t, err)
		h.expect("the last", h.RemoveOwnPasskey(ctx, second, m.Passkeys[0].ID, byBrowser), admin.ErrRefused)
		h.expect("by a client", h.Admins.SetBlocked(ctx, "other", true, strong), admin.ErrRefused)
	})
}

func TestScopes_AreThoseOfTheRole(t *testing.T) {
	for _, c := range []struct {
		scope  string
		least  user.Role
		proved bool // it takes a passkey that was shown just now
	}{
		{"read:users", user.Viewer, false},
		{"read:logs", user.Viewer, false},
		{"create:guardian_enrollment_tickets", user.Helpdesk, false},
		{"update:users", user.Helpdesk, false},
		{"issue:recovery_codes", user.Helpdesk, false},
		{"reset:mfa", user.Helpdesk, true},
		{"create:users", user.Admin, false},
		{"delete:users", user.Admin, false},
		{"update:guardian_factors", user.Admin, false},
		{"manage:clients", user.Admin, false},
		{"manage:webhooks", user.Admin, false},
		{"manage:policies", user.Owner, false},
		{"reset:admin_mfa", user.Owner, true},
	} {
		for _, role := range []user.Role{user.NoRole, user.Viewer, user.Helpdesk, user.Admin, user.Owner} {
			for _, proved := range []bool{false, true} {
				want := !c.least.Above(role) && (proved || !c.proved)
				if got := slices.Contains(signin.Scopes(role, proved), c.scope); got != want {
					t.Errorf("%s for %q (proved: %t): %t", c.scope, role, proved, got)
				}
			}
		}
	}
}
