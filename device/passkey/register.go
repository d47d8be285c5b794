package passkey

import (
	"context"
	"encoding/json"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"tutela/device"
	"tutela/storage"
)

// BeginRegistration draws a challenge for a new passkey of a user, of type TypeRoaming or TypePlatform, and returns the creation
// options for her browser (PublicKeyCredentialCreationOptions, as JSON). key names what the ceremony belongs to, among the user's.
//
// Errors: ErrNoDomain; device.ErrFactorOff; ErrTooOften.
func (s *Service) BeginRegistration(tx *storage.Tx, uid storage.UID, key string, typ device.Type) (json.RawMessage, error) {
	if err := device.RequireFactor(tx, device.FactorOf(typ)); err != nil {
		return nil, err
	}
	relyingParty, err := s.RelyingParty(tx)
	if err != nil {
		return nil, err
	}
	set, err := device.All(tx, uid)
	if err != nil {
		return nil, err
	}
	verify, err := userVerification(tx, typ)
	if err != nil {
		return nil, err
	}
	selection := protocol.AuthenticatorSelection{
		AuthenticatorAttachment: protocol.CrossPlatform,
		ResidentKey:             protocol.ResidentKeyRequirementDiscouraged, // a security key has room for few
		UserVerification:        verify,
	}
	if typ == device.TypePlatform {
		selection.AuthenticatorAttachment = protocol.Platform
		selection.ResidentKey = protocol.ResidentKeyRequirementPreferred
	}
	// An authenticator is asked to make no second passkey, also where the first one is suspended.
	p, err := personOf(tx, uid, forLogin, passkeysOf(set.Kept().OfPasskeys()))
	if err != nil {
		return nil, err
	}
	return s.begin(tx, uid, registers, key, registration{
		person:       p,
		relyingParty: relyingParty,
		selection:    selection,
		typ:          typ,
	})
}

// registration is what a new passkey is to be.
type registration struct {
	person       *person
	relyingParty string
	selection    protocol.AuthenticatorSelection
	typ          device.Type // of the enrollment; "" for one that opens the dashboard
}

// begin draws the challenge of a registration, and keeps it.
func (s *Service) begin(tx *storage.Tx, uid storage.UID, of step, key string, r registration) (json.RawMessage, error) {
	policy, err := attestationPolicy.Get(tx)
	if err != nil {
		return nil, err
	}
	conveyance := protocol.PreferNoAttestation
	if policy == AttestationAny {
		conveyance = protocol.PreferDirectAttestation
	}
	lib, err := s.library(r.relyingParty, s.origins)
	if err != nil {
		return nil, err
	}
	creation, session, err := lib.BeginRegistration(r.person,
		webauthn.WithAuthenticatorSelection(r.selection),
		webauthn.WithConveyancePreference(conveyance),
		webauthn.WithCredentialParameters(webauthn.CredentialParametersRecommendedL3()),
		webauthn.WithExclusions(webauthn.Credentials(r.person.credentials).CredentialDescriptors()),
		// A security key cannot gain prf later.
		webauthn.WithExtensions(webauthn.WithExtensionPRFSupport(), webauthn.WithExtensionCredProps()))
	if err != nil {
		return nil, err
	}
	if err := keep(tx, uid, of, key, session, r.typ); err != nil {
		return nil, err
	}
	return json.Marshal(creation.Response)
}

// Registration is a new passkey, as its authenticator has signed it. It is spent once, by Registered.
type Registration struct {
	UID       storage.UID
	Type      device.Type // of the enrollment that it becomes
	Passkey   device.Passkey
	of        step
	key       string
	challenge string
}

// VerifyRegistration checks what a browser has sent for the challenge of BeginRegistration. It writes nothing.
//
// Errors: ErrResponse; ErrCeremony; ErrRefused; ErrNoDomain.
//
// Source: Web Authentication Level 3, §7.1.
func (s *Service) VerifyRegistration(ctx context.Context, uid storage.UID, key string, r Response) (*Registration, error) {
	return s.verifyRegistration(ctx, uid, registers, key, r)
}

func (s *Service) verifyRegistration(ctx context.Context, uid storage.UID, of step, key string, r Response) (*Registration, error) {
	parsed, err := r.registration()
	if err != nil {
		return nil, err
	}
	var kept registering
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		kept, err = s.registering(tx, uid, of, key, parsed.Response.CollectedClientData.Origin)
		return err
	})
	if err != nil {
		return nil, err
	}
	made := registered(parsed, kept.session.RelyingPartyID)
	if kept.policy == AttestationNone {
		unattested(&parsed.Response.AttestationObject)
	}
	lib, err := s.library(kept.session.RelyingPartyID, kept.origins)
	if err != nil {
		return nil, err
	}
	if _, err := lib.CreateCredential(&person{handle: kept.session.UserID}, *kept.session, parsed); err != nil {
		return nil, refused(err)
	}
	return &Registration{
		UID:       uid,
		Type:      kept.typ,
		Passkey:   made,
		of:        of,
		key:       key,
		challenge: kept.session.Challenge,
	}, nil
}

// registering is what is kept of a registration under way.
type registering struct {
	session *webauthn.SessionData
	typ     device.Type
	origins []string
	policy  string
}

func (s *Service) registering(tx *storage.Tx, uid storage.UID, of step, key, origin string) (r registering, err error) {
	c, session, err := find(tx, uid, of, key)
	if err != nil {
		return r, err
	}
	r.session = session
	r.typ = c.Type
	if r.policy, err = attestationPolicy.Get(tx); err != nil {
		return r, err
	}
	r.origins = s.origins // of the public URLs alone for the dashboard
	if of == registers {
		r.origins, err = s.accepts(tx, session.RelyingPartyID, origin)
	}
	return r, err
}

// unattested takes an attestation for none, as a browser does that is asked for none: nothing of it is looked at.
func unattested(object *protocol.AttestationObject) {
	object.Format = string(protocol.AttestationFormatNone)
	object.AttStatement = nil
	object.SubStatements = nil
}

// refused is what is told of an answer that the library does not accept. It says why to nobody: what the library says quotes what
// was sent.
func refused(error) error { return ErrRefused }

// Registered spends a registration: nobody registers by the same answer again. Its caller binds the passkey in the same transaction.
//
// Errors: ErrCeremony; ErrRefused, when the relying party has changed meanwhile; device.ErrFactorOff.
func (s *Service) Registered(tx *storage.Tx, r *Registration) error {
	if err := spend(tx, r.UID, r.of, r.key, r.challenge); err != nil {
		return err
	}
	if r.of != registers {
		return nil
	}
	if err := device.RequireFactor(tx, device.FactorOf(r.Type)); err != nil {
		return err
	}
	now, err := s.RelyingParty(tx)
	if err == nil && now != r.Passkey.RelyingParty {
		err = ErrRefused
	}
	return err
}
