package dashboard

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"tutela/recovery/user"
	"tutela/server/web/webtest"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

// beside is the client at another house: cookies know no ports.
func beside(c *webtest.Client, h *house) *webtest.Client {
	other := *c
	other.Base = h.Base
	return &other
}

func TestBrowser_SignedInAtOneHouseAndActingAtTheOther(t *testing.T) {
	check.WithoutRace(t)
	a := newHouse(t)
	b := a.neighbour()
	maria := a.enrolled("maria")
	a.enrolled("otto")
	c := a.boss("bea", user.Owner)
	c.Go(b.Base + maria + "/reset")
	sure(c, "maria")
	a.expectState("maria", user.New)

	c.Go(b.Base + a.pathOf("otto") + "/mfa")
	c.PressNamed("Suspend")
	c.Sees("Suspend Pixel 9?")
	c.Press("main form button")
	c.Go(a.Base + a.pathOf("otto") + "/mfa")
	c.Says("Suspended")

	c.Go(b.Base + "/admin/settings/factor.otp")
	c.Sees("One-time code")
	c.Eval(`document.querySelector('input[value="off"]').click()`)
	c.PressNamed("Save the change")
	c.Sees("Factors and policies")
	c.Go(a.Base + "/admin/settings/factor.otp")
	c.Until(`document.querySelector('input[value="off"]')?.checked === true`)

	// What the one ends is over at the other: a form that is open there does nothing.
	c.Go(b.Base + "/admin/settings/factor.otp")
	c.Sees("One-time code")
	member, err := a.SignIn.MemberOf(t.Context(), "bea")
	check.Must(t, err)
	check.Must(t, a.SignIn.EndSession(t.Context(), "bea", member.Sessions[0].ID, audit.ByOperator(0)))
	c.Eval(`document.querySelector('input[value="on"]').click()`)
	c.PressNamed("Save the change")
	c.Sees("Sign in as an admin")
	c.Says("What you sent was not done.")
	if got := a.valueOf("factor.otp"); got != "off" {
		t.Errorf("factor.otp is %s", got)
	}
}

func TestTwoHouses_ASessionThatOneEndsIsOverAtTheOther(t *testing.T) {
	a := newHouse(t)
	b := a.neighbour()
	at := a.signedIn("ada", user.Owner)
	if got := beside(at, b).Get("/admin/team"); got.Status != http.StatusOK {
		t.Fatalf("the other house does not know the session: %d", got.Status)
	}
	if got := beside(at, b).Post("/admin/signout", nil); got.Status != http.StatusOK {
		t.Fatalf("sign out: %d", got.Status)
	}
	for _, c := range []*webtest.Client{at, beside(at, b)} {
		a := c.Get("/admin/team")
		if a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d", c.Base, a.Status)
		}
	}
}

func TestTwoHouses_OfTwoAdminsWhoResetAtOnceOneIsToldThatNothingWasLeft(t *testing.T) {
	a := newHouse(t)
	b := a.neighbour()
	path := a.enrolled("maria")
	clients := []*webtest.Client{a.signedIn("one", user.Admin), beside(a.signedIn("two", user.Helpdesk), b)}
	answers := make([]webtest.Answer, len(clients))
	var done sync.WaitGroup
	for i, c := range clients {
		done.Go(func() { answers[i] = c.Post(path+"/reset", url.Values{"reason": {"lost"}}) })
	}
	done.Wait()
	told := map[bool]int{}
	for _, got := range answers {
		nothing := strings.Contains(got.Body, "There was nothing")
		told[nothing]++
		if got.Status != http.StatusOK || nothing == strings.Contains(got.Body, `<ul class="gone">`+"\n<li>") {
			t.Errorf("%d: %s", got.Status, got.Body)
		}
	}
	if told[true] != 1 || told[false] != 1 {
		t.Errorf("%d were told that nothing was left, and %d that it is done", told[true], told[false])
	}
	a.expectState("maria", user.New)
}
