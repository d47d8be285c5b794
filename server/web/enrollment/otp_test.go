package enrollment

import (
	"encoding/base32"
	"net/url"
	"strings"
	"testing"
	"time"

	"tutela/device/otp"
	"tutela/recovery/user"
)

// codeApp returns the code that an app shows which has scanned the text of a QR code, at a time that is off by skew.
func (h *house) codeApp(uri string, skew time.Duration) string {
	h.t.Helper()
	parsed, err := url.Parse(uri)
	h.must(err)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(parsed.Query().Get("secret"))
	h.must(err)
	return string(otp.Secret(secret).At(otp.StepAt(h.clock.Wall().Add(skew))))
}

// connect types a one-time code into the page.
func (b *browser) connect(ticket, typed string) answer {
	b.t.Helper()
	return b.do("POST", "/mfa/enrollment/otp", url.Values{"ticket": {ticket}, "otp": {typed}}.Encode())
}

func TestEnrollment_ConnectsAnAppThatOnlyShowsCodes(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	uri := b.start(ticket).uri()
	b.shows(b.scan(ticket, ""), 200, "An app with one-time codes")
	asked := b.scan(ticket, "&codes=1")
	b.shows(asked, 200, "Type the code that the app shows")
	parsed, err := url.Parse(uri)
	h.must(err)
	if secret := parsed.Query().Get("secret"); !strings.Contains(tags.ReplaceAllString(asked.body, ""), secret) {
		t.Errorf("the page does not show the key %s", secret)
	}
	if strings.Contains(asked.body, `http-equiv="refresh"`) {
		t.Error("the page loads itself again while she types")
	}
	for _, typed := range []string{"", "12345", "<b>"} {
		b.shows(b.connect(ticket, typed), 400, "A code has six digits.")
	}
	b.shows(b.connect(ticket, h.codeApp(uri, 10*time.Minute)), 400, "That is not the code that the app shows now.")
	code := h.codeApp(uri, 0)
	typed := code[:3] + " " + code[3:]
	b.shows(b.connect(ticket, typed), 200, "Show my recovery code")
	b.shows(b.connect(ticket, typed), 200, "Show my recovery code") // the first answer may be lost
	shown := b.code(ticket).recoveryCode()
	if len(shown) != 24 {
		t.Errorf("the recovery code is %q", shown)
	}
	b.shows(b.confirm(ticket, shown[20:]), 200, "It cannot be shown again here.")
}

func TestEnrollment_TakesACodeFromTheBrowserThatDrewItAlone(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	uri := b.start(ticket).uri()
	other := h.browser()
	other.shows(other.connect(ticket, h.codeApp(uri, 0)), 200, "Start") // it has drawn no code yet
	h.enroll(uri)
	other.shows(other.connect(ticket, h.codeApp(uri, 0)), 404, "works no longer")
	b.shows(b.connect(ticket, h.codeApp(uri, 0)), 200, "Galaxy S26") // the phone was first
	b.shows(b.connect("unknown", "123456"), 404, "works no longer")
}

// The page offers what the installation enrols, and no more.
func TestEnrollment_OffersTheFactorsThatAreSwitchedOn(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	uri := b.start(ticket).uri()
	h.Set("factor.otp", "off")
	if strings.Contains(b.scan(ticket, "").body, "one-time codes") {
		t.Error("apps that show codes are offered")
	}
	if strings.Contains(b.scan(ticket, "&codes=1").body, "Type the code that the app shows") {
		t.Error("codes are asked for")
	}
	b.shows(b.connect(ticket, h.codeApp(uri, 0)), 200, "Scan the code with the app")
	h.Set("factor.otp", "on")
	h.Set("factor.push", "off")
	b.shows(b.scan(ticket, ""), 200, "Type the code that the app shows")
	b.shows(b.connect(ticket, h.codeApp(uri, 0)), 200, "Show my recovery code")
}

func TestEnrollment_NamesTheAppAndLinksToIt(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	h.Set("app.name", "Hafenlicht <Login>")
	h.Set("app.apple_link", "https://apps.apple.com/app/id1?x=1&y=2")
	shown := b.open(ticket)
	b.shows(shown, 200, "It is called Hafenlicht &lt;Login&gt;. Have it")
	b.shows(shown, 200, `<a href="https://apps.apple.com/app/id1?x=1&amp;y=2" rel="noreferrer">Get it for iPhone</a>`)
	if strings.Contains(shown.body, "for Android") {
		t.Error("there is a link that leads nowhere")
	}
}
