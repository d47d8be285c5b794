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
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

func TestAccept_WhetherAPasskeyCanBeCopiedMayBecomeTrueAndNeverFalse(t *testing.T) {
	type flags struct{ eligible, backedUp bool }
	known := []flags{{false, false}, {true, false}, {true, true}}
	for _, before := range known {
		for _, now := range append(known, flags{false, true}) {
			want := error(nil)
			var change []audit.Word
			switch {
			case now == flags{false, true}:
				want = passkey.ErrRefused
			case before.eligible && !now.eligible:
				want = passkey.ErrBound
				change = []audit.Word{audit.PasskeyBound}
			case !before.eligible && now.eligible:
				change = []audit.Word{audit.PasskeyCopyable}
			}
			t.Run(fmt.Sprintf("%+v then %+v", before, now), func(t *testing.T) {
				onEveryEngine(t, func(h *house) {
					uid := h.user("ada")
					a := devicetest.NewAuthenticator(h.t)
					a.Options.BackupEligible = before.eligible
					a.Options.BackupState = before.backedUp
					made := h.register(uid, device.TypePlatform, a)

					a.Options.BackupEligible = now.eligible
					a.Options.BackupState = now.backedUp
					_, err := h.answer(uid, a.Get(h.request(uid)))
					h.expect("the answer", err, want)
					left := now
					if want != nil {
						left = before
					}
					if p := h.stored(uid, made.ID).WebAuthn; p.BackupEligible != left.eligible || p.BackedUp != left.backedUp {
						h.t.Errorf("stored: eligible %v, backed up %v", p.BackupEligible, p.BackedUp)
					}
					if got := h.changes("ada"); !slices.Equal(got, change) {
						h.t.Errorf("events %v, want %v", got, change)
					}
				})
			})
		}
	}
}

func TestAccept_ACountThatDoesNotAdvanceWarnsOfACopy(t *testing.T) {
	for _, c := range []struct {
		stored, now uint32
		copied      bool
	}{
		{0, 0, false},
		{0, 1, false},
		{5, 6, false},
		{5, 4_000_000_000, false},
		{5, 5, true},
		{5, 4, true},
		{5, 0, true},
	} {
		for _, policy := range []string{passkey.CloneRefuse, passkey.CloneAccept} {
			t.Run(fmt.Sprintf("%d then %d, %s", c.stored, c.now, policy), func(t *testing.T) {
				onEveryEngine(t, func(h *house) {
					h.Set("passkey.clone", policy)
					uid := h.user("ada")
					a := devicetest.NewAuthenticator(h.t)
					a.Credential.Counter = c.stored
					made := h.register(uid, device.TypeRoaming, a)
					a.Credential.Counter = c.now

					want := error(nil)
					if c.copied && policy == passkey.CloneRefuse {
						want = passkey.ErrCopied
					}
					for range 2 {
						_, err := h.answer(uid, a.Get(h.request(uid)))
						h.expect("the answer", err, want)
						if !c.copied && c.now != 0 {
							a.Credential.Counter++
						}
					}
					h.afterCount(uid, made.ID, c.stored, c.copied)
				})
			})
		}
	}
}

// afterCount looks at what two answers have left behind.
func (h *house) afterCount(uid storage.UID, id string, stored uint32, copied bool) {
	h.t.Helper()
	p := h.stored(uid, id).WebAuthn
	told := h.told(uid)
	if !copied {
		if len(told)+len(h.changes("ada")) > 0 {
			h.t.Errorf("told %v, events %v", told, h.changes("ada"))
		}
		return
	}
	if p.SignCount != stored {
		h.t.Errorf("the stored count went to %d", p.SignCount)
	}
	// She and the admins are told once, and again a day later.
	if !slices.Equal(told, []recovery.NoticeWord{recovery.NoticePasskeyCopied}) || !slices.Equal(h.changes("ada"), []audit.Word{audit.PasskeyCopied}) {
		h.t.Errorf("told %v, events %v", told, h.changes("ada"))
	}
}

