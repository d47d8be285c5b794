package own_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/login"
	"tutela/device/own"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/ground"
)

func TestOpen_ShowsWhatIsHersAndRecordsIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		page := h.look(token)
		if len(page.Devices) != 1 || page.Devices[0].Name != "Pixel 9" || !page.Devices[0].Here || page.Devices[0].IP != "192.0.2.1" {
			t.Errorf("devices %+v", page.Devices)
		}
		if page.User.ID != "ada" || page.Client != "The bank" || !page.Code.Holds {
			t.Errorf("page %+v", page)
		}
		events := h.EventsOf("ada", audit.OwnPageOpened)
		if len(events) != 1 || events[0].Client != "bank" || events[0].Facts[audit.FactMethod] != "swk" || events[0].By != "" {
			t.Errorf("events %+v", events)
		}
		lines, _, err := h.Lately(ctx, token, "")
		must(t, err)
		if len(lines) == 0 || !lines[0].Here || lines[0].Type != audit.OwnPageOpened {
			t.Errorf("lines %+v", lines)
		}
	})
}

func TestOpen_IsRefusedToATapAndToALoginThatIsNotSatisfied(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.NewPhone("old app")
		p.In.Capabilities = nil
		must(t, p.Enroll(h.Ticket("ada")))
		_, err := h.tryOpen(h.start())
		expect(t, "open before anything is proven", err, login.ErrUndecided)
		g := h.start()
		_, err = h.Logins.Challenge(ctx, login.Challenge{Pass: g.Pass, Push: true})
		must(t, err)
		h.approve(p, "")
		_, err = h.tryOpen(g)
		expect(t, "open by a tap", err, login.ErrTapped)
	})
}

func TestOpen_NeverByARememberedBrowser(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		g := h.start()
		g.Remember = true
		asked, err := h.Logins.Challenge(ctx, login.Challenge{Pass: g.Pass, Push: true})
		must(t, err)
		h.approve(p, asked.Number)
		o, err := h.Logins.RedeemOOB(ctx, g, asked.ID)
		must(t, err)
		started, err := h.Logins.StartMFA(ctx, login.MFAStart{
			Client:  "bank",
			User:    user.User{ID: "ada"},
			Browser: o.Remember,
			Actor:   her,
		})
		must(t, err)
		if started.Remembered == nil || started.Token != "" {
			t.Errorf("a remembered browser began a login that could open the page: %+v", started)
		}
	})
}

func TestSession_BelongsToOneBrowserAndIsKeptAsAHash(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		token := h.open(h.byNumber(h.phone("Pixel 9")))
		_, secret, _ := strings.Cut(token, ".")
		h.Scan(func(key, value string) {
			if strings.Contains(key+value, secret) {
				t.Errorf("the secret lies in the store, in %q", key)
			}
		})
		for _, wrong := range []string{"", ".", token + "x", token[:len(token)-1] + "?", strings.ToUpper(token), strings.Repeat("x", 4000)} {
			_, err := h.Look(ctx, wrong)
			expect(t, "a token that is not right", err, own.ErrSession)
		}
		h.restart()
		h.look(token)
	})
}

func TestSession_EndsInTwentyMinutesAndBySigningOut(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.Clock.Advance(20*time.Minute - time.Second)
		h.look(token)
		h.Clock.Advance(time.Second)
		_, err := h.Look(ctx, token)
		expect(t, "after twenty minutes", err, own.ErrSession)

		token = h.open(h.byNumber(p))
		back, err := h.SignOut(ctx, token)
		must(t, err)
		if back != (own.Exit{Redirect: "https://bank.example/back", State: "x"}) {
			t.Errorf("back to %+v", back)
		}
		_, err = h.Look(ctx, token)
		expect(t, "after signing out", err, own.ErrSession)
	})
}

