package passkey_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/passkey"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

// adminCreation begins the registration of a passkey that opens the dashboard.
func (h *house) adminCreation(uid storage.UID) (options []byte) {
	h.t.Helper()
	h.setRole(uid, user.Helpdesk)
	h.Update(func(tx *storage.Tx) (err error) {
		options, err = h.BeginAdmin(tx, uid, "an invite")
		return err
	})
	return options
}

// setRole gives a user a role.
func (h *house) setRole(uid storage.UID, role user.Role) {
	h.t.Helper()
	h.Update(func(tx *storage.Tx) error {
		_, err := user.Change(tx, uid, func(u *user.User) error {
			u.Role = role
			return nil
		})
		return err
	})
}

// addAdmin ends it.
func (h *house) addAdmin(uid storage.UID, r passkey.Response, replace bool) (made *passkey.Admin, err error) {
	h.t.Helper()
	verified, err := h.VerifyAdmin(h.t.Context(), uid, "an invite", r)
	if err != nil {
		return nil, err
	}
	err = h.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
		made, err = h.AddAdmin(tx, verified, "a laptop", replace, audit.ByUser())
		return err
	})
	return made, err
}

// admin makes a passkey that opens the dashboard.
func (h *house) admin(uid storage.UID, a *devicetest.Authenticator) *passkey.Admin {
	h.t.Helper()
	made, err := h.addAdmin(uid, a.Create(h.adminCreation(uid)), false)
	check.Must(h.t, err)
	return made
}

// enter signs in to the dashboard.
func (h *house) enter(sealed string, r passkey.Response) (uid storage.UID, err error) {
	h.t.Helper()
	e, err := h.VerifyEntry(h.t.Context(), sealed, r)
	if err != nil {
		return uid, err
	}
	return e.UID, h.entered(e)
}

func (h *house) entered(e *passkey.Entry) error {
	return h.Store.Update(context.Background(), func(tx *storage.Tx) error {
		_, err := h.Enter(tx, e, audit.ByUser())
		return err
	})
}

// ask begins a sign-in to the dashboard.
func (h *house) ask() (options []byte, sealed string) {
	h.t.Helper()
	options, sealed, err := h.Ask()
	check.Must(h.t, err)
	return options, sealed
}

func TestEnter_APasskeyOfTheDashboardTellsWhoItIs(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		bob := h.user("bob")
		laptop := devicetest.NewAuthenticator(h.t)
		key := devicetest.NewAuthenticator(h.t)
		other := devicetest.NewAuthenticator(h.t)
		h.admin(ada, laptop)
		h.admin(ada, key)
		h.admin(bob, other)
		for a, want := range map[*devicetest.Authenticator]storage.UID{laptop: ada, key: ada, other: bob} {
			options, sealed := h.ask()
			var got storage.UID
			var err error
			got, err = h.enter(sealed, a.Get(options))
			if err != nil || got != want {
				h.t.Errorf("signed in as %s: %v, want %s", got, err, want)
			}
		}
		if words := h.changes("ada"); !slices.Equal(words, []audit.Word{audit.PasskeyAdded, audit.PasskeyAdded}) {
			h.t.Errorf("events %v", words)
		}
	})
}

func TestAsk_WritesNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		a := devicetest.NewAuthenticator(h.t)
		h.admin(ada, a)
		h.Unchanged(func() {
			for range 10 {
				options, sealed := h.ask()
				_, err := h.enter(sealed, devicetest.NewAuthenticator(h.t).Get(options))
				h.expect("a stranger's passkey", err, passkey.ErrRefused)
			}
		})
	})
}

