package login_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/keyring"
	"tutela/storage/storagetest/ground"
)

func TestAnswer_ApprovesByEachKindOfKey(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for name, signer := range devicetest.Signers(h.t) {
			p := h.enrollApp(name, "a", signer, device.NumberMatching)
			begun := h.begin(request(name))
			m := p.one()
			if len(begun.Number) != 6 || !m.NumberMatching {
				h.t.Errorf("%s: number %q, nm %t", name, begun.Number, m.NumberMatching)
			}
			must(h.t, p.approve(m, begun.Number))
			o, err := h.collect(begun)
			must(h.t, err)
			if o.UserID != name || o.Login.Method != login.ByKey || o.Login.State != login.Approved || !o.Decided.Equal(h.store.Now()) {
				h.t.Errorf("%s: %+v", name, o)
			}
			if last := p.enrollment().LastAuth; !last.Equal(h.store.Now()) {
				h.t.Errorf("%s: last_auth %v", name, last)
			}
		}
	})
}

func (p *phone) enrollment() (e *device.Enrollment) {
	p.h.t.Helper()
	p.h.view(func(tx *storage.Tx) (err error) {
		_, e, err = device.Find(tx, p.Enrolled.ID)
		return err
	})
	return e
}

func TestAnswer_AcceptsWhatPhonesSendInTheField(t *testing.T) {
	days := int64(30 * 24 * 3600)
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		now := h.clock.Wall().Unix()
		for name, change := range map[string]map[string]any{
			"fractional times":            {"iat": float64(now) + 0.123456, "exp": float64(now) + 30.123456},
			"a minute of life":            {"iat": now, "exp": now + 60},
			"a clock a month behind":      {"iat": now - days, "exp": now - days + 30},
			"a clock a month ahead":       {"iat": now + days, "exp": now + days + 30},
			"a clock that says 1970":      {"iat": 0, "exp": 30},
			"the aud without its prefix":  {"aud": publicURL + "/api/resolve-transaction"},
			"the aud of the second URL":   {"aud": "https://mfa.example.com/base/appliance-mfa/api/resolve-transaction"},
			"an array of audiences":       {"aud": []string{"x", publicURL + "/api/resolve-transaction"}},
			"another iss, as iOS":         {"iss": "changed by a restore"},
			"no iss":                      {"iss": nil},
			"a reason with an acceptance": {"auth0_guardian_reason": "not_me"},
		} {
			h.clock.Advance(10 * time.Second)
			begun := h.begin(request("ada"))
			change["tutela_number"] = begun.Number
			if err := p.answerWith(p.one(), change); err != nil {
				h.t.Errorf("%s: %v", name, err)
			}
			if _, err := h.collect(begun); err != nil {
				h.t.Errorf("%s: collected: %v", name, err)
			}
		}
		changed := 0
		for _, e := range h.events("ada", audit.AuthSucceed) {
			if e.Facts["identifier"] == "changed" {
				changed++
			}
		}
		if changed != 2 {
			h.t.Errorf("a differing iss was recorded %d times of 2", changed)
		}
	})
}