func TestSession_EndsWithWhatItStandsOn(t *testing.T) {
	for name, end := range map[string]func(h *house, p *devicetest.Phone){
		"a reset":            func(h *house, _ *devicetest.Phone) { h.Reset("ada") },
		"a block":            func(h *house, _ *devicetest.Phone) { h.SetBlocked("ada", true) },
		"the user's removal": func(h *house, _ *devicetest.Phone) { must(h.t, h.Admins.Delete(ctx, "ada", devicetest.Admin)) },
		"its suspension": func(h *house, p *devicetest.Phone) {
			must(h.t, h.Admins.Suspend(ctx, p.Enrolled.ID, devicetest.Admin))
		},
		"its loss": func(h *house, p *devicetest.Phone) {
			must(h.t, h.Devices.Leave(ctx, p.Proof(), her))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				h.t = t
				p := h.phone("Pixel 9")
				h.phone("iPad")
				token := h.open(h.byNumber(p))
				h.look(token)
				end(h, p)
				_, err := h.Look(ctx, token)
				expect(t, "after "+name, err, own.ErrSession)
			})
		})
	}
}

func TestSession_ByTheRecoveryCodeEndsWithTheCodeThatFollowed(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		g, next := h.byCode(recovery.Code(p.Enrolled.RecoveryCode))
		token := h.open(g)
		h.look(token)
		h.byCode(next)
		_, err := h.Look(ctx, token)
		expect(t, "after the next code was used", err, own.ErrSession)
	})
}

func TestOpen_AgainByTheSameLoginEndsTheSessionBefore(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		g := h.byNumber(h.phone("Pixel 9"))
		first := h.open(g)
		second := h.open(g)
		_, err := h.Look(ctx, first)
		expect(t, "the first session", err, own.ErrSession)
		h.look(second)
	})
}

func TestOpen_KeepsSixteenSessionsAndEndsTheOldest(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		var tokens []string
		for range 17 {
			h.Clock.Advance(time.Minute)
			tokens = append(tokens, h.open(h.byNumber(p)))
		}
		_, err := h.Look(ctx, tokens[0])
		expect(t, "the oldest", err, own.ErrSession)
		h.look(tokens[1])
		h.look(tokens[16])
	})
}

func TestLook_AnswersWhatIfILoseIt(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		lost := h.look(token).Lost
		if lost.Device != "Pixel 9" || len(lost.With) != 0 || lost.Code {
			t.Errorf("with one phone and a code that nobody has confirmed: %+v", lost)
		}
		right, err := h.Practise(ctx, token, p.Enrolled.RecoveryCode, her)
		must(t, err)
		h.phone("iPad")
		lost = h.look(token).Lost
		if !right || len(lost.With) != 1 || lost.With[0].Name != "iPad" || !lost.Code {
			t.Errorf("with a tablet and a code: %+v", lost)
		}
	})
}

func TestPractise_TellsRightFromWrongAndSpendsNothing(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		for typed, want := range map[string]bool{p.Enrolled.RecoveryCode: true, string(recovery.DrawCode()): false, "typo": false} {
			right, err := h.Practise(ctx, token, typed, her)
			must(t, err)
			if right != want {
				t.Errorf("%s is right: %t", typed, right)
			}
		}
		if !h.look(token).Code.Confirmed {
			t.Error("a right code does not count as saved")
		}
		h.byCode(recovery.Code(p.Enrolled.RecoveryCode))
	})
}

func TestRename_NeedsNoMoreProofAndKeepsTheNameBefore(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		must(t, h.Rename(ctx, token, p.Enrolled.ID, "  My Pixel ", her))
		if name := h.look(token).Devices[0].Name; name != "My Pixel" {
			t.Errorf("it is %q", name)
		}
		for _, name := range []string{"", "  ", strings.Repeat("x", 65), "a\nb", "a\x00"} {
			expect(t, "a name that is none", h.Rename(ctx, token, p.Enrolled.ID, name, her), device.ErrName)
		}
		expect(t, "nobody's", h.Rename(ctx, token, "dev_0000000000000000", "x", her), device.ErrNoEnrollment)
		changed := slices.DeleteFunc(h.EventsOf("ada", audit.UpdateDevice), func(e audit.Entry) bool { return e.Facts[audit.FactDevice] != audit.DeviceName })
		if len(changed) != 1 || changed[0].Detail.Text != "Pixel 9" || changed[0].Detail.Device != "My Pixel" {
			t.Errorf("events %+v", changed)
		}
	})
}

