package provider

import (
	"context"

	"tutela/device/push"
	"tutela/device/push/apns"
	"tutela/storage"
	"tutela/storage/audit"
)

// APNs is what is set for APNs, as far as it can be read again.
type APNs struct {
	Bundle  string // the app; "" when it is not set
	Sandbox bool
	Enabled bool // there is a certificate, and messages can go by it
}

// APNsChange changes what is set for APNs. nil keeps what was set, but for Replace, which sets it back.
type APNsChange struct {
	Bundle  *string
	Sandbox *bool
	P12     []byte // PKCS#12 without password; nil: the one that was set stays
	Replace bool
}

// ErrCertificate reports what is no certificate with its private key.
var ErrCertificate = storage.NewError(storage.Invalid, "p12 is no PKCS#12 file with one private key and an empty password, in base64")

// APNs returns what is set for APNs.
func (s *Service) APNs(ctx context.Context) (of APNs, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		c, err := read(tx, push.APNs)
		of = shown(c)
		return err
	})
	return of, err
}

func shown(c *credential) APNs {
	if c == nil {
		return APNs{}
	}
	return APNs{Bundle: c.Bundle, Sandbox: c.Sandbox, Enabled: c.usable()}
}

// SetAPNs changes what is set for APNs, and returns it. A certificate that has expired is taken: an event, the log and /readyz tell it.
//
// Errors: ErrCertificate.
func (s *Service) SetAPNs(ctx context.Context, actor audit.Actor, change APNsChange) (of APNs, err error) {
	if change.P12 != nil {
		if _, err := apns.ReadCertificate(change.P12, ""); err != nil {
			return APNs{}, ErrCertificate
		}
	}
	var c *credential
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		c, err = read(tx, push.APNs)
		if err != nil {
			return err
		}
		if c == nil {
			c = &credential{}
		}
		c.apply(change)
		of = shown(c)
		return put(tx, actor, push.APNs, c)
	})
	if err == nil {
		s.tell(push.APNs, c)
	}
	return of, err
}

func (c *credential) apply(change APNsChange) {
	if change.Replace {
		c.Bundle = ""
		c.Sandbox = false
	}
	if change.Bundle != nil {
		c.Bundle = *change.Bundle
	}
	if change.Sandbox != nil {
		c.Sandbox = *change.Sandbox
	}
	if change.P12 != nil {
		c.P12 = change.P12
	}
	c.Fault = ""
	if len(c.P12) == 0 {
		return
	}
	carrier, err := apns.New(apns.Credentials{Certificate: c.P12, Topic: c.Bundle, Sandbox: c.Sandbox})
	if err != nil {
		c.Fault = err.Error()
		return
	}
	c.Expires = carrier.Expires()
	carrier.Close()
}