func TestAnswer_ThatDoesNotVerifyDecidesNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		second := h.enroll("ada", "b")
		other := h.enroll("ben", "c")
		begun := h.begin(request("ada"))
		bens := h.begin(request("ben"))
		m := p.one()
		mSecond := second.one()
		mOther := other.one()
		now := h.clock.Wall().Unix()
		good := map[string]any{"tutela_number": begun.Number}
		with := func(change map[string]any) string {
			change["tutela_number"] = begun.Number
			return p.Sign(p.claims(m, change))
		}
		payload := strings.Split(p.Sign(p.claims(m, good)), ".")[1]
		for name, c := range map[string]struct {
			token, answer string
			want          error
		}{
			"another challenge":            {m.TransactionToken, with(map[string]any{"sub": mOther.Challenge}), login.ErrAnswer},
			"no challenge":                 {m.TransactionToken, with(map[string]any{"sub": nil}), login.ErrAnswer},
			"another server's aud":         {m.TransactionToken, with(map[string]any{"aud": "https://evil.example/api/resolve-transaction"}), login.ErrAnswer},
			"the aud of a device JWT":      {m.TransactionToken, with(map[string]any{"aud": publicURL + "/api/device-accounts"}), login.ErrAnswer},
			"no aud":                       {m.TransactionToken, with(map[string]any{"aud": nil}), login.ErrAnswer},
			"another method":               {m.TransactionToken, with(map[string]any{"auth0_guardian_method": "otp"}), login.ErrAnswer},
			"no word on acceptance":        {m.TransactionToken, with(map[string]any{"auth0_guardian_accepted": nil}), login.ErrAnswer},
			"acceptance as text":           {m.TransactionToken, with(map[string]any{"auth0_guardian_accepted": "true"}), login.ErrAnswer},
			"acceptance as a number":       {m.TransactionToken, with(map[string]any{"auth0_guardian_accepted": 1}), login.ErrAnswer},
			"more than a minute of life":   {m.TransactionToken, with(map[string]any{"exp": now + 61}), device.ErrClaims},
			"no life":                      {m.TransactionToken, with(map[string]any{"exp": now}), device.ErrClaims},
			"no exp":                       {m.TransactionToken, with(map[string]any{"exp": nil}), device.ErrClaims},
			"no iat":                       {m.TransactionToken, with(map[string]any{"iat": nil}), device.ErrClaims},
			"the other phone's key":        {m.TransactionToken, second.Sign(p.claims(m, good)), device.ErrSignature},
			"another user's key":           {m.TransactionToken, other.Sign(p.claims(m, good)), device.ErrSignature},
			"another user's token":         {mOther.TransactionToken, with(map[string]any{}), device.ErrSignature},
			"the other phone's token":      {mSecond.TransactionToken, with(map[string]any{}), device.ErrSignature},
			"none":                         {m.TransactionToken, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + payload + ".", device.ErrSignature},
			"HMAC under the public key":    {m.TransactionToken, hs256(h, []byte(p.In.Key.X), p.claims(m, good)), device.ErrSignature},
			"the device JWT of the phone":  {m.TransactionToken, p.Sign(map[string]any{"iss": p.Enrolled.ID, "sub": "ada", "iat": now, "exp": now + 30}), login.ErrAnswer},
			"no JWT":                       {m.TransactionToken, "x", device.ErrSignature},
			"no answer":                    {m.TransactionToken, "", device.ErrSignature},
			"a JWT over no object":         {m.TransactionToken, p.Sign("x"), login.ErrAnswer},
			"no token":                     {"", with(map[string]any{}), keyring.ErrToken},
			"a token of nobody":            {"a.b.c", with(map[string]any{}), keyring.ErrToken},
			"the device token as token":    {p.Enrolled.Token, with(map[string]any{}), keyring.ErrToken},
			"the auth_req_id as token":     {begun.ID, with(map[string]any{}), keyring.ErrToken},
			"an mfa_token as token":        {h.startMFA("ada").Token, with(map[string]any{}), keyring.ErrToken},
			"a token with a changed claim": {tamper(m.TransactionToken), with(map[string]any{}), keyring.ErrToken},
		} {
			err := h.Answer(context.Background(), c.token, c.answer, audit.ByUser())
			expect(h.t, name, err, c.want)
		}
		for _, b := range []login.Begun{begun, bens} {
			_, err := h.collect(b)
			expect(h.t, "collected afterwards", err, login.ErrUndecided)
		}
		must(h.t, p.answerWith(m, good))
	})
}

// hs256 signs claims by a secret that anybody knows.
func hs256(h *house, secret []byte, claims any) string {
	h.t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, nil)
	must(h.t, err)
	payload, err := json.Marshal(claims)
	must(h.t, err)
	signed, err := s.Sign(payload)
	must(h.t, err)
	compact, err := signed.CompactSerialize()
	must(h.t, err)
	return compact
}

// tamper changes the payload of a token and leaves its MAC.
func tamper(token string) string {
	parts := strings.Split(token, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	changed := strings.Replace(string(payload), `"exp":1`, `"exp":9`, 1)
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(changed)) + "." + parts[2]
}

func TestAnswer_WithoutTheNumberDecidesNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		begun := h.begin(request("ada"))
		m := p.one()
		expect(h.t, "no number", p.approve(m, ""), login.ErrNumberMissing)
		expect(h.t, "an empty number", p.answerWith(m, map[string]any{"tutela_number": ""}), login.ErrNumberMissing)
		_, err := h.collect(begun)
		expect(h.t, "collected", err, login.ErrUndecided)
		must(h.t, p.approve(m, begun.Number))
	})
}

func TestAnswer_WithAWrongNumberDenies(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		for i := range 3 {
			begun := h.begin(request("ada"))
			m := p.one()
			wrong := []string{begun.Number[1:], begun.Number + "0", other(begun.Number)}[i]
			jwt := p.Sign(p.claims(m, map[string]any{"tutela_number": wrong}))
			expect(h.t, "a wrong number", p.respond(m, jwt), login.ErrNumber)
			expect(h.t, "the same again", p.respond(m, jwt), login.ErrNumber)
			expect(h.t, "the right one afterwards", p.approve(m, begun.Number), login.ErrNoLogin)
			_, err := h.collect(begun)
			expect(h.t, "collected", err, login.ErrDenied)
		}
		failed := h.events("ada", audit.AuthFailed)
		if len(failed) != 3 || failed[0].Facts["why"] != "number" {
			h.t.Errorf("events: %+v", failed)
		}
	})
}

// other is another number of as many digits.
func other(number string) string {
	last := number[len(number)-1]
	return number[:len(number)-1] + string('0'+(last-'0'+1)%10)
}

func TestAnswer_DenialNeedsNoNumber(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		begun := h.begin(request("ada"))
		must(h.t, p.deny(p.one(), "busy"))
		_, err := h.collect(begun)
		expect(h.t, "collected", err, login.ErrDenied)
		rejected := h.events("ada", audit.AuthRejected)
		if len(rejected) != 1 || rejected[0].Detail.Text != "busy" || rejected[0].Facts["why"] != "" {
			h.t.Errorf("events: %+v", rejected)
		}
	})
}

func TestAnswer_LongReasonIsCutAsText(t *testing.T) {
	h := newHouse(t, ground.Options{})
	p := h.enroll("ada", "a")
	h.begin(request("ada"))
	must(t, p.deny(p.one(), strings.Repeat("ö", 200)))
	if got := h.events("ada", audit.AuthRejected)[0].Detail.Text; got != strings.Repeat("ö", 128) {
		t.Errorf("kept is %q", got)
	}
}

func TestAnswer_SameDecisionAgainGetsTheSameOutcomeAndAnotherIsTooLate(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		a := h.enroll("ada", "a")
		b := h.enroll("ada", "b")
		begun := h.begin(request("ada"))
		m := a.one()
		mb := b.one()
		jwt := a.Sign(a.claims(m, map[string]any{"tutela_number": begun.Number}))
		must(h.t, a.respond(m, jwt))
		h.clock.Advance(time.Second)
		for range 3 {
			must(h.t, a.respond(m, jwt))
		}
		expect(h.t, "a denial afterwards", a.deny(m, ""), login.ErrNoLogin)
		must(h.t, a.approve(m, begun.Number)) // signed anew: the first reply was lost
		expect(h.t, "a wrong number", a.approve(m, other(begun.Number)), login.ErrNoLogin)
		expect(h.t, "the other phone", b.approve(mb, begun.Number), login.ErrNoLogin)
		if len(b.pull()) != 0 {
			h.t.Error("a decided approval is still asked")
		}
		_, err := h.collect(begun)
		must(h.t, err)
		must(h.t, a.respond(m, jwt)) // also once it was collected
		h.expectEvents("ada", audit.AuthSucceed, 1)
	})
}

func TestAnswer_LateIsTooLateWhateverTheTokenSays(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		for _, late := range []time.Duration{2 * time.Minute, time.Hour} {
			begun := h.begin(request("ada"))
			m := p.one()
			h.clock.Advance(late)
			expect(h.t, late.String(), p.approve(m, begun.Number), login.ErrNoLogin)
			_, err := h.collect(begun)
			expect(h.t, "collected", err, login.ErrExpired)
		}
		begun := h.begin(request("ada"))
		m := p.one()
		h.clock.Advance(2*time.Minute - time.Nanosecond)
		must(h.t, p.approve(m, begun.Number))
	})
}

