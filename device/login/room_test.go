package login_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/recovery/user"
	"tutela/storage/storagetest/check"
)

// logins is how many logins there are of a user's.
func (h *house) logins() int { return len(h.home.Rows("login")) }

// Somebody who has her password asks through many clients, from many networks. What there is of her logins has a bound, and he
// forgets his own: hers waits for its answer, and her login by code goes on.
func TestBegin_AFloodThroughManyClientsForgetsItsOwn(t *testing.T) {
	check.WithoutRace(t)
	onEveryEngine(t, func(h *house) {
		p := h.enroll("ada", "a")
		home := request("ada")
		home.Life = login.MaxLife
		first := h.begin(home)
		must(h.t, p.approve(p.one(), first.Number))
		h.clock.Advance(time.Minute)
		home.Message = "hers"
		hers := h.begin(home)
		abroad, err := h.StartMFA(context.Background(), login.MFAStart{Client: "bank", User: user.User{ID: "ada"}, IP: "192.0.2.77"})
		must(h.t, err)
		for i := range 300 {
			h.clock.Advance(100 * time.Millisecond)
			req := request("ada")
			req.Client = fmt.Sprintf("shop %d", i%40)
			req.IP = fmt.Sprintf("203.0.%d.9", i%7)
			req.Life = login.MaxLife
			h.begin(req)
		}
		if n := h.logins(); n > 256 {
			h.t.Errorf("%d logins are there", n)
		}
		for _, m := range p.pull() {
			if m.BindingMessage == "hers" {
				must(h.t, p.approve(m, hers.Number))
			}
		}
		_, err = h.collect(hers)
		must(h.t, err)
		_, err = h.RedeemCode(context.Background(), h.by("bank", abroad.Token), p.Enrolled.RecoveryCode)
		must(h.t, err)
	})
}
