package device_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestProve_TakesTheJWTAsTheSDKsMakeIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		now := float64(h.clock.Wall().Unix())
		const path = "/api/device-accounts"
		for name, change := range map[string]map[string]any{
			"as Android":             nil,
			"fractional, as iOS":     {"iat": now + 0.123456, "exp": now + 7200.123456},
			"without appliance-mfa":  {"aud": publicURL + path},
			"the second public URL":  {"aud": "https://mfa.example.com/base/appliance-mfa" + path},
			"the second, without":    {"aud": "https://mfa.example.com/base" + path},
			"an array of audiences":  {"aud": []string{"https://other.example", publicURL + path}},
			"two hours and a minute": {"exp": now + 7260},
			"a second":               {"exp": now + 1},
			"five minutes ahead":     {"iat": now + 300, "exp": now + 360},
			"five minutes over":      {"iat": now - 600, "exp": now - 299},
			"claims of its own":      {"jti": "x", "nbf": now + 1e6, "scope": []string{"a"}},
		} {
			proof, err := h.Prove(context.Background(), p.Enrolled.ID, p.JWT(change), true)
			if err != nil || proof.ByToken || proof.ID != p.Enrolled.ID || proof.UID != h.uid("ada") {
				h.t.Errorf("%s: %+v, %v", name, proof, err)
			}
		}
	})
}

func TestProve_RefusesWhatTheKeyDidNotSignForThisEnrollment(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		other := h.enroll("ben", "b")
		now := float64(h.clock.Wall().Unix())
		good := p.JWT(nil)
		payload := encode(h.t, p.Claims(nil))
		for name, c := range map[string]struct {
			bearer string
			want   error
		}{
			"another enrollment's iss":   {p.JWT(map[string]any{"iss": other.Enrolled.ID}), device.ErrClaims},
			"the identifier as iss":      {p.JWT(map[string]any{"iss": "a"}), device.ErrClaims},
			"no iss":                     {p.JWT(map[string]any{"iss": nil}), device.ErrClaims},
			"another user as sub":        {p.JWT(map[string]any{"sub": "ben"}), device.ErrClaims},
			"no sub":                     {p.JWT(map[string]any{"sub": nil}), device.ErrClaims},
			"no aud":                     {p.JWT(map[string]any{"aud": nil}), device.ErrClaims},
			"an aud with the id":         {p.JWT(map[string]any{"aud": publicURL + "/api/device-accounts/" + p.Enrolled.ID}), device.ErrClaims},
			"the aud of an answer":       {p.JWT(map[string]any{"aud": publicURL + "/api/resolve-transaction"}), device.ErrClaims},
			"another server's aud":       {p.JWT(map[string]any{"aud": "https://other.example/api/device-accounts"}), device.ErrClaims},
			"too long a life":            {p.JWT(map[string]any{"exp": now + 7261}), device.ErrClaims},
			"no life":                    {p.JWT(map[string]any{"exp": now}), device.ErrClaims},
			"a life backwards":           {p.JWT(map[string]any{"exp": now - 60}), device.ErrClaims},
			"no iat":                     {p.JWT(map[string]any{"iat": nil}), device.ErrClaims},
			"no exp":                     {p.JWT(map[string]any{"exp": nil}), device.ErrClaims},
			"times as text":              {p.JWT(map[string]any{"iat": "1", "exp": "2"}), device.ErrClaims},
			"claims that are no object":  {devicetest.Sign(h.t, p.Signer, []int{1}), device.ErrClaims},
			"more than 5 minutes ahead":  {p.JWT(map[string]any{"iat": now + 301, "exp": now + 400}), device.ErrClockSkew},
			"more than 5 minutes over":   {p.JWT(map[string]any{"iat": now - 400, "exp": now - 300}), device.ErrClockSkew},
			"days ahead":                 {p.JWT(map[string]any{"iat": now + 86400, "exp": now + 86460}), device.ErrClockSkew},
			"another phone's signature":  {devicetest.Sign(h.t, other.Signer, p.Claims(nil)), device.ErrSignature},
			"none":                       {b64([]byte(`{"alg":"none"}`)) + "." + b64(payload) + ".", device.ErrSignature},
			"HS256 under the public key": {devicetest.SignAs(h.t, jose.HS256, []byte(p.In.Key.X), payload), device.ErrSignature},
			"HS256 under the token":      {devicetest.SignAs(h.t, jose.HS256, []byte(p.Enrolled.Token), payload), device.ErrSignature},
			"a signature cut off":        {good[:strings.LastIndex(good, ".")+1], device.ErrSignature},
			"a bit of it changed":        {good[:len(good)-3] + flip(good[len(good)-3:]), device.ErrSignature},
			"nothing":                    {"", device.ErrToken},
			"a stranger's token":         {other.Enrolled.Token, device.ErrToken},
			"a token that is longer":     {p.Enrolled.Token + "x", device.ErrToken},
			"its recovery code":          {p.Enrolled.RecoveryCode, device.ErrToken},
		} {
			for _, signedOnly := range []bool{true, false} {
				_, err := h.Prove(context.Background(), p.Enrolled.ID, c.bearer, signedOnly)
				expect(h.t, fmt.Sprint(name, ", signed only: ", signedOnly), err, c.want)
			}
		}
		for _, id := range []string{"", "dev_0000000000000000", p.Enrolled.ID + "x", strings.Repeat("x", 1<<14)} {
			_, err := h.Prove(context.Background(), id, good, false)
			expect(h.t, fmt.Sprintf("%.30q", id), err, device.ErrNoEnrollment)
		}
		if e := p.Enrollment(); e.Push.Seen {
			h.t.Error("calls that proved nothing count as the first call")
		}
	})
}