func TestAnswer_64AtOnceDecideOnce(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		begun := h.begin(request("ada"))
		m := p.one()
		answers := make([]string, 64) // half of them deny
		for i := range answers {
			answers[i] = p.Sign(p.claims(m, map[string]any{"auth0_guardian_accepted": i%2 == 0, "tutela_number": begun.Number, "n": i}))
		}
		errs := make([]error, 64)
		var all sync.WaitGroup
		for i, answer := range answers {
			all.Go(func() { errs[i] = p.respond(m, answer) })
		}
		all.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0 && i%2 != winner%2:
				h.t.Errorf("answers %d and %d both decided", winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, login.ErrNoLogin):
				h.t.Error(err)
			}
		}
		told := 0
		for _, err := range errs {
			if err == nil {
				told++
			}
		}
		if told != len(errs)/2 {
			h.t.Errorf("%d answers were told that they decided, want each of the same decision", told)
		}
		_, err := h.collect(begun)
		if winner%2 == 0 && err != nil || winner%2 == 1 && !errors.Is(err, login.ErrDenied) {
			h.t.Errorf("answer %d decided, collected: %v", winner, err)
		}
		h.expectEvents("ada", audit.AuthSucceed, 1-winner%2)
		h.expectEvents("ada", audit.AuthRejected, winner%2)
	})
}

func TestAnswer_64RepeatsOfOneGetOneOutcome(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		begun := h.begin(request("ada"))
		m := p.one()
		jwt := p.Sign(p.claims(m, map[string]any{"tutela_number": begun.Number}))
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				if err := p.respond(m, jwt); err != nil {
					h.t.Error(err)
				}
			})
		}
		all.Wait()
		h.expectEvents("ada", audit.AuthSucceed, 1)
	})
}

func TestAnswer_IsRefusedWhenTheEnrollmentOrTheLoginIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(h *house, p *phone)
		want error
	}{
		"the enrollment retired": {func(h *house, p *phone) {
			must(h.t, h.devices.Leave(context.Background(), p.Proof(), audit.ByUser()))
		}, login.ErrNoLogin},
		"the enrollment replaced":                   {func(h *house, _ *phone) { h.enroll("ada", "a") }, login.ErrNoLogin},
		"the enrollment left, and comes back by it": {func(_ *house, p *phone) { p.leave() }, nil},
		"the enrollment suspended": {func(h *house, p *phone) {
			must(h.t, h.home.Admins.Suspend(context.Background(), p.Enrolled.ID, audit.ByOperator(0)))
		}, device.ErrSuspended},
		"the user blocked": {func(h *house, _ *phone) { h.block("ada", true) }, login.ErrNoLogin},
		"the user reset":   {func(h *house, _ *phone) { h.reset("ada") }, login.ErrNoLogin},
		"the user deleted": {func(h *house, _ *phone) {
			must(h.t, h.home.Admins.Delete(context.Background(), "ada", audit.ByOperator(0)))
		}, login.ErrNoLogin},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.enroll("ada", "a")
				begun := h.begin(request("ada"))
				m := p.one()
				c.end(h, p)
				expect(h.t, name, p.approve(m, begun.Number), c.want)
			})
		})
	}
}

// leave deletes the enrollment by its device token, as a thief of a platform backup can.
func (p *phone) leave() {
	p.h.t.Helper()
	proof, err := p.CallByToken()
	must(p.h.t, err)
	must(p.h.t, p.h.devices.Leave(context.Background(), proof, audit.ByUser()))
}

