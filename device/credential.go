package device

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// Passkey is the part of a WebAuthn enrollment: the credential as its authenticator registered it, and as its assertions have
// changed it since.
//
// Source: Web Authentication Level 3, §4 "Credential Record".
type Passkey struct {
	CredentialID   []byte    `json:"credential_id"`
	PublicKey      []byte    `json:"public_key"` // a COSE key
	RelyingParty   string    `json:"relying_party"`
	AAGUID         []byte    `json:"aaguid,omitempty"`        // the authenticator's model
	Transports     []string  `json:"transports,omitempty"`    // by which browsers reach it
	Attachment     string    `json:"attachment,omitempty"`    // "platform" or "cross-platform", as the browser said
	Format         string    `json:"format,omitempty"`        // of its attestation, as it was given
	SignCount      uint32    `json:"sign_count,omitempty"`    // of the last assertion that advanced it
	UserVerified   bool      `json:"user_verified,omitempty"` // the authenticator has verified its user at registration
	BackupEligible bool      `json:"backup_eligible,omitempty"`
	BackedUp       bool      `json:"backed_up,omitempty"`
	PRF            Outcome   `json:"prf,omitempty"`          // whether it can derive secrets
	Discoverable   Outcome   `json:"discoverable,omitempty"` // whether it is found without its id
	AddedBy        AddedBy   `json:"added_by,omitempty"`
	CountsFrom     time.Time `json:"counts_from,omitzero"` // when it begins to count as the required proof for adding another (CountingPasskeys); zero: at once
	Warned         time.Time `json:"warned,omitzero"`      // when its user was last told that it may have a copy
	Attestation    []byte    `json:"-"`                    // the attestation object; in a row of its own
	ClientData     []byte    `json:"-"`                    // the client data that the attestation signs
}

// Outcome is the result of an extension that a registration has asked for.
type Outcome string

// The outcomes.
const (
	OutcomeUnknown Outcome = "" // neither browser nor authenticator has said
	OutcomeYes     Outcome = "yes"
	OutcomeNo      Outcome = "no"
)

// AddedBy is the proof by which a passkey was added.
type AddedBy string

// The proofs. The zero value means that it is not known.
const (
	AddedAtSetup    AddedBy = "setup" // the user had nothing enrolled, or an admin's ticket let her
	AddedByPasskey  AddedBy = "passkey"
	AddedByRecovery AddedBy = "recovery_code"
	AddedByNumber   AddedBy = "number" // an approval
	AddedByOTP      AddedBy = "otp"
)

// probation is how long a passkey does not count as a required proof, if it was added by a proof that a page in the
// middle can relay. Until then the user's earlier factors can remove it.
const probation = 7 * 24 * time.Hour

// IsPasskey reports whether a type is that of a passkey.
func (t Type) IsPasskey() bool { return t == TypeRoaming || t == TypePlatform }

// Passkeys returns the passkeys in use that authenticators hold for a relying party.
func (s Set) Passkeys(relyingParty string) Set {
	return s.where(func(e *Enrollment) bool {
		return e.Type.IsPasskey() && e.Answers() && e.WebAuthn.RelyingParty == relyingParty
	})
}

// Survives reports whether the enrollment is a passkey that outlives the loss of a phone: a security key, or one that is copied
// to other devices.
func (e *Enrollment) Survives() bool {
	return e.Type.IsPasskey() && e.Answers() && (e.Type == TypeRoaming || e.WebAuthn.BackedUp)
}

// countsFrom returns when a passkey that is added now begins to count (see CountingPasskeys): at once if the proof that
// added it cannot be relayed, else after its probation. A passkey that was added by another passkey counts from the
// same time as that one; the caller of BindPasskey passes it on.
//
// Source: login-api.md §2 "An enrolment token".
func countsFrom(by AddedBy, now time.Time) time.Time {
	switch by {
	case AddedAtSetup, AddedByPasskey, AddedByRecovery:
		return time.Time{}
	default:
		return now.Add(probation)
	}
}