func TestRename_OfSomebodyElsesIsRefused(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		token := h.open(h.byNumber(h.phone("Pixel 9")))
		other := h.Enroll("otto", "otto's")
		expect(t, "another user's", h.Rename(ctx, token, other.Enrolled.ID, "x", her), device.ErrNoEnrollment)
	})
}

func TestForgetBrowsers_EndsThemAll(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		token := h.open(h.byNumber(h.phone("Pixel 9")))
		h.remember()
		if n := h.look(token).Browsers; n != 1 {
			t.Fatalf("%d browsers are remembered", n)
		}
		must(t, h.ForgetBrowsers(ctx, token))
		if n := h.look(token).Browsers; n != 0 {
			t.Errorf("%d browsers are remembered still", n)
		}
	})
}

// remember has a browser of ada's remembered.
func (h *house) remember() {
	h.t.Helper()
	uid := h.UID("ada")
	h.Update(func(tx *storage.Tx) error {
		return recovery.Remember(tx, uid, "browser", recovery.Browser{Client: "bank", Proved: tx.Now()})
	})
}

func TestAwaitAdded_IsWokenByThePhoneThatEnrols(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		h.stepUp(token, p)
		_, err := h.Add(ctx, token, device.TypePush, her)
		must(t, err)
		a, err := h.Adding(ctx, token)
		must(t, err)
		woken := make(chan own.Adding)
		go func() {
			made, _ := h.AwaitAdded(ctx, token, time.Hour)
			woken <- made
		}()
		must(t, h.NewPhone("iPad").Enroll(h.Param(a.URI, "enrollment_tx_id")))
		if made := <-woken; made.Made == nil {
			t.Errorf("woken by nothing: %+v", made)
		}
	})
}

func TestAwaitRung_IsWokenByTheAnswer(t *testing.T) {
	onEveryEngine(t, func(h *house) {
		p := h.phone("Pixel 9")
		token := h.open(h.byNumber(p))
		rung, err := h.Service.Ring(ctx, token, her)
		must(t, err)
		woken := make(chan login.Ringing)
		go func() {
			r, _ := h.AwaitRung(ctx, token, time.Hour)
			woken <- r
		}()
		h.approve(p, rung.Number)
		if r := <-woken; r.State != login.Approved {
			t.Errorf("woken by nothing: %+v", r)
		}
		must(t, h.StepUpByNumber(ctx, token, her))
	})
}

func TestEveryUseCase_IsRefusedWithoutASession(t *testing.T) {
	h := newHouse(t, ground.Options{})
	h.phone("Pixel 9")
	service := reflect.ValueOf(h.Service)
	asked := 0
	for i := range service.NumMethod() {
		name := service.Type().Method(i).Name
		if name == "Open" || name == "OpenFor" {
			continue
		}
		method := service.Method(i)
		in := make([]reflect.Value, method.Type().NumIn())
		for at := range in {
			in[at] = reflect.Zero(method.Type().In(at))
		}
		in[0] = reflect.ValueOf(ctx)
		in[1] = reflect.ValueOf("own_nobody.s")
		if name == "NotMe" || name == "Denial" {
			in[2] = reflect.ValueOf("dev_0000000000000000")
		}
		out := method.Call(in)
		err, _ := out[len(out)-1].Interface().(error)
		expect(t, name, err, own.ErrSession)
		asked++
	}
	if asked < 20 {
		t.Errorf("only %d use cases were asked", asked)
	}
}
