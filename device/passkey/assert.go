package passkey

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"tutela/device"
	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
)

// Usable returns the enrollments of a user whose passkeys let her in here now: those in use, made for the relying party in force, of
// types that are not switched off.
func (s *Service) Usable(tx *storage.Tx, set device.Set) (device.Set, error) {
	relyingParty, err := s.RelyingParty(tx)
	if errors.Is(err, ErrNoDomain) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var usable device.Set
	for _, e := range set.Passkeys(relyingParty) {
		enabled, err := device.FactorOn(tx, device.FactorOf(e.Type))
		if err != nil {
			return nil, err
		}
		if enabled {
			usable = append(usable, e)
		}
	}
	return usable, nil
}

// Begin draws a challenge for the passkeys of a user that an enrollment in set has, and returns the request options for her browser
// (PublicKeyCredentialRequestOptions, as JSON). key names what the ceremony belongs to, among the user's.
//
// Errors: ErrNone; ErrTooOften.
func (s *Service) Begin(tx *storage.Tx, uid storage.UID, key string, set device.Set) (json.RawMessage, error) {
	usable, err := s.Usable(tx, set)
	if err != nil {
		return nil, err
	}
	if len(usable) == 0 {
		return nil, ErrNone
	}
	verify, err := strictest(tx, usable)
	if err != nil {
		return nil, err
	}
	p, err := personOf(tx, uid, forLogin, passkeysOf(usable))
	if err != nil {
		return nil, err
	}
	lib, err := s.library(usable[0].WebAuthn.RelyingParty, s.origins)
	if err != nil {
		return nil, err
	}
	options, session, err := lib.BeginLogin(p, webauthn.WithUserVerification(verify))
	if err != nil {
		return nil, err
	}
	if err := keep(tx, uid, asserts, key, session, ""); err != nil {
		return nil, err
	}
	return json.Marshal(options.Response)
}

// strictest returns the user verification that one challenge for all of these passkeys asks for. Whether the passkey that answers has
// verified its user as its type demands is looked at then.
func strictest(tx *storage.Tx, usable device.Set) (protocol.UserVerificationRequirement, error) {
	ofKeys, err := userVerification(tx, device.TypeRoaming)
	platform := 0
	for _, e := range usable {
		if e.Type == device.TypePlatform {
			platform++
		}
	}
	switch {
	case platform == len(usable):
		return protocol.VerificationRequired, err
	case platform > 0 && ofKeys == protocol.VerificationDiscouraged:
		return protocol.VerificationPreferred, err
	}
	return ofKeys, err
}

// Assertion is an answer that a passkey has signed. It is spent once, by Accept.
type Assertion struct {
	UID       storage.UID
	answer    answer
	publicKey []byte
	key       string
	challenge string
}

// answer is the content of an assertion.
type answer struct {
	credentialID []byte
	verified     bool // it has verified its user
	eligible     bool
	backedUp     bool
	count        uint32
}

// Verify checks what a browser has sent for the challenge of Begin. It writes nothing.
//
// Errors: ErrResponse; ErrCeremony; ErrRefused.
//
// Source: Web Authentication Level 3, §7.2.
func (s *Service) Verify(ctx context.Context, uid storage.UID, key string, r Response) (*Assertion, error) {
	parsed, err := r.assertion()
	if err != nil {
		return nil, err
	}
	var session *webauthn.SessionData
	var origins []string
	var p *person
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		if _, session, err = find(tx, uid, asserts, key); err != nil {
			return err
		}
		set, err := device.All(tx, uid)
		if err != nil {
			return err
		}
		p = &person{handle: session.UserID}
		for _, e := range set.Passkeys(session.RelyingPartyID) {
			p.credentials = append(p.credentials, credentialOf(e.WebAuthn))
		}
		origins, err = s.accepts(tx, session.RelyingPartyID, parsed.Response.CollectedClientData.Origin)
		return err
	})
	if err != nil {
		return nil, err
	}
	// Of what was asked for, one may have been removed meanwhile: the others still answer.
	session.AllowedCredentialIDs = slices.DeleteFunc(session.AllowedCredentialIDs, func(id []byte) bool { return p.find(id) == nil })
	a := &Assertion{UID: uid, key: key, challenge: session.Challenge}
	a.answer, a.publicKey, err = s.check(p, session, origins, parsed)
	return a, err
}

// find returns the person's passkey with an id; nil when she has none.
func (p *person) find(id []byte) *webauthn.Credential {
	for i := range p.credentials {
		if bytes.Equal(p.credentials[i].ID, id) {
			return &p.credentials[i]
		}
	}
	return nil
}

