package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"

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

// APNsChange changes what is set for APNs. A nil field keeps the present value, unless Replace says that it goes back
// to its default.
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
// Errors: ErrCertificate; ErrRole.
func (s *Service) SetAPNs(ctx context.Context, actor audit.Actor, change APNsChange) (APNs, error) {
	for {
		of, err := s.trySetAPNs(ctx, actor, change)
		if !errors.Is(err, errMoved) {
			return of, err
		}
	}
}

// errMoved reports that somebody has set another certificate since it was read.
var errMoved = errors.New("another certificate was set meanwhile")

// trySetAPNs changes what is set for APNs. It opens the certificate before the transaction, since that may take seconds
// and would keep all other writers waiting.
//
// Errors: ErrCertificate; ErrRole; errMoved.
func (s *Service) trySetAPNs(ctx context.Context, actor audit.Actor, change APNsChange) (of APNs, err error) {
	file := change.P12
	if file == nil {
		if file, err = s.certificate(ctx); err != nil {
			return APNs{}, err
		}
	}
	var opened *tls.Certificate
	var fault error
	if change.P12 != nil || len(file) > 0 {
		opened, fault = apns.ReadCertificate(file, "")
	}
	if change.P12 != nil && fault != nil {
		if errors.Is(fault, apns.ErrIterations) {
			return APNs{}, ErrCertificate.With("p12: %v", fault)
		}
		return APNs{}, ErrCertificate
	}
	// Write the change, unless another certificate was set meanwhile: then the caller tries again with that one.
	var c *credential
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := maySet(tx, actor); err != nil {
			return err
		}
		c, err = read(tx, push.APNs)
		if err != nil {
			return err
		}
		if c == nil {
			c = &credential{}
		}
		c.apply(change)
		if !bytes.Equal(c.P12, file) {
			return errMoved
		}
		c.use(opened, fault)
		of = shown(c)
		return put(tx, actor, push.APNs, c)
	})
	if err == nil {
		s.tell(push.APNs, c)
	}
	return of, err
}

// certificate returns the PKCS#12 file that is set; nil for none.
func (s *Service) certificate(ctx context.Context) (file []byte, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		c, err := read(tx, push.APNs)
		if c != nil {
			file = c.P12
		}
		return err
	})
	return file, err
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
}

// use notes what is known about the credentials' certificate after opening it. opened is nil when there is none, or
// when it cannot be opened.
func (c *credential) use(opened *tls.Certificate, fault error) {
	c.Fault = ""
	if len(c.P12) == 0 {
		return
	}
	var carrier *apns.Carrier
	if fault == nil {
		carrier, fault = apns.New(apns.Credentials{Read: opened, Topic: c.Bundle, Sandbox: c.Sandbox})
	}
	if fault != nil {
		c.Fault = fault.Error()
		return
	}
	c.Expires = carrier.Expires()
	carrier.Close()
}