// flip changes a character of base64url.
func flip(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

func TestProve_GoesByTheWallForAPhonesClock(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	p.Proof()
	old := p.JWT(nil)
	h.clock.Jump(24 * time.Hour)
	p.Proof() // signed by the wall as it is now
	_, err := h.Prove(context.Background(), p.Enrolled.ID, old, true)
	expect(t, "signed by the wall as it was", err, device.ErrClockSkew)
}

func TestProve_DeviceTokenOpensOnlyWhatIsNotSignedOnly(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		proof, err := p.CallByToken()
		must(h.t, err)
		if !proof.ByToken {
			h.t.Error("the proof does not say that it is by the token")
		}
		_, err = h.Prove(context.Background(), p.Enrolled.ID, p.Enrolled.Token, true)
		expect(h.t, "a call that wants the JWT", err, device.ErrUnsigned)
		_, err = h.Practise(context.Background(), proof, p.Enrolled.RecoveryCode, audit.ByUser())
		expect(h.t, "practice by the token", err, device.ErrUnsigned)
		_, err = h.Patch(context.Background(), proof, device.Change{Capabilities: &[]string{"x"}}, audit.ByUser())
		expect(h.t, "capabilities by the token", err, device.ErrUnsigned)
	})
}

func TestCheck_LooksAgainAtWhatWasProven(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(h *house, p *phone)
		want error
	}{
		"nothing happened": {func(*house, *phone) {}, nil},
		"suspended":        {func(h *house, p *phone) { h.suspend(p) }, device.ErrSuspended},
		"replaced":         {func(h *house, p *phone) { h.enroll("ada", "a") }, device.ErrNoEnrollment},
		"reset":            {func(h *house, p *phone) { h.reset("ada") }, device.ErrNoEnrollment},
		"left":             {func(_ *house, p *phone) { p.leave() }, nil},
		"left, seven days ago": {func(h *house, p *phone) {
			p.leave()
			h.clock.Advance(7 * 24 * time.Hour)
		}, device.ErrNoEnrollment},
		"blocked, which ends no device call": {func(h *house, p *phone) { h.block("ada", true) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.enroll("ada", "a")
				proof := p.Proof()
				c.end(h, p)
				_, err := h.Read(context.Background(), proof)
				expect(h.t, name, err, c.want)
			})
		})
	}
}

// leave deletes the enrollment by its device token, as a thief of a platform backup can.
func (p *phone) leave() {
	p.h.t.Helper()
	proof, err := p.CallByToken()
	must(p.h.t, err)
	must(p.h.t, p.h.Leave(context.Background(), proof, audit.ByUser()))
}

