package enrollment

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"tutela/recovery/user"
	"tutela/server/servertest"
	"tutela/server/web/webtest"
	"tutela/storage/storagetest/check"
)

// atLocalhost opens a house to which browsers come by a name, as passkeys need: http://localhost and a port.
func atLocalhost(t *testing.T, change ...func(*servertest.Options)) *house {
	t.Helper()
	public, lead := webtest.Localhost(t)
	h := newHouse(t, append(change, func(o *servertest.Options) { o.Public = []string{public} })...)
	lead(h.url)
	h.url = public
	return h
}

func TestBrowser_ConnectsAPasskeyAndSavesTheCode(t *testing.T) {
	check.WithoutRace(t)
	h := atLocalhost(t)
	c := openTab(t)
	c.Passkeys()
	ticket := h.ticket(user.User{ID: "u1", Email: "b.claasen@werft.example"})
	c.Go(h.link(ticket))
	c.Sees("Connect your phone")
	c.PressNamed("Start")
	c.PressNamed("A passkey")
	c.Sees("Connect a passkey")
	c.PressNamed("Make a passkey")
	c.Sees("Your passkey is connected")
	c.PressNamed("Show my recovery code")
	c.Sees("Save your recovery code")
	code := c.Text(`document.querySelector("#code").textContent.replace(/\s/g, "")`)
	c.confirm(code[20:])
	c.Says("You are all set")
	// Back shows no code, and neither does the passkey's page make another.
	c.Back()
	c.Sees("Your passkey is connected")
	if strings.Contains(c.Text(`document.documentElement.textContent.replace(/\s/g, "")`), code) {
		t.Error("Back shows the code")
	}
	c.Go(h.url + "/mfa/enrollment/passkey?ticket=" + ticket)
	c.Sees("Your passkey is connected")
	if name := c.Text(`(async () => (await cookieStore.getAll()).map((c) => c.name).join())()`); strings.Contains(name, "tutela_browser") {
		t.Errorf("scripts read the cookies %s", name)
	}
}

func TestPasskey_AtAnAddressThatIsANumberThePageSaysWhy(t *testing.T) {
	h := newHouse(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	b.start(ticket)
	b.shows(b.do("GET", "/mfa/enrollment/passkey?ticket="+ticket, ""), 200, "Passkeys do not work at this address")
}

func TestPasskey_ThatNoBrowserMadeIsRefused(t *testing.T) {
	h := atLocalhost(t)
	b := h.browser()
	ticket := h.ticket(user.User{ID: "maria"})
	b.shows(b.start(ticket), 200, "A passkey")
	page := "/mfa/enrollment/passkey?ticket=" + ticket
	b.shows(b.do("GET", page, ""), 200, "Make a passkey")
	for _, made := range []string{"", "{}", "x", `{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{}}`, strings.Repeat("9", 60_000)} {
		form := url.Values{"ticket": {ticket}, "credential": {made}}.Encode()
		b.shows(b.do("POST", "/mfa/enrollment/passkey", form), 400, "That passkey was not accepted.")
	}
	other := h.browser()
	other.shows(other.do("GET", page, ""), 200, "Start") // it has started nothing
	h.Set("factor.webauthn_platform", "off")
	b.shows(b.do("GET", page, ""), 200, "Connect a security key")
	h.Set("factor.webauthn_roaming", "off")
	b.shows(b.do("GET", page, ""), 200, "Scan the code with the app")
	h.clock.Advance(10 * time.Minute)
	b.shows(b.do("GET", page, ""), 200, "Show a new code")
}

// Every step speaks the reader's language, and says which it is.
func TestBrowser_SpeaksGerman(t *testing.T) {
	check.WithoutRace(t)
	h := newHouse(t)
	h.Set("brand.name", "Hafenlicht Bank")
	h.Set("brand.helpdesk_phone", "+49 40 5550 120")
	h.Set("brand.colour", "#7a1f5c")
	c := openTab(t)
	c.Speaks("de")
	ticket := h.ticket(user.User{ID: "u1", Email: "b.claasen@werft.example"})
	c.Go(h.link(ticket))
	c.Sees("Verbinden Sie Ihr Telefon")
	c.Says("Helpdesk: +49 40 5550 120")
	c.Press("button.wide")
	c.Sees("Scannen Sie den Code mit der App")
	uri := c.Text(`document.querySelector(".on-phone a").href`)
	code := h.enroll(uri)
	c.Sees("Ihr Telefon ist verbunden")
	c.Press("main a.button")
	c.Sees("Bewahren Sie Ihren Wiederherstellungscode auf")
	c.confirm("ZZZZ")
	c.Says("Das sind nicht die letzten vier Zeichen.")
	c.confirm(code[20:])
	c.Says("Alles ist eingerichtet")
	c.Go(h.link("nosuch"))
	c.Sees("Dieser Link gilt nicht mehr")
	if c.Text(`document.documentElement.lang`) != "de" {
		t.Error("the page does not say that it is German")
	}
}