func TestEnter_RefusesWhatDoesNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h *house, a *devicetest.Authenticator)
		want   error
	}{
		"another origin": {func(_ *house, a *devicetest.Authenticator) { a.Party.Origin = "https://evil.example" }, passkey.ErrRefused},
		"a client's origin, where a login's passkey would do": {func(h *house, a *devicetest.Authenticator) {
			h.Origins["http://shop.localhost:3000"] = true
			a.Party.Origin = "http://shop.localhost:3000"
		}, passkey.ErrRefused},
		"another relying party": {func(_ *house, a *devicetest.Authenticator) { a.Party.ID = "evil.example" }, passkey.ErrRefused},
		"the user is not verified, whatever the setting": {func(h *house, a *devicetest.Authenticator) {
			h.Set("passkey.user_verification", "discouraged")
			a.Options.UserNotVerified = true
		}, passkey.ErrRefused},
		"no handle": {func(_ *house, a *devicetest.Authenticator) { a.Options.UserHandle = nil }, passkey.ErrRefused},
		"another's handle": {func(h *house, a *devicetest.Authenticator) {
			bob := devicetest.NewAuthenticator(h.t)
			h.admin(h.user("bob"), bob)
			a.Options.UserHandle = bob.Options.UserHandle
		}, passkey.ErrRefused},
		"the handle of her logins": {func(h *house, a *devicetest.Authenticator) {
			other := devicetest.NewAuthenticator(h.t)
			h.register(h.UID("ada"), device.TypeRoaming, other)
			a.Options.UserHandle = other.Options.UserHandle
		}, passkey.ErrRefused},
		"her passkey for logins": {func(h *house, a *devicetest.Authenticator) {
			h.register(h.UID("ada"), device.TypePlatform, a)
		}, passkey.ErrRefused},
		"the copy of a passkey": {func(h *house, a *devicetest.Authenticator) {
			a.Credential.Counter = 9
			options, sealed := h.ask()
			_, err := h.enter(sealed, a.Get(options))
			check.Must(h.t, err)
		}, passkey.ErrCopied},
		"it could be copied, and cannot any more": {func(h *house, a *devicetest.Authenticator) {
			a.Options.BackupEligible = true
			options, sealed := h.ask()
			_, err := h.enter(sealed, a.Get(options))
			check.Must(h.t, err)
			a.Options.BackupEligible = false
		}, passkey.ErrBound},
		"a domain set for other passkeys changes nothing": {func(h *house, _ *devicetest.Authenticator) {
			h.Set("passkey.rp_id", "example.com")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				a := devicetest.NewAuthenticator(h.t)
				h.admin(h.user("ada"), a)
				c.change(h, a)
				options, sealed := h.ask()
				_, err := h.enter(sealed, a.Get(options))
				h.expect(name, err, c.want)
			})
		})
	}
}

func TestEnter_AnAnswerCountsOnceInTime(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		a := devicetest.NewAuthenticator(h.t)
		made := h.admin(ada, a)
		options, sealed := h.ask()
		response := a.Get(options)
		errs := make([]error, 2)
		var done sync.WaitGroup
		for i := range errs {
			e, err := h.VerifyEntry(h.t.Context(), sealed, response)
			check.Must(h.t, err)
			done.Go(func() { errs[i] = h.entered(e) })
		}
		done.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			h.t.Errorf("one answer twice: %v", errs)
		}
		_, err := h.enter(sealed, response)
		h.expect("again", err, passkey.ErrCeremony)
		_, other := h.ask()
		_, err = h.enter(other, response)
		h.expect("to another challenge", err, passkey.ErrRefused)
		for _, forged := range []string{"", "!", sealed[:len(sealed)-2] + "AA"} {
			_, err = h.enter(forged, response)
			h.expect("a forged half", err, passkey.ErrCeremony)
		}

		options, sealed = h.ask()
		late, err := h.VerifyEntry(h.t.Context(), sealed, a.Get(options))
		check.Must(h.t, err)
		h.Clock.Advance(5 * time.Minute)
		h.expect("verified in time, and spent too late", h.entered(late), passkey.ErrCeremony)
		_, err = h.VerifyEntry(h.t.Context(), sealed, a.Get(options))
		h.expect("too late", err, passkey.ErrCeremony)

		options, sealed = h.ask()
		removed, err := h.VerifyEntry(h.t.Context(), sealed, a.Get(options))
		check.Must(h.t, err)
		h.Update(func(tx *storage.Tx) error { return passkey.RemoveAdmin(tx, ada, made.ID, audit.ByUser()) })
		h.expect("removed meanwhile", h.entered(removed), passkey.ErrRefused)
	})
}

func TestEnter_WhatWasSpentIsNeverForgottenBeforeItsTime(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		a := devicetest.NewAuthenticator(h.t)
		h.admin(ada, a)
		var first func() error
		var err error
		for range 128 {
			options, sealed := h.ask()
			response := a.Get(options)
			_, err = h.enter(sealed, response)
			check.Must(h.t, err)
			if first == nil {
				first = func() error {
					_, err := h.enter(sealed, response)
					return err
				}
			}
		}
		options, sealed := h.ask()
		_, err = h.enter(sealed, a.Get(options))
		h.expect("one more", err, passkey.ErrTooOften)
		h.expect("the first one again", first(), passkey.ErrCeremony)
		h.Clock.Advance(5 * time.Minute)
		options, sealed = h.ask()
		_, err = h.enter(sealed, a.Get(options))
		h.expect("after a while", err, nil)
	})
}