// check checks the signature of an answer and all that it stands for, but for what the row of the passkey rules: its count, and
// whether it can be copied.
//
// Errors: ErrRefused.
func (s *Service) check(p *person, session *webauthn.SessionData, origins []string, parsed *protocol.ParsedCredentialAssertionData) (answer, []byte, error) {
	used := p.find(parsed.RawID)
	if used == nil {
		return answer{}, nil, ErrRefused
	}
	flags := parsed.Response.AuthenticatorData.Flags
	// The library refuses an answer that can be copied where the registration could not, and iCloud makes such answers.
	used.Flags.BackupEligible = flags.HasBackupEligible()
	lib, err := s.library(session.RelyingPartyID, origins)
	if err != nil {
		return answer{}, nil, err
	}
	if len(session.UserID) == 0 {
		find := func([]byte, []byte) (webauthn.User, error) { return p, nil }
		_, _, err = lib.ValidatePasskeyLogin(find, *session, parsed)
	} else {
		_, err = lib.ValidateLogin(p, *session, parsed)
	}
	if err != nil {
		return answer{}, nil, refused(err)
	}
	return answer{
		credentialID: parsed.RawID,
		verified:     flags.HasUserVerified(),
		eligible:     flags.HasBackupEligible(),
		backedUp:     flags.HasBackupState(),
		count:        parsed.Response.AuthenticatorData.Counter,
	}, used.PublicKey, nil
}

// Accept spends an assertion, and returns the enrollment whose passkey has signed it, with what the assertion has changed of it. Its
// caller writes the use down (LastAuth). What Accept refuses after it has looked at the count is told to the user's phones and to the
// log: the caller returns the error from the transaction as it is, so that this is kept.
//
// Errors: ErrCeremony; ErrRefused; ErrCopied (kept); ErrBound (kept).
func (s *Service) Accept(tx *storage.Tx, a *Assertion, actor audit.Actor) (*device.Enrollment, error) {
	if err := spend(tx, a.UID, asserts, a.key, a.challenge); err != nil {
		return nil, err
	}
	set, err := device.All(tx, a.UID)
	if err != nil {
		return nil, err
	}
	usable, err := s.Usable(tx, set)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(usable, func(e *device.Enrollment) bool { return bytes.Equal(e.WebAuthn.CredentialID, a.answer.credentialID) })
	if i < 0 || !bytes.Equal(usable[i].WebAuthn.PublicKey, a.publicKey) {
		return nil, ErrRefused
	}
	e := usable[i]
	verify, err := userVerification(tx, e.Type)
	if err != nil {
		return nil, err
	}
	if verify == protocol.VerificationRequired && !a.answer.verified {
		return nil, ErrRefused
	}
	verdict, err := judge(tx, a.UID, &e.WebAuthn, a.answer, actor, e.Detail())
	if err != nil {
		return nil, err
	}
	if err := device.Put(tx, a.UID, e); err != nil {
		return nil, err
	}
	return e, verdict
}

// warnAgain is how long a user is not told again that her passkey may have a copy.
const warnAgain = 24 * time.Hour

// judge compares an answer with what is known of its passkey, and takes what is new. verdict says why the answer is refused; it is
// kept. The count goes back to 0 on no passkey that counts.
//
// Source: Web Authentication Level 3, §6.1.1 (signature counter), §6.1.3 (backup state), §7.2 steps 19 to 22.
func judge(tx *storage.Tx, uid storage.UID, p *device.Passkey, is answer, actor audit.Actor, detail audit.Detail) (verdict, err error) {
	event := func(what audit.Word) error {
		return audit.Record(tx, actor, audit.Event{
			Type:  audit.PasskeyChanged,
			UID:   uid,
			Facts: audit.Facts{audit.FactPasskey: what},
		}, detail)
	}
	if p.BackupEligible && !is.eligible {
		return storage.Kept(ErrBound), event(audit.PasskeyBound)
	}
	if is.count <= p.SignCount && (is.count != 0 || p.SignCount != 0) {
		policy, err := clonePolicy.Get(tx)
		if err != nil {
			return nil, err
		}
		if policy == CloneRefuse {
			verdict = storage.Kept(ErrCopied)
		}
		if warned := p.Warned; warned.IsZero() || !tx.Now().Before(warned.Add(warnAgain)) {
			p.Warned = tx.Now()
			err = errors.Join(event(audit.PasskeyCopied), recovery.Notify(tx, uid, recovery.NoticePayload{Notice: recovery.NoticePasskeyCopied}))
		}
		if verdict != nil || err != nil {
			return verdict, err
		}
	} else {
		p.SignCount = is.count
	}
	if !p.BackupEligible && is.eligible {
		p.BackupEligible = true
		err = event(audit.PasskeyCopyable)
	}
	p.BackedUp = is.backedUp
	return nil, err
}
