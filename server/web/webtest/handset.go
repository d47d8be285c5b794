package webtest

import (
	"context"
	"crypto/ed25519"
	"encoding/base32"
	"testing"

	"tutela/device"
	"tutela/device/devicetest"
	"tutela/device/otp"
	"tutela/device/push"
	"tutela/server/servertest"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

// Handset is a phone with an app that matches numbers. It calls the services of a house and not its API, so that a test of pages need
// not serve one.
type Handset struct {
	In       device.Installation
	Enrolled *device.Enrolled

	t   testing.TB
	h   *servertest.House
	key ed25519.PrivateKey
	url string
}

var byPhone = audit.ByUser().WithOrigin("203.0.113.7", "")

// NewHandset makes a phone that has enrolled with a ticket.
func NewHandset(t testing.TB, h *servertest.House, name, ticket string) *Handset {
	t.Helper()
	p := &Handset{
		t:   t,
		h:   h,
		key: devicetest.NewEd25519(t),
		url: h.Devices.PublicURL(),
	}
	p.In = device.Installation{
		Identifier:   name,
		Name:         name,
		Key:          devicetest.Key(t, p.key),
		Capabilities: []string{device.NumberMatching},
	}
	var err error
	p.Enrolled, err = h.Devices.Enroll(context.WithoutCancel(t.Context()), ticket, p.In, byPhone)
	check.Must(t, err)
	return p
}

// Proof proves a call of the phone's by its key.
func (p *Handset) Proof() device.Proof {
	p.t.Helper()
	now := p.h.Clock.Wall().Unix()
	proof, err := p.h.Devices.Prove(context.WithoutCancel(p.t.Context()), p.Enrolled.ID, devicetest.Sign(p.t, p.key, map[string]any{
		"iss": p.Enrolled.ID,
		"sub": p.Enrolled.UserID,
		"aud": p.url + "/appliance-mfa/api/device-accounts",
		"iat": now,
		"exp": now + 7200,
	}), true)
	check.Must(p.t, err)
	return proof
}

// Asked is how many questions the phone is asked.
func (p *Handset) Asked() int {
	p.t.Helper()
	list, err := p.h.Logins.Approvals(context.WithoutCancel(p.t.Context()), p.Proof(), nil, 0)
	check.Must(p.t, err)
	return len(list)
}

// asked is the one question that the phone is asked.
func (p *Handset) asked() push.Message {
	p.t.Helper()
	list, err := p.h.Logins.Approvals(context.WithoutCancel(p.t.Context()), p.Proof(), nil, 0)
	check.Must(p.t, err)
	if len(list) != 1 {
		p.t.Fatalf("%s is asked %d approvals", p.In.Name, len(list))
	}
	return list[0]
}

// Approve answers what the phone is asked with a number; "" where it is tapped.
func (p *Handset) Approve(number string) {
	p.t.Helper()
	change := map[string]any{"tutela_number": number}
	if number == "" {
		change = nil
	}
	check.Must(p.t, p.answer(true, change))
}

// TypeWrong answers with a number that is not the one.
func (p *Handset) TypeWrong() {
	p.t.Helper()
	_ = p.answer(true, map[string]any{"tutela_number": "000"})
}

// Deny says no to what the phone is asked.
func (p *Handset) Deny() {
	p.t.Helper()
	check.Must(p.t, p.answer(false, nil))
}

func (p *Handset) answer(yes bool, more map[string]any) error {
	p.t.Helper()
	asked := p.asked()
	now := p.h.Clock.Wall().Unix()
	claims := map[string]any{
		"iss":                     p.In.Identifier,
		"sub":                     asked.Challenge,
		"aud":                     p.url + "/appliance-mfa/api/resolve-transaction",
		"iat":                     now,
		"exp":                     now + 30,
		"auth0_guardian_method":   "push",
		"auth0_guardian_accepted": yes,
	}
	signed := devicetest.Sign(p.t, p.key, devicetest.Changed(claims, more))
	return p.h.Logins.Answer(context.WithoutCancel(p.t.Context()), asked.TransactionToken, signed, byPhone)
}

// OTP is the one-time code that the phone shows.
func (p *Handset) OTP() string {
	p.t.Helper()
	return OTPOf(p.t, p.h, p.Enrolled.TOTP.Secret)
}

// OTPOf is the one-time code that an app with a secret, in base32, shows now.
func OTPOf(t testing.TB, h *servertest.House, secret string) string {
	t.Helper()
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	check.Must(t, err)
	return string(otp.Secret(raw).At(otp.StepAt(h.Clock.Wall())))
}
