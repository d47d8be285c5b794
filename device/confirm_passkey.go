package device

import (
	"bytes"
	"errors"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// NewPasskey is a passkey that confirms an enrolment.
type NewPasskey struct {
	Type    Type
	Passkey Passkey
}

// ConfirmOfferByPasskey confirms the offer under the given key of the user by a passkey, whose registration the caller
// has just spent. It returns the passkey's enrollment.
//
// Errors: ErrTicket; ErrFactorOff; ErrRegistered; ErrTooMany.
func (s *Service) ConfirmOfferByPasskey(tx *storage.Tx, uid storage.UID, key string, made NewPasskey, actor audit.Actor) (*Enrollment, error) {
	// The offer must still be open, and take a passkey of this type.
	record, err := tickets.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrTicket
	}
	if err != nil {
		return nil, err
	}
	t, err := withRoot(tx, storage.Row[ticket]{UID: uid, Key: key, Record: record})
	if err != nil {
		return nil, err
	}
	if t.spent() {
		return nil, ErrTicket
	}
	if err := s.takes(tx, t, FactorOf(made.Type)); err != nil {
		return nil, err
	}
	// Bind the passkey, and end the enrollment that it replaces.
	before, err := All(tx, uid)
	if err != nil {
		return nil, err
	}
	b := Binding{Reserved: t.reserved(), Retiring: t.root.Replaces, Via: t.via()}
	e, err := s.BindPasskey(tx, uid, made.Type, "", made.Passkey, b, actor)
	if err != nil {
		return nil, err
	}
	if b.Retiring != "" {
		if err := takePlace(tx, uid, b.Retiring, e, Installation{}, actor); err != nil {
			return nil, err
		}
	}
	return e, s.complete(tx, t, enrolment{
		before: before,
		made:   e,
		reply:  &Enrolled{ID: e.ID, Issuer: s.issuer},
		code:   s.recovery.HashForReply(uid, recovery.Code(CredentialKey(made.Passkey.CredentialID))),
	})
}

// PasskeyTicket returns the user of a ticket and the ticket's key, if a passkey of the given type can enrol with it
// now.
//
// Errors: ErrTicket; ErrFactorOff.
func (s *Service) PasskeyTicket(tx *storage.Tx, ticket string, typ Type) (uid storage.UID, key string, err error) {
	t, err := s.findTicket(tx, ticket)
	if err != nil {
		return uid, "", err
	}
	if t.spent() {
		return uid, "", ErrTicket
	}
	return t.UID, t.Key, s.takes(tx, t, FactorOf(typ))
}

// ConfirmedBy returns the enrollment of the passkey that has confirmed the user's offer under a key, if that passkey
// has this credential id. A page whose first answer was lost asks for it.
//
// Errors: ErrTicket.
func ConfirmedBy(tx *storage.Tx, uid storage.UID, key string, credentialID []byte) (*Enrollment, error) {
	taken, err := TakenOffer(tx, uid, key)
	if err != nil {
		return nil, err
	}
	if e := taken.Enrollment; e != nil && len(credentialID) > 0 && bytes.Equal(e.WebAuthn.CredentialID, credentialID) {
		return e, nil
	}
	return nil, ErrTicket
}

// WaitingOffer returns the user's offer under a key, if nobody has confirmed it yet.
//
// Errors: ErrTicket.
func WaitingOffer(tx *storage.Tx, uid storage.UID, key string) (Offer, error) {
	t, err := tickets.Get(tx, uid, key)
	if errors.Is(err, storage.ErrNotFound) || err == nil && t.SpentBy != nil {
		return Offer{}, ErrTicket
	}
	if err != nil {
		return Offer{}, err
	}
	return offerOf(key, t)
}
