package challenge

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"tutela/device/login"
	"tutela/recovery"
	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

// says fails the test unless a page has all the texts, and none of those that begin with "not ".
func says(t *testing.T, when string, a webtest.Answer, texts ...string) {
	t.Helper()
	for _, text := range texts {
		without, not := strings.CutPrefix(text, "not ")
		if strings.Contains(a.Body, without) == not {
			t.Errorf("%s: the page should say %q: %d %s", when, text, a.Status, a.Body)
		}
	}
}

// A recovery code is too long to be guessed: who has typed wrong ones too often is told that the right one still lets her in, where it
// may be, and whom to call. That stays so when the page is loaded again.
func TestLimited_OfRecoveryCodesTheRightOneStillCounts(t *testing.T) {
	h := newHouse(t)
	h.Set("brand.helpdesk_phone", "+49 40 5550 120")
	_, code := h.phone("maria")
	link := h.link("maria")
	c, _ := h.opened(link)
	at := strings.TrimPrefix(link, h.URL)
	for range 11 {
		h.step(c, link, "code", url.Values{"code": {string(recovery.DrawCode())}, "way": {"code"}})
	}
	for when, page := range map[string]webtest.Answer{
		"after the last one": h.step(c, link+"&way=code", "code", url.Values{"code": {string(recovery.DrawCode())}}),
		"loaded again":       c.Get(at + "&way=code"),
	} {
		says(t, when, page, "Too many wrong codes.", `data-time="clock"`, "the right one lets you in at any time", "Only the newest one counts",
			"change it now", "say this reference", "tel:&#43;49405550120", `name="code"`)
	}
	says(t, "among the other ways", c.Get(at), "The right one still counts.")
	says(t, "the right one", h.step(c, link, "code", url.Values{"code": {code}}), "Save your new recovery code")
}

// One-time codes are short: past the limit none counts for a while. The page says until when, and what else there is.
func TestLimited_OneTimeCodesWaitAndOtherWaysDoNot(t *testing.T) {
	h := newHouse(t)
	p, _ := h.phone("maria")
	link := h.link("maria")
	c, _ := h.opened(link)
	at := strings.TrimPrefix(link, h.URL)
	code := func() string {
		shown, err := p.OneTimeCode()
		check.Must(t, err)
		return shown.Code
	}
	wrong := "000000"
	if code() == wrong {
		wrong = "111111"
	}
	var got webtest.Answer
	for range 10 {
		got = h.step(c, link+"&way=otp", "otp", url.Values{"otp": {wrong}})
	}
	waits := []string{"Too many wrong codes.", "One-time codes count again from", "not name=\"otp\"", "Use a recovery code", "Ask my phone instead"}
	says(t, "after the tenth", got, waits...)
	says(t, "loaded again", c.Get(at+"&way=otp"), waits...)
	says(t, "the right one meanwhile", h.step(c, link+"&way=otp", "otp", url.Values{"otp": {code()}}), waits...)
	says(t, "among the other ways", c.Get(at), "they count again from")
	h.Clock.Advance(31 * time.Second)
	says(t, "after the wait", c.Get(at+"&way=otp"), "not Too many wrong codes.", `name="otp"`)
	if got = h.step(c, link+"&way=otp", "otp", url.Values{"otp": {code()}}); !strings.Contains(got.URL, "code=") {
		t.Errorf("then a right one leads to %s: %s", got.URL, got.Body)
	}
}

func TestLimited_PhonesAreAskedAgainLater(t *testing.T) {
	h := newHouse(t)
	p, _ := h.phone("maria")
	link := h.link("maria")
	c, _ := h.opened(link)
	at := strings.TrimPrefix(link, h.URL)
	for range login.PushesPerMinute {
		h.step(c, link, "number", nil)
	}
	says(t, "while it waits still", c.Get(at), "not Your phone was asked too often.", `class="number"`)
	check.Must(t, p.Deny(t.Context(), h.asked(p), ""))
	for _, when := range []string{"after it was denied", "loaded again"} {
		says(t, when, c.Get(at), "Your phone was asked too often.", "It can be asked again from", "Use a recovery code")
	}
	h.Clock.Advance(time.Minute)
	says(t, "a minute later", c.Get(at), "not Your phone was asked too often.")
	says(t, "asked once more", h.step(c, link, "number", nil), `class="number"`)
}