func TestLeave_ByTheTokenIsTakenBackBySignedCallsWithinSevenDaysAlone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		p.leave()
		p.ExpectStatus(device.Left)
		byToken, err := p.CallByToken()
		expect(h.t, "a call by the token", err, nil)
		expect(h.t, "a second deletion", h.Leave(context.Background(), byToken, audit.ByUser()), device.ErrUnsigned)
		p.ExpectStatus(device.Left)
		h.clock.Advance(7*24*time.Hour - time.Nanosecond)
		if _, err := p.Call(); err != nil {
			h.t.Errorf("a signed call within seven days: %v", err)
		}
		p.ExpectStatus(device.Active)
		if events := h.events("ada", audit.UpdateDevice); len(events) != 1 || events[0].Facts["status"] != "active" {
			h.t.Errorf("events: %+v", events)
		}
		expect(h.t, "the token, once the phone is back", h.Leave(context.Background(), byToken, audit.ByUser()), device.ErrUnsigned)
		p.ExpectStatus(device.Active)

		other := h.enroll("ada", "b")
		other.leave()
		h.clock.Advance(7 * 24 * time.Hour)
		_, err = other.Call()
		expect(h.t, "a signed call after seven days", err, device.ErrNoEnrollment)
		_, err = other.CallByToken()
		expect(h.t, "a call by the token after seven days", err, device.ErrNoEnrollment)
		other.ExpectStatus(device.Retired)
	})
}

func TestLeave_BySignedCallIsForGood(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		must(h.t, h.Leave(context.Background(), p.Proof(), audit.ByUser()))
		_, err := p.Call()
		expect(h.t, "a signed call", err, device.ErrNoEnrollment)
		p.ExpectStatus(device.Retired)
	})
}

func TestSuspend_NothingOfThePhonesOwnRevivesIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		proof, err := p.CallByToken()
		must(h.t, err)
		h.suspend(p)
		h.suspend(p) // once more is no error
		_, err = p.Call()
		expect(h.t, "a signed call", err, device.ErrSuspended)
		_, err = p.CallByToken()
		expect(h.t, "a call by the token", err, device.ErrSuspended)
		expect(h.t, "leaving", h.Leave(context.Background(), proof, audit.ByUser()), device.ErrSuspended)
		_, err = h.Patch(context.Background(), proof, device.Change{}, audit.ByUser())
		expect(h.t, "a patch", err, device.ErrSuspended)
		p.ExpectStatus(device.Suspended)
		must(h.t, h.home.Admins.Resume(context.Background(), p.Enrolled.ID, audit.ByOperator(0)))
		p.Proof()
		if events := h.events("ada", audit.UpdateDevice); len(events) != 2 {
			h.t.Errorf("%d events of a suspension and its end", len(events))
		}
	})
}

func TestWatchCalls_NoticeTheFirstSignedCallWithinTheTime(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		p.Proof()
		watch := func(restore string) {
			h.update(func(tx *storage.Tx) error {
				uid, e, err := device.Find(tx, p.Enrolled.ID)
				must(h.t, err)
				return device.WatchCalls(tx, uid, e, restore, tx.Now().Add(time.Minute))
			})
		}
		watch("in time")
		if p.Enrollment().CalledDuring("in time") {
			h.t.Error("a watch begins with a call")
		}
		_, err := p.CallByToken()
		must(h.t, err)
		if p.Enrollment().CalledDuring("in time") {
			h.t.Error("a call by the device token alone counts")
		}
		h.clock.Advance(time.Minute - time.Nanosecond)
		p.Proof()
		if !p.Enrollment().CalledDuring("in time") {
			h.t.Error("a signed call in time does not count")
		}
		h.clock.Advance(time.Minute)
		watch("late")
		h.clock.Advance(time.Minute)
		p.Proof()
		if p.Enrollment().CalledDuring("late") {
			h.t.Error("a signed call after the time counts")
		}
		watch("suspended")
		h.suspend(p)
		_, _ = p.Call()
		if p.Enrollment().CalledDuring("suspended") {
			h.t.Error("a call of a suspended phone counts")
		}
	})
}

func TestWatchCalls_FloodOfRestoresHidesNoPhone(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	p.Proof()
	h.update(func(tx *storage.Tx) error {
		uid, e, err := device.Find(tx, p.Enrolled.ID)
		must(t, err)
		for i := range 100 {
			must(t, device.WatchCalls(tx, uid, e, fmt.Sprint("restore ", i), tx.Now().Add(time.Minute)))
		}
		return nil
	})
	e := p.Enrollment()
	if len(e.Push.Watches) > 64 {
		t.Errorf("%d watches are kept", len(e.Push.Watches))
	}
	if !e.CalledDuring("restore 0") {
		t.Error("of a watch that was crowded out it is not assumed that the phone called")
	}
	if e.CalledDuring("restore 99") {
		t.Error("the newest watch begins with a call")
	}
	p.Proof()
	if !p.Enrollment().CalledDuring("restore 99") {
		t.Error("the phone's call is not noticed")
	}
}