// CredentialKey returns a short text that stands for a credential's id in keys, whose length has a bound.
func CredentialKey(credentialID []byte) string {
	sum := sha256.Sum256(credentialID)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// credentialIndex returns the unique index value by which nobody else can register the same credential.
func (e *Enrollment) credentialIndex() []string {
	if len(e.WebAuthn.CredentialID) == 0 {
		return nil
	}
	return []string{CredentialKey(e.WebAuthn.CredentialID)}
}

// anyPasskey is the only value of the index that shows whether anybody has a passkey.
const anyPasskey = "any"

func (e *Enrollment) passkeyIndex() []string {
	if len(e.WebAuthn.CredentialID) == 0 {
		return nil
	}
	return []string{anyPasskey}
}

// HasPasskeys reports whether anybody has a passkey, suspended ones included.
func HasPasskeys(tx *storage.Tx) (bool, error) {
	rows, err := byPasskey.Find(tx, anyPasskey, 1)
	return len(rows) > 0, err
}

// attestation is the attestation that an authenticator gave when it registered a passkey, unchanged.
type attestation struct {
	Object     []byte `json:"object"`
	ClientData []byte `json:"client_data"`
}

var attestations = storage.Declare(storage.Spec[attestation]{Name: "passkey_attestation", Class: storage.MFA, Most: MostEnrollments})

// AttestationOf returns the attestation object of a passkey and the client data that it signs. Both are nil for an
// enrollment without one.
func AttestationOf(tx *storage.Tx, uid storage.UID, id string) (object, clientData []byte, err error) {
	a, err := attestations.Get(tx, uid, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return a.Object, a.ClientData, nil
}

// endPasskey erases what a retired enrollment no longer needs of its passkey. Its id can be registered again.
func (e *Enrollment) endPasskey(tx *storage.Tx, uid storage.UID) error {
	if !e.Type.IsPasskey() {
		return nil
	}
	e.WebAuthn = Passkey{}
	return attestations.Delete(tx, uid, e.ID)
}

// ErrRegistered reports a passkey that somebody has registered already.
var ErrRegistered = storage.NewError(storage.Conflict, "this passkey is registered already")

// BindPasskey makes an enrollment of a passkey for a user and returns it. The caller has checked, in the same
// transaction, that the passkey may be added. An empty name is replaced by a name for the type. p.CountsFrom is the
// earliest time; probation may make it later.
//
// Errors: ErrRegistered; ErrTooMany.
func (s *Service) BindPasskey(tx *storage.Tx, uid storage.UID, typ Type, name string, p Passkey, b Binding, actor audit.Actor) (*Enrollment, error) {
	r := b.orNew()
	tx.Count(Enrollments, string(b.Via))
	// It has no app's key and names no phone, so it replaces no other enrollment; replace only checks the bound.
	if err := replace(tx, uid, Installation{}, b, r.ID, actor); err != nil {
		return nil, err
	}
	if name == "" {
		name = passkeyNames[typ]
	}
	if from := countsFrom(p.AddedBy, tx.Now()); from.After(p.CountsFrom) {
		p.CountsFrom = from
	}
	e := &Enrollment{
		ID:       r.ID,
		Type:     typ,
		Name:     name,
		Status:   Active,
		Enrolled: tx.Now(),
		Changed:  tx.Now(),
		Via:      b.Via,
		WebAuthn: p,
	}
	tx.Wake(uid) // a page may wait for it
	err := enrollments.Insert(tx, uid, e.ID, e)
	if errors.Is(err, storage.ErrUnique) {
		return nil, ErrRegistered
	}
	return e, errors.Join(err,
		attestations.Put(tx, uid, e.ID, &attestation{Object: p.Attestation, ClientData: p.ClientData}),
		audit.Record(tx, actor, audit.Event{Type: audit.EnrollComplete, UID: uid, Facts: audit.Facts{audit.FactFactor: audit.Word(e.Type)}}, e.Detail()))
}

// passkeyNames are the names of passkeys that nobody has named.
var passkeyNames = map[Type]string{
	TypeRoaming:  "Security key",
	TypePlatform: "Passkey",
}

// OfPasskeys returns the enrollments that are passkeys, whatever their status.
func (s Set) OfPasskeys() Set { return s.where(func(e *Enrollment) bool { return e.Type.IsPasskey() }) }