func TestAnswer_OfAPhoneThatLeftBringsItBackWhateverItSays(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		for id, say := range map[string]func(p *phone, m push.Message, begun login.Begun) error{
			"yes": func(p *phone, m push.Message, begun login.Begun) error { return p.approve(m, begun.Number) },
			"no":  func(p *phone, m push.Message, _ login.Begun) error { return p.deny(m, "") },
			"mistyped": func(p *phone, m push.Message, begun login.Begun) error {
				if err := p.approve(m, other(begun.Number)); !errors.Is(err, login.ErrNumber) {
					return err
				}
				return nil
			},
		} {
			p := h.enroll(id, "a")
			p.leave()
			begun := h.begin(request(id))
			pushed := h.deliver()
			if len(pushed) != 1 || pushed[0].Challenge == "" {
				h.t.Fatalf("%s: pushed %+v", id, pushed)
			}
			p.ExpectStatus(device.Left)
			must(h.t, say(p, pushed[0].Message, begun))
			p.ExpectStatus(device.Active)
		}
	})
}

func TestAnswer_ByAPhoneThatIsNotAskedIsRefused(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		tap := h.enrollTap("ada", "tap")
		asked := h.enroll("ada", "number") // since it can match numbers, the other is not asked
		begun := h.begin(request("ada"))
		if n := len(tap.pull()); n != 0 {
			h.t.Errorf("an app that cannot match numbers is asked %d approvals", n)
		}
		m := asked.one()
		m.TransactionToken = h.tokenFor(m.TransactionToken, tap.Enrolled.ID)
		expect(h.t, "a tap", tap.approve(m, begun.Number), login.ErrNoLogin)
	})
}

// tokenFor makes a transaction token of a login for another enrollment, as nobody outside could.
func (h *house) tokenFor(token, enrollment string) string {
	h.t.Helper()
	var claims map[string]any
	must(h.t, h.ring.VerifyToken(keyring.TransactionToken, token, &claims))
	claims["dai"] = enrollment
	made, err := h.ring.SignToken(keyring.TransactionToken, claims)
	must(h.t, err)
	return made
}

func TestAnswer_AcceptedOpensAllChannelsAndADenialNone(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		wrong := recovery.Code("0123456789ABCDEFGHJKMNPV")
		channels := []recovery.Channel{recovery.LoginChannel, recovery.RestoreChannel, recovery.PracticeChannel}
		for _, ch := range channels {
			for range 10 {
				err := h.store.Update(context.Background(), func(tx *storage.Tx) error {
					_, err := h.codes.Spend(tx, h.uidIn(tx, "ada"), ch, wrong, audit.ByUser())
					return err
				})
				expect(h.t, "a wrong code", err, recovery.ErrWrongCode)
			}
		}
		blocks := func() (n int) {
			h.view(func(tx *storage.Tx) error {
				list, err := recovery.Blocks(tx, h.uidIn(tx, "ada"))
				n = len(list)
				return err
			})
			return n
		}
		h.begin(request("ada"))
		must(h.t, p.deny(p.one(), ""))
		if n := blocks(); n != 3 {
			h.t.Errorf("after a denial %d channels wait", n)
		}
		begun := h.begin(request("ada"))
		must(h.t, p.approve(p.one(), begun.Number))
		if n := blocks(); n != 0 {
			h.t.Errorf("after an approval %d channels wait", n)
		}
	})
}

func TestAnswer_IsThePhonesFirstCallAndErasesItsKeptAnswer(t *testing.T) {
	for name, answer := range map[string]func(p *phone, m push.Message, number string) error{
		"approved": func(p *phone, m push.Message, number string) error { return p.approve(m, number) },
		"denied":   func(p *phone, m push.Message, _ string) error { return p.deny(m, "") },
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				p := h.enroll("ada", "a")
				begun := h.begin(request("ada"))
				kept := func() (n int) {
					h.scan(func(key, _ string) {
						if key[0] == 'u' && strings.HasPrefix(key[17:], "answer\x00") {
							n++
						}
					})
					return n
				}
				if kept() != 1 {
					h.t.Fatal("no answer is kept: the test tests nothing")
				}
				pushed := h.deliver()
				must(h.t, answer(p, pushed[0].Message, begun.Number))
				if kept() != 0 {
					h.t.Error("the answer of the enrolment is kept after a signed call")
				}
				if last := p.enrollment().LastAuth; last.IsZero() == (name == "approved") {
					h.t.Errorf("last_auth is %v", last)
				}
			})
		})
	}
}
