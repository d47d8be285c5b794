package passkey

import (
	"context"
	"encoding/json"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/audit"
)

// BeginByTicket draws a challenge for a passkey that is to enrol with a ticket, and returns the creation options for the browser.
//
// Errors: device.ErrTicket; device.ErrFactorOff; ErrNoDomain; ErrTooOften.
func (s *Service) BeginByTicket(ctx context.Context, devices *device.Service, ticket string, typ device.Type) (options json.RawMessage, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		uid, key, err := devices.PasskeyTicket(tx, ticket, typ)
		if err != nil {
			return err
		}
		options, err = s.BeginRegistration(tx, uid, key, typ)
		return err
	})
	return options, err
}

// EnrollByTicket enrols a passkey with a ticket, by what the browser answered to the options of BeginByTicket.
//
// Errors: device.ErrTicket, also when something else has enrolled with it; device.ErrRegistered; device.ErrTooMany; those of
// BeginByTicket and VerifyRegistration.
func (s *Service) EnrollByTicket(ctx context.Context, devices *device.Service, ticket string, typ device.Type, r Response, actor audit.Actor) error {
	var uid storage.UID
	var key string
	err := s.store.View(ctx, func(tx *storage.Tx) (err error) {
		uid, key, err = devices.PasskeyTicket(tx, ticket, typ)
		return err
	})
	if err != nil {
		return err
	}
	made, err := s.VerifyRegistration(ctx, uid, key, r)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		// The ticket is looked at again: it may have been spent since, or the user reset.
		if _, _, err := devices.PasskeyTicket(tx, ticket, made.Type); err != nil {
			return err
		}
		if err := s.Registered(tx, made); err != nil {
			return err
		}
		p := made.Passkey
		p.AddedBy = device.AddedAtSetup
		_, err := devices.ConfirmOfferByPasskey(tx, uid, key, device.NewPasskey{Type: made.Type, Passkey: p}, actor)
		return err
	})
}
