package devicetest

import (
	"encoding/base32"
	"net/url"
	"time"

	"tutela/device/otp"
	"tutela/storage/storagetest/check"
)

// OTP returns the one-time code that the phone shows at the time of its clock, which is off by skew.
func (p *Phone) OTP(skew time.Duration) string {
	p.h.t.Helper()
	return p.h.OTPOf(p.Enrolled.TOTP.Secret, skew)
}

// OTPOf returns the code that an app with a secret, in base32, shows at the time of a clock that is off by skew.
func (h *House) OTPOf(secret string, skew time.Duration) string {
	h.t.Helper()
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	check.Must(h.t, err)
	return string(otp.Secret(raw).At(otp.StepAt(h.Clock.Wall().Add(skew))))
}

// OtherOTP returns a code that an app with a secret shows neither now nor up to a minute before or after.
func (h *House) OtherOTP(secret string) string {
	h.t.Helper()
	shown := map[string]bool{}
	for skew := -time.Minute; skew <= time.Minute; skew += otp.Period * time.Second {
		shown[h.OTPOf(secret, skew)] = true
	}
	for _, code := range []string{"000000", "111111", "222222", "333333", "444444", "555555"} {
		if !shown[code] {
			return code
		}
	}
	return "" // not reached: five codes are shown
}

// Param returns a parameter of the text of a QR code.
func (h *House) Param(uri, name string) string {
	h.t.Helper()
	parsed, err := url.Parse(uri)
	check.Must(h.t, err)
	return parsed.Query().Get(name)
}

// CodeApp is an app that shows one-time codes and does no more: it has scanned the secret of a ticket's QR code.
type CodeApp struct {
	Ticket string
	Secret string // base32

	h *House
}

// NewCodeApp makes a code app that has scanned the QR code of a ticket, which it does not spend.
func (h *House) NewCodeApp(ticket string) *CodeApp {
	h.t.Helper()
	uri, err := h.Devices.TicketURI(h.t.Context(), ticket)
	check.Must(h.t, err)
	return &CodeApp{Ticket: ticket, Secret: h.Param(uri, "secret"), h: h}
}

// Code returns what the app shows at the time of its clock, which is off by skew.
func (a *CodeApp) Code(skew time.Duration) string {
	a.h.t.Helper()
	return a.h.OTPOf(a.Secret, skew)
}