// told returns the words of the notices to a user.
func (h *house) told(uid storage.UID) (words []recovery.NoticeWord) {
	h.t.Helper()
	h.View(func(tx *storage.Tx) error {
		list, err := recovery.Notices(tx, uid, time.Time{})
		for _, n := range list {
			words = append(words, n.Notice)
		}
		return err
	})
	return words
}

func TestAccept_TellsOfACopyAgainAfterADay(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.user("ada")
		a := devicetest.NewAuthenticator(h.t)
		a.Credential.Counter = 5
		h.register(uid, device.TypeRoaming, a)
		for range 3 {
			_, err := h.answer(uid, a.Get(h.request(uid)))
			h.expect("the answer", err, passkey.ErrCopied)
			h.Clock.Advance(24 * time.Hour)
		}
		if n := len(h.told(uid)); n != 3 {
			h.t.Errorf("told %d times", n)
		}
	})
}

func TestVerify_RefusesWhatDoesNotFitItsChallenge(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h *house, a *devicetest.Authenticator)
		want   error
	}{
		"another origin":        {func(_ *house, a *devicetest.Authenticator) { a.Party.Origin = "https://evil.example" }, passkey.ErrRefused},
		"another relying party": {func(_ *house, a *devicetest.Authenticator) { a.Party.ID = "evil.example" }, passkey.ErrRefused},
		"nobody was there":      {func(_ *house, a *devicetest.Authenticator) { a.Options.UserNotPresent = true }, passkey.ErrRefused},
		"another user's handle": {func(_ *house, a *devicetest.Authenticator) { a.Options.UserHandle = []byte("somebody else") }, passkey.ErrRefused},
		"no handle":             {func(_ *house, a *devicetest.Authenticator) { a.Options.UserHandle = nil }, nil},
		"another key": {func(h *house, a *devicetest.Authenticator) {
			a.Credential.Key = devicetest.NewAuthenticator(h.t).Credential.Key
		}, passkey.ErrRefused},
		"a passkey that nobody has": {func(h *house, a *devicetest.Authenticator) {
			a.Credential = devicetest.NewAuthenticator(h.t).Credential
		}, passkey.ErrRefused},
		"the second public URL": {func(_ *house, a *devicetest.Authenticator) { a.Party.Origin = "https://mfa.example.com" }, nil},
		"a client's origin under the domain": {func(h *house, a *devicetest.Authenticator) {
			h.Origins["http://shop.localhost:3000"] = true
			a.Party.Origin = "http://shop.localhost:3000"
		}, nil},
		"a client's origin elsewhere": {func(h *house, a *devicetest.Authenticator) {
			h.Origins["https://shop.example"] = true
			a.Party.Origin = "https://shop.example"
		}, passkey.ErrRefused},
		"an origin under the domain that nobody registered": {func(_ *house, a *devicetest.Authenticator) {
			a.Party.Origin = "http://shop.localhost:3000"
		}, passkey.ErrRefused},
		"the user is not verified": {func(_ *house, a *devicetest.Authenticator) { a.Options.UserNotVerified = true }, nil},
		"the user is not verified, and must be": {func(h *house, a *devicetest.Authenticator) {
			h.Set("passkey.user_verification", "required")
			a.Options.UserNotVerified = true
		}, passkey.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				uid := h.user("ada")
				a := devicetest.NewAuthenticator(h.t)
				h.register(uid, device.TypeRoaming, a)
				options := h.request(uid)
				c.change(h, a)
				_, err := h.answer(uid, a.Get(options))
				h.expect(name, err, c.want)
			})
		})
	}
}

func TestVerify_APlatformPasskeyMustVerifyItsUserBesideASecurityKeyToo(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.Set("passkey.user_verification", "discouraged")
		uid := h.user("ada")
		key := devicetest.NewAuthenticator(h.t)
		laptop := devicetest.NewAuthenticator(h.t)
		h.register(uid, device.TypeRoaming, key)
		h.register(uid, device.TypePlatform, laptop)
		for _, a := range []*devicetest.Authenticator{key, laptop} {
			a.Options.UserNotVerified = true
		}
		_, err := h.answer(uid, key.Get(h.request(uid)))
		h.expect("a security key", err, nil)
		_, err = h.answer(uid, laptop.Get(h.request(uid)))
		h.expect("a laptop", err, passkey.ErrRefused)
	})
}

