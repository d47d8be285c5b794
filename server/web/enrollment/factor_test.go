package enrollment

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"tutela/device"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/server/servertest"
)

// ticketFor makes a ticket for one factor.
func (h *house) ticketFor(userID string, f device.Factor) string {
	h.t.Helper()
	ticket, err := h.Admins.NewTicket(h.t.Context(), admin.TicketRequest{
		User:   user.User{ID: userID},
		Factor: string(f),
	}, servertest.Operator)
	h.must(err)
	return ticket
}

// says fails the test unless a page says one text and not the other.
func (p answer) says(t *testing.T, text string, not ...string) {
	t.Helper()
	if !strings.Contains(p.body, text) {
		t.Errorf("it does not say %q: %s", text, p.body)
	}
	for _, text := range not {
		if strings.Contains(p.body, text) {
			t.Errorf("it says %q: %s", text, p.body)
		}
	}
}

func TestFactor_OfATicketIsAllThatItsPagesOffer(t *testing.T) {
	h := atLocalhost(t)
	for of, want := range map[device.Factor]struct{ start, then string }{
		device.FactorPush:     {"Connect your phone", "Waiting for your phone"},
		device.FactorOTP:      {"Connect an app with one-time codes", "Type the code that the app shows"},
		device.FactorRoaming:  {"Connect a security key", "Insert your security key"},
		device.FactorPlatform: {"Connect a passkey", "Your browser asks for your fingerprint"},
	} {
		b := h.browser()
		ticket := h.ticketFor("user of "+string(of), of)
		offers := map[device.Factor]string{
			device.FactorPush:     "Type a key into the app instead",
			device.FactorOTP:      "Type the code that the app shows",
			device.FactorRoaming:  "Insert your security key",
			device.FactorPlatform: "Your browser asks for your fingerprint",
		}
		delete(offers, of)
		var not []string
		for _, text := range offers {
			not = append(not, text)
		}
		not = append(not, "A passkey<", "An app with one-time codes<", "Use a security key instead", "Use this device instead", "Connect an app on your phone instead")
		b.open(ticket).says(t, want.start)
		b.start(ticket).says(t, want.then, not...)
		for _, page := range []string{"scan?codes=1&", "scan?typed=1&", "scan?", "passkey?", "passkey?key=1&"} {
			got := b.do("GET", "/mfa/enrollment/"+page+"ticket="+ticket, "")
			got.says(t, want.then, not...)
		}
	}
}

// Forms that the pages do not show are refused all the same.
func TestFactor_OfATicketRefusesTheFormsOfOthers(t *testing.T) {
	h := atLocalhost(t)
	b := h.browser()
	ticket := h.ticketFor("maria", device.FactorRoaming)
	b.start(ticket)
	b.shows(b.connect(ticket, "123456"), 200, "Connect a security key")
	made := url.Values{"ticket": {ticket}, "credential": {"{}"}}.Encode()
	b.shows(b.do("POST", "/mfa/enrollment/passkey", made), 200, "Connect a security key") // this device's: back to where it began
	otp := h.ticketFor("otto", device.FactorOTP)
	b.start(otp)
	b.do("POST", "/mfa/enrollment/passkey", url.Values{"ticket": {otp}, "key": {"1"}, "credential": {"{}"}}.Encode())
	b.shows(b.open(otp), 200, "Connect an app with one-time codes")
	h.clock.Advance(10 * time.Minute)
	b.shows(b.scan(ticket, ""), 200, "This page is ten minutes old")
	h.Set("factor.webauthn_roaming", "off")
	b.shows(b.start(ticket), 404, "works no longer")
}

func TestBrowser_ConnectsASecurityKeyWhereTheTicketIsForOne(t *testing.T) {
	h := atLocalhost(t)
	c := openTab(t)
	c.SecurityKey()
	c.Go(h.link(h.ticketFor("maria", device.FactorRoaming)))
	c.Sees("Connect a security key")
	c.Looks("factor-key-start")
	c.PressNamed("Start")
	c.Says("Insert your security key")
	c.Looks("factor-key")
	c.PressNamed("Make a passkey")
	c.Sees("Your passkey is connected")
}

func TestBrowser_ConnectsAnAppOfCodesWhereTheTicketIsForOne(t *testing.T) {
	h := newHouse(t)
	c := openTab(t)
	c.Go(h.link(h.ticketFor("maria", device.FactorOTP)))
	c.Sees("Connect an app with one-time codes")
	c.Looks("factor-codes-start")
	c.PressNamed("Start")
	uri := c.drawn()
	c.Looks("factor-codes")
	c.Type("#otp", h.codeApp(uri, 0))
	c.PressNamed("Connect this app")
	c.Sees("Your app is connected")
	c.PressNamed("Show my recovery code")
	c.Sees("Save your recovery code")
	code := c.Text(`document.querySelector("#code").textContent.replace(/\s/g, "")`)
	c.confirm(code[20:])
	c.Says("When you sign in, you type the six digits")
	c.Looks("factor-codes-connected")
}
