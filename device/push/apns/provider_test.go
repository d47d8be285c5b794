package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"testing/synctest"
	"time"
)

// TestProvider_RenewsNoMoreOftenThanAppleAllows follows one key through a day.
func TestProvider_RenewsNoMoreOftenThanAppleAllows(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(key, "ABC123DEFG", "DEF123GHIJ")
		get := func() *bearer {
			t.Helper()
			b, err := p.get()
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		pass := func(d time.Duration) { <-time.After(d) }

		first := get()
		pass(bearerLife - time.Second)
		if get() != first {
			t.Error("replaced though Apple takes it still")
		}
		pass(time.Second)
		second := get()
		if second == first || second.text == first.text {
			t.Error("used for longer than Apple takes it")
		}
		if !p.renew(first) || get() != second {
			t.Error("an old token that was called expired has cost a new one")
		}
		if !p.renew(second) {
			t.Fatal("no new one though it has expired")
		}
		third := get()
		pass(renewalPause - time.Second)
		if p.renew(third) || get() != third {
			t.Error("renewed twice in 20 minutes")
		}
		pass(time.Second)
		if !p.renew(third) || get() == third {
			t.Error("not renewed after 20 minutes")
		}
	})
}

// TestBearer_IsNotUsedWhenAClockSaysThatItIsTooOld also holds for a clock that was set back: Apple takes no token from the future.
func TestBearer_IsNotUsedWhenAClockSaysThatItIsTooOld(t *testing.T) {
	now := time.Now()
	for age, usable := range map[time.Duration]bool{0: true, 49 * time.Minute: true, 50 * time.Minute: false, -2 * time.Minute: false} {
		wall := &bearer{made: now.Add(-age).Round(0)}
		if wall.usable(now) != usable {
			t.Errorf("%s old: %v", age, !usable)
		}
	}
}