func TestAccept_AnAnswerCountsOnceForItsUserInTime(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		ada := h.user("ada")
		bob := h.user("bob")
		a := devicetest.NewAuthenticator(h.t)
		h.register(ada, device.TypeRoaming, a)
		h.register(bob, device.TypeRoaming, devicetest.NewAuthenticator(h.t))

		response := a.Get(h.request(ada))
		_, err := h.answer(bob, response)
		h.expect("another user, who has no challenge", err, passkey.ErrCeremony)
		h.request(bob)
		_, err = h.answer(bob, response)
		h.expect("another user's challenge", err, passkey.ErrRefused)

		first, err := h.Verify(h.t.Context(), ada, "a", response)
		check.Must(h.t, err)
		second, err := h.Verify(h.t.Context(), ada, "a", response)
		check.Must(h.t, err)
		_, err = h.accept(first)
		h.expect("the answer", err, nil)
		_, err = h.accept(second)
		h.expect("verified beside it", err, passkey.ErrCeremony)
		_, err = h.answer(ada, response)
		h.expect("again", err, passkey.ErrCeremony)
		h.request(ada)
		_, err = h.answer(ada, response)
		h.expect("to another challenge", err, passkey.ErrRefused)

		late := a.Get(h.request(ada))
		h.Clock.Advance(5 * time.Minute)
		_, err = h.answer(ada, late)
		h.expect("too late", err, passkey.ErrCeremony)
	})
}

func TestAccept_APasskeyThatIsOutOfUseCountsNoMore(t *testing.T) {
	for name, stop := range map[string]func(tx *storage.Tx, uid storage.UID, e *device.Enrollment) error{
		"suspended": func(tx *storage.Tx, uid storage.UID, e *device.Enrollment) error {
			return device.SetStatus(tx, uid, e, device.Suspended)
		},
		"removed": func(tx *storage.Tx, uid storage.UID, e *device.Enrollment) error {
			return device.Retire(tx, uid, e, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				uid := h.user("ada")
				a := devicetest.NewAuthenticator(h.t)
				other := devicetest.NewAuthenticator(h.t)
				made := h.register(uid, device.TypeRoaming, a)
				h.register(uid, device.TypeRoaming, other)
				options := h.request(uid)
				verified, err := h.Verify(h.t.Context(), uid, "a", a.Get(options))
				check.Must(h.t, err)
				h.Update(func(tx *storage.Tx) error {
					e, err := device.Get(tx, uid, made.ID)
					if err != nil {
						return err
					}
					return stop(tx, uid, e)
				})
				_, err = h.accept(verified)
				h.expect("verified before", err, passkey.ErrRefused)
				_, err = h.answer(uid, a.Get(options))
				h.expect("after", err, passkey.ErrRefused)
				// The other passkey of the same challenge still answers.
				_, err = h.answer(uid, other.Get(options))
				h.expect("the other one", err, nil)
			})
		})
	}
}

func TestBegin_AUserWithoutPasskeysHasNoChallenge(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		h.Enroll("ada", "a phone")
		var options []byte
		h.expect("the challenge", h.requested(h.UID("ada"), &options), passkey.ErrNone)
	})
}

func TestCeremonies_HaveABoundAndTheOldestGoes(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.user("ada")
		a := devicetest.NewAuthenticator(h.t)
		h.register(uid, device.TypeRoaming, a)
		first := h.request(uid)
		for i := range 200 {
			h.Clock.Advance(time.Millisecond)
			h.Update(func(tx *storage.Tx) error {
				_, err := h.BeginRegistration(tx, uid, fmt.Sprintf("flood %d", i), device.TypeRoaming)
				return err
			})
		}
		if n := len(h.Rows("passkey_ceremony")); n != 128 {
			h.t.Errorf("%d ceremonies", n)
		}
		_, err := h.answer(uid, a.Get(first))
		h.expect("the oldest", err, passkey.ErrCeremony)
	})
}