func TestAddAdmin_ReplacesTheOldOnesWhenTheInviteIsSpent(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		before := devicetest.NewAuthenticator(h.t)
		h.admin(ada, before)
		after := devicetest.NewAuthenticator(h.t)
		response := after.Create(h.adminCreation(ada))
		options, sealed := h.ask()
		_, err := h.enter(sealed, before.Get(options))
		h.expect("before it is spent", err, nil)
		_, err = h.addAdmin(ada, response, true)
		check.Must(h.t, err)
		_, err = h.addAdmin(ada, response, true)
		h.expect("the same answer again", err, passkey.ErrCeremony)
		options, sealed = h.ask()
		_, err = h.enter(sealed, before.Get(options))
		h.expect("the old one", err, passkey.ErrRefused)
		options, sealed = h.ask()
		_, err = h.enter(sealed, after.Get(options))
		h.expect("the new one", err, nil)
	})
}

func TestAddAdmin_RefusesWhatIsNotForIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		a := devicetest.NewAuthenticator(h.t)
		// A passkey that was registered for logins opens no dashboard, though its user made it.
		verified, err := h.VerifyRegistration(h.t.Context(), ada, "a", a.Create(h.creation(ada, device.TypePlatform)))
		check.Must(h.t, err)
		h.expect("for logins", h.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
			_, err := h.AddAdmin(tx, verified, "a laptop", false, audit.ByUser())
			return err
		}), passkey.ErrCeremony)

		unverified := devicetest.NewAuthenticator(h.t)
		unverified.Options.UserNotVerified = true
		h.Set("passkey.user_verification", "discouraged")
		_, err = h.addAdmin(ada, unverified.Create(h.adminCreation(ada)), false)
		h.expect("without user verification", err, passkey.ErrRefused)

		page := devicetest.NewAuthenticator(h.t)
		h.Origins["http://shop.localhost:3000"] = true
		page.Party.Origin = "http://shop.localhost:3000"
		_, err = h.addAdmin(ada, page.Create(h.adminCreation(ada)), false)
		h.expect("a client's page", err, passkey.ErrRefused)

		h.admin(ada, a)
		_, err = h.addAdmin(h.user("bob"), a.Create(h.adminCreation(h.UID("bob"))), false)
		h.expect("another user's", err, device.ErrRegistered)
		for range 15 {
			h.admin(ada, devicetest.NewAuthenticator(h.t))
		}
		_, err = h.addAdmin(ada, devicetest.NewAuthenticator(h.t).Create(h.adminCreation(ada)), false)
		h.expect("one too many", err, passkey.ErrTooMany)
		h.Reset("ada")
		if rows := h.Rows("passkey_admin"); len(rows) > 0 {
			h.t.Errorf("after a reset there are %d", len(rows))
		}
	})
}

func TestEnter_ACopyIsToldOnceADay(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		a := devicetest.NewAuthenticator(h.t)
		a.Credential.Counter = 3
		h.admin(ada, a)
		for range 3 {
			options, sealed := h.ask()
			_, err := h.enter(sealed, a.Get(options))
			h.expect("the copy", err, passkey.ErrCopied)
		}
		if told := h.told(ada); !slices.Equal(told, []recovery.NoticeWord{recovery.NoticePasskeyCopied}) {
			h.t.Errorf("told %v", told)
		}
		if words := h.changes("ada"); fmt.Sprint(words) != "[copied added]" {
			h.t.Errorf("events %v", words)
		}
	})
}

// A passkey outlives the role for which it was made, and opens nothing by itself.
func TestAdmin_APasskeyOpensNothingToWhomTheDashboardDoesNotLetIn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		a := devicetest.NewAuthenticator(h.t)
		h.admin(ada, a)
		for what, change := range map[string]struct{ off, on func() }{
			"no role": {func() { h.setRole(ada, user.NoRole) }, func() { h.setRole(ada, user.Viewer) }},
			"blocked": {func() { h.SetBlocked("ada", true) }, func() { h.SetBlocked("ada", false) }},
		} {
			options, sealed := h.ask()
			verified, err := h.VerifyEntry(h.t.Context(), sealed, a.Get(options))
			check.Must(h.t, err)
			response := devicetest.NewAuthenticator(h.t).Create(h.adminCreation(ada))
			change.off()
			h.expect(what+": signs in", h.entered(verified), passkey.ErrNoRole)
			_, err = h.addAdmin(ada, response, false)
			h.expect(what+": adds a passkey", err, passkey.ErrNoRole)
			change.on()
			h.expect(what+": no more", h.entered(verified), nil)
		}
	})
}
