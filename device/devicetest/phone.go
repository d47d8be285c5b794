package devicetest

import (
	"context"
	"crypto"
	"maps"

	"tutela/device"
	"tutela/device/push"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/storagetest/check"
)

// ByPhone is the user, by a phone at an address.
var ByPhone = audit.ByUser().WithOrigin("192.0.2.1", "")

// Phone is one installation of an app, with its key.
type Phone struct {
	Signer   crypto.Signer
	In       device.Installation
	Enrolled *device.Enrolled // nil until it is

	h *House
}

// NewPhone makes an installation that matches numbers and has a push address, by an Ed25519 key. It has not enrolled.
func (h *House) NewPhone(identifier string) *Phone {
	h.t.Helper()
	return h.NewPhoneWith(identifier, NewEd25519(h.t))
}

// NewPhoneWith is NewPhone by a key of the test's.
func (h *House) NewPhoneWith(identifier string, signer crypto.Signer) *Phone {
	h.t.Helper()
	return &Phone{
		Signer: signer,
		In: device.Installation{
			Identifier:   identifier,
			Name:         "Pixel 9",
			Key:          Key(h.t, signer),
			Push:         push.Address{Service: push.GCM, Token: "push of " + identifier},
			Capabilities: []string{device.NumberMatching},
		},
		h: h,
	}
}

// Enroll makes a phone of a user, who may have others.
func (h *House) Enroll(userID, identifier string) *Phone {
	h.t.Helper()
	p := h.NewPhone(identifier)
	check.Must(h.t, p.Enroll(h.Ticket(userID)))
	return p
}

// Enroll enrols the phone with a ticket.
func (p *Phone) Enroll(ticket string) error {
	enrolled, err := p.h.Devices.Enroll(context.Background(), ticket, p.In, ByPhone)
	if err == nil {
		p.Enrolled = enrolled
	}
	return err
}

// Sign makes a compact JWS by the phone's key.
func (p *Phone) Sign(claims any) string {
	p.h.t.Helper()
	return Sign(p.h.t, p.Signer, claims)
}

// Claims returns those of a good device JWT, with changes; a change to nil takes a claim away.
func (p *Phone) Claims(change map[string]any) map[string]any {
	now := p.h.Clock.Wall().Unix()
	return Changed(map[string]any{
		"iss": p.Enrolled.ID,
		"sub": p.Enrolled.UserID,
		"aud": PublicURL + "/appliance-mfa/api/device-accounts",
		"iat": now,
		"exp": now + 7200,
	}, change)
}

// Changed returns claims with changes; a change to nil takes a claim away.
func Changed(claims, change map[string]any) map[string]any {
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

// JWT makes a device JWT with changed claims.
func (p *Phone) JWT(change map[string]any) string {
	p.h.t.Helper()
	return p.Sign(p.Claims(change))
}

// Call proves a call by the phone's device JWT.
func (p *Phone) Call() (device.Proof, error) {
	p.h.t.Helper()
	return p.h.Devices.Prove(context.Background(), p.Enrolled.ID, p.JWT(nil), true)
}

// CallByToken proves a call by the device token.
func (p *Phone) CallByToken() (device.Proof, error) {
	return p.h.Devices.Prove(context.Background(), p.Enrolled.ID, p.Enrolled.Token, false)
}

// Proof proves a call by the phone's device JWT, which must succeed.
func (p *Phone) Proof() device.Proof {
	p.h.t.Helper()
	proof, err := p.Call()
	check.Must(p.h.t, err)
	return proof
}

// Enrollment returns the phone's enrollment as it is stored.
func (p *Phone) Enrollment() (e *device.Enrollment) {
	p.h.t.Helper()
	p.h.View(func(tx *storage.Tx) (err error) {
		_, e, err = device.Find(tx, p.Enrolled.ID)
		return err
	})
	return e
}

// ExpectStatus fails the test unless the phone's enrollment has a status.
func (p *Phone) ExpectStatus(want device.Status) {
	p.h.t.Helper()
	if got := p.Enrollment().Status; got != want {
		p.h.t.Errorf("%s is %s, want %s", p.In.Identifier, got, want)
	}
}