func TestPasskeys_WorkOverTwoHouses(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.user("ada")
		other := passkey.New(h.Store, h.Ring, passkey.Options{Bases: h.Bases, Issuer: "Example & Söhne"})
		there := &house{House: h.House, Service: other, t: h.t}
		a := devicetest.NewAuthenticator(h.t)
		_, err := there.finish(uid, a.Create(h.creation(uid, device.TypeRoaming)))
		h.expect("registered at one, ended at the other", err, nil)
		_, err = there.answer(uid, a.Get(h.request(uid)))
		h.expect("asked by one, answered to the other", err, nil)

		// Both get the answer at once: it counts at one of them.
		response := a.Get(h.request(uid))
		errs := make([]error, 2)
		var done sync.WaitGroup
		here, err := h.Verify(context.Background(), uid, "a", response)
		check.Must(h.t, err)
		elsewhere, err := there.Verify(context.Background(), uid, "a", response)
		check.Must(h.t, err)
		done.Go(func() { _, errs[0] = h.accept(here) })
		done.Go(func() { _, errs[1] = there.accept(elsewhere) })
		done.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			h.t.Errorf("one answer at two houses: %v", errs)
		}

		// A setting changed at one rules the other.
		verified, err := h.Verify(context.Background(), uid, "a", unverified(a).Get(h.request(uid)))
		check.Must(h.t, err)
		h.Set("passkey.user_verification", "required")
		_, err = there.accept(verified)
		h.expect("under the setting of the other", err, passkey.ErrRefused)
	})
}

func unverified(a *devicetest.Authenticator) *devicetest.Authenticator {
	other := *a
	other.Options.UserNotVerified = true
	return &other
}

// under is a service whose first public URL is another.
func (h *house) under(urls ...string) *house {
	bases := device.NewBases(urls)
	s := passkey.New(h.Store, h.Ring, passkey.Options{
		Bases:      bases,
		Issuer:     "Example & Söhne",
		Registered: func(_ *storage.Tx, origin string) (bool, error) { return h.Origins[origin], nil },
	})
	return &house{House: h.House, Service: s, t: h.t}
}

func TestRelyingParty_IsTheOneThatIsSetOnlyWhereThePublicHostIsBelow(t *testing.T) {
	h := newHouse(t, ground.Options{})
	for _, c := range []struct{ url, set, want string }{
		{"https://login.example.com/mfa", "", "login.example.com"},
		{"https://login.example.com:8443", "example.com", "example.com"},
		{"https://LOGIN.example.com", "login.example.com", "login.example.com"},
		{"https://login.example.com", "other.example.com", "login.example.com"},
		{"https://login.example.com", "mple.com", "login.example.com"},
		{"https://example.com", "login.example.com", "example.com"},
		{"http://localhost:8080", "localhost", "localhost"},
	} {
		h.Set("passkey.rp_id", c.set)
		h.View(func(tx *storage.Tx) error {
			got, err := h.under(c.url).RelyingParty(tx)
			if got != c.want {
				t.Errorf("%s with %q: %s, want %s", c.url, c.set, got, c.want)
			}
			return err
		})
	}
	for _, typed := range []string{"com", "http://example.com", "exa mple.com", "10.0.0.1", "-", "..", "example.com/"} {
		err := h.Store.Update(t.Context(), func(tx *storage.Tx) error { return setting.Set(tx, "passkey.rp_id", typed) })
		h.expect(typed, err, setting.ErrValue)
	}
}

func TestRelyingParty_AnAddressHasNoPasskeys(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.user("ada")
		h.register(uid, device.TypeRoaming, devicetest.NewAuthenticator(h.t))
		at := h.under("http://192.168.1.20:8080")
		h.expect("register", h.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
			_, err := at.BeginRegistration(tx, uid, "a", device.TypeRoaming)
			return err
		}), passkey.ErrNoDomain)
		h.expect("register for the dashboard", h.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
			_, err := at.BeginAdmin(tx, uid, "a")
			return err
		}), passkey.ErrNoDomain)
		_, _, err := at.Ask()
		h.expect("sign in to the dashboard", err, passkey.ErrNoDomain)
		var options []byte
		h.expect("assert", at.requested(uid, &options), passkey.ErrNone)
	})
}

func TestRelyingParty_IsNotChangedWhileThereArePasskeysUnlessForced(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		at := h.under("https://login.example.com")
		uid := h.user("ada")
		set := func(to string) error {
			return h.Store.Update(h.t.Context(), func(tx *storage.Tx) error { return setting.Set(tx, "passkey.rp_id", to) })
		}
		h.expect("before there are any", set("example.com"), nil)
		a := devicetest.NewAuthenticator(h.t)
		a.Party.ID = "example.com"
		a.Party.Origin = "https://login.example.com"
		made := at.register(uid, device.TypeRoaming, a)
		h.expect("back to the public host", set(""), passkey.ErrInUse)
		h.expect("to what it is", set("example.com"), nil)
		verified, err := at.Verify(h.t.Context(), uid, "a", a.Get(at.request(uid)))
		check.Must(h.t, err)
		h.Update(func(tx *storage.Tx) error { return setting.Force(tx, "passkey.rp_id", "") })
		_, err = at.accept(verified)
		h.expect("verified before the change", err, passkey.ErrRefused)
		var options []byte
		h.expect("a passkey of the domain before", at.requested(uid, &options), passkey.ErrNone)
		h.Update(func(tx *storage.Tx) error { return setting.Force(tx, "passkey.rp_id", "example.com") })
		_, err = at.answer(uid, a.Get(at.request(uid)))
		h.expect("once it is back", err, nil)
		h.Update(func(tx *storage.Tx) error {
			e, err := device.Get(tx, uid, made.ID)
			if err != nil {
				return err
			}
			return device.Retire(tx, uid, e, nil)
		})
		h.expect("when they are gone", set(""), nil)
	})
}

func TestRelatedOrigins_AreThePublicURLsAndClientsUnderTheDomain(t *testing.T) {
	h := newHouse(t, ground.Options{})
	at := h.under("https://login.example.com/mfa", "https://mfa.example.org:443/")
	h.Set("passkey.rp_id", "example.com")
	h.View(func(tx *storage.Tx) error {
		got, err := at.RelatedOrigins(tx, []string{"https://shop.example.com", "https://evil.com", "https://notexample.com"})
		want := []string{"https://login.example.com", "https://mfa.example.org", "https://shop.example.com"}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		return err
	})
}

func TestPasskeys_OfATypeThatIsSwitchedOffLetNobodyIn(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		uid := h.user("ada")
		key := devicetest.NewAuthenticator(h.t)
		laptop := devicetest.NewAuthenticator(h.t)
		h.register(uid, device.TypeRoaming, key)
		h.register(uid, device.TypePlatform, laptop)
		options := h.request(uid)
		verified, err := h.Verify(h.t.Context(), uid, "a", key.Get(options))
		check.Must(h.t, err)
		made, err := h.VerifyRegistration(h.t.Context(), uid, "a", devicetest.NewAuthenticator(h.t).Create(h.creation(uid, device.TypeRoaming)))
		check.Must(h.t, err)
		h.Set("factor.webauthn_roaming", "off")
		_, err = h.accept(verified)
		h.expect("a security key", err, passkey.ErrRefused)
		_, err = h.bind(made)
		h.expect("a new security key", err, device.ErrFactorOff)
		h.expect("asked for another", h.Store.Update(h.t.Context(), func(tx *storage.Tx) error {
			_, err := h.BeginRegistration(tx, uid, "a", device.TypeRoaming)
			return err
		}), device.ErrFactorOff)
		_, err = h.answer(uid, laptop.Get(h.request(uid)))
		h.expect("a laptop", err, nil)
		h.Set("factor.webauthn_roaming", "on")
		_, err = h.answer(uid, key.Get(h.request(uid)))
		h.expect("a security key, when it is on again", err, nil)
	})
}
