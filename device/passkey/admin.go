package passkey

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/legible"
)

// Admin is a passkey that opens the dashboard. It belongs to the public host, whatever domain is set for other passkeys: so a change of
// that locks no admin out, and no page of another host uses it. It is discoverable, and has always verified its user.
type Admin struct {
	ID          string         `json:"-"`
	Name        string         `json:"name"`
	Passkey     device.Passkey `json:"passkey"`
	Attestation []byte         `json:"attestation,omitempty"` // as it was given
	ClientData  []byte         `json:"client_data,omitempty"` // what the attestation is over
	Made        time.Time      `json:"made"`
	Used        time.Time      `json:"used,omitzero"`
}

// mostAdmin bounds the passkeys of a user that open the dashboard.
const mostAdmin = 16

var (
	admins = storage.Declare(storage.Spec[Admin]{
		Name:  "passkey_admin",
		Class: storage.MFA,
		Most:  mostAdmin,
	})
	_ = admins.Unique("credential", func(a *Admin) []string { return []string{device.CredentialKey(a.Passkey.CredentialID)} })
)

// Errors of passkeys that open the dashboard.
var (
	ErrTooMany = storage.NewError(storage.Exhausted, "too many passkeys open the dashboard for this admin: remove some first")
	ErrNoAdmin = storage.NewError(storage.NotFound, "there is no such passkey")
	ErrName    = storage.NewError(storage.Invalid, "the passkey's name is not valid")

	// ErrNoRole reports somebody whom the dashboard lets in no more, or not yet: who has no role, or is blocked.
	ErrNoRole = storage.NewError(storage.Denied, "the dashboard is for admins who are not blocked: ask an owner")
)

const maxNameBytes = 255

// requireRole returns an error unless the dashboard lets a user in, as his record says in tx.
//
// Errors: ErrNoRole.
func requireRole(tx *storage.Tx, uid storage.UID) error {
	u, err := user.Get(tx, uid)
	if err == nil && u.Role != user.NoRole && !u.Blocked {
		return nil
	}
	if err == nil || errors.Is(err, user.ErrUnknown) {
		return ErrNoRole
	}
	return err
}

// AdminsOf returns the passkeys of a user that open the dashboard.
func AdminsOf(tx *storage.Tx, uid storage.UID) ([]Admin, error) {
	rows, err := admins.All(tx, uid)
	list := make([]Admin, 0, len(rows))
	for _, row := range rows {
		row.Record.ID = row.Key
		list = append(list, *row.Record)
	}
	return list, err
}

// BeginAdmin draws a challenge for a new passkey that opens the dashboard, and returns the creation options. Its caller has checked
// that the user may make one: she was invited, or has just used one. key names what the ceremony belongs to, among the user's.
//
// Errors: ErrNoDomain; ErrTooOften.
func (s *Service) BeginAdmin(tx *storage.Tx, uid storage.UID, key string) (json.RawMessage, error) {
	if s.host == "" {
		return nil, ErrNoDomain
	}
	list, err := AdminsOf(tx, uid)
	if err != nil {
		return nil, err
	}
	p, err := personOf(tx, uid, forAdmin, passkeysOfAdmins(list))
	if err != nil {
		return nil, err
	}
	return s.begin(tx, uid, registersAdmin, key, registration{
		person:       p,
		relyingParty: s.host,
		selection: protocol.AuthenticatorSelection{
			ResidentKey:        protocol.ResidentKeyRequirementRequired,
			RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification:   protocol.VerificationRequired,
		},
	})
}

func passkeysOfAdmins(list []Admin) []device.Passkey {
	passkeys := make([]device.Passkey, 0, len(list))
	for _, a := range list {
		passkeys = append(passkeys, a.Passkey)
	}
	return passkeys
}

// VerifyAdmin checks what a browser has sent for the challenge of BeginAdmin. It writes nothing.
//
// Errors: ErrResponse; ErrCeremony; ErrRefused.
func (s *Service) VerifyAdmin(ctx context.Context, uid storage.UID, key string, r Response) (*Registration, error) {
	return s.verifyRegistration(ctx, uid, registersAdmin, key, r)
}

// AddAdmin spends a registration of VerifyAdmin, and gives the user the passkey under a name. With replace, those that she had open
// nothing from then on.
//
// Errors: ErrName; ErrCeremony; ErrNoRole; ErrTooMany; device.ErrRegistered.
func (s *Service) AddAdmin(tx *storage.Tx, r *Registration, name string, replace bool, actor audit.Actor) (*Admin, error) {
	if err := legible.Require("the passkey's name", name, maxNameBytes); err != nil {
		return nil, ErrName.With("%v", err)
	}
	if r.of != registersAdmin {
		return nil, ErrCeremony // a passkey of another kind opens no dashboard
	}
	if err := requireRole(tx, r.UID); err != nil {
		return nil, err
	}
	if err := s.Registered(tx, r); err != nil {
		return nil, err
	}
	list, err := AdminsOf(tx, r.UID)
	if err != nil {
		return nil, err
	}
	if replace {
		for _, old := range list {
			err = errors.Join(err, RemoveAdmin(tx, r.UID, old.ID, actor))
		}
		list = nil
	}
	if err == nil && len(list) >= mostAdmin {
		err = ErrTooMany
	}
	if err != nil {
		return nil, err
	}
	a := &Admin{
		ID:          storage.NewUID().String(),
		Name:        name,
		Passkey:     r.Passkey,
		Attestation: r.Passkey.Attestation,
		ClientData:  r.Passkey.ClientData,
		Made:        tx.Now(),
	}
	err = admins.Insert(tx, r.UID, a.ID, a)
	if errors.Is(err, storage.ErrUnique) {
		return nil, device.ErrRegistered
	}
	return a, errors.Join(err, recordAdmin(tx, r.UID, a, audit.PasskeyAdded, actor))
}

// RemoveAdmin removes a passkey that opens the dashboard.
//
// Errors: ErrNoAdmin.
func RemoveAdmin(tx *storage.Tx, uid storage.UID, id string, actor audit.Actor) error {
	a, err := admins.Get(tx, uid, id)
	if errors.Is(err, storage.ErrNotFound) {
		return ErrNoAdmin
	}
	if err != nil {
		return err
	}
	return errors.Join(admins.Delete(tx, uid, id), recordAdmin(tx, uid, a, audit.PasskeyRemoved, actor))
}

func recordAdmin(tx *storage.Tx, uid storage.UID, a *Admin, what audit.Word, actor audit.Actor) error {
	event := audit.Event{Type: audit.PasskeyChanged, UID: uid, Facts: audit.Facts{audit.FactPasskey: what}}
	return audit.Record(tx, actor, event, audit.Detail{Device: a.Name})
}

// doorPurpose binds the sealed half of a sign-in to its use.
var doorPurpose = []byte("passkey: sign in to the dashboard")

// door is what the browser keeps of a sign-in to the dashboard. Nobody is known then, and what nobody sends writes nothing: so a flood
// of strangers pushes out no admin's challenge. That it was answered is kept among the rows of whose passkey it was.
type door struct {
	Session *webauthn.SessionData `json:"session"`
	Expires time.Time             `json:"expires"`
}

// Ask draws a challenge for any passkey that opens the dashboard. It returns the request options for the browser, and the sealed half
// of the ceremony, which the page sends back with the answer.
//
// Errors: ErrNoDomain.
func (s *Service) Ask() (options json.RawMessage, sealed string, err error) {
	if s.host == "" {
		return nil, "", ErrNoDomain
	}
	lib, err := s.library(s.host, s.origins)
	if err != nil {
		return nil, "", err
	}
	assertion, session, err := lib.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, "", err
	}
	whole, err := json.Marshal(door{Session: session, Expires: s.store.Now().Add(life)})
	if err != nil {
		return nil, "", err
	}
	box, err := s.ring.Seal(whole, doorPurpose)
	if err != nil {
		return nil, "", err
	}
	options, err = json.Marshal(assertion.Response)
	return options, base64.RawURLEncoding.EncodeToString(box), err
}

// Entry is an answer to Ask that a passkey has signed. It is spent once, by Enter.
type Entry struct {
	UID       storage.UID
	id        string // of the passkey
	answer    answer
	publicKey []byte
	challenge string
	expires   time.Time
}

// VerifyEntry checks what a browser has sent for the challenge of Ask. It writes nothing.
//
// Errors: ErrResponse; ErrCeremony; ErrRefused, also for a passkey that opens no dashboard.
func (s *Service) VerifyEntry(ctx context.Context, sealed string, r Response) (*Entry, error) {
	parsed, err := r.assertion()
	if err != nil {
		return nil, err
	}
	if len(parsed.Response.UserHandle) != handleBytes {
		return nil, ErrRefused
	}
	box, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return nil, ErrCeremony
	}
	var d *door
	var e *Entry
	var p *person
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		if d, err = s.opened(tx, box); err != nil {
			return err
		}
		e, p, err = whose(tx, parsed.Response.UserHandle, parsed.RawID)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.challenge = d.Session.Challenge
	e.expires = d.Expires
	e.answer, e.publicKey, err = s.check(p, d.Session, s.origins, parsed)
	return e, err
}

// opened opens the sealed half of a sign-in.
//
// Errors: ErrCeremony.
func (s *Service) opened(tx *storage.Tx, box []byte) (*door, error) {
	whole, err := s.ring.Unseal(tx, box, doorPurpose)
	if errors.Is(err, storage.ErrDamaged) {
		return nil, ErrCeremony
	}
	if err != nil {
		return nil, err
	}
	d := new(door)
	if err := json.Unmarshal(whole, d); err != nil {
		return nil, err
	}
	if !tx.Now().Before(d.Expires) {
		return nil, ErrCeremony
	}
	return d, nil
}

// whose returns whom a passkey that opens the dashboard belongs to, by the handle that the authenticator keeps.
//
// Errors: ErrRefused.
func whose(tx *storage.Tx, userHandle, credentialID []byte) (*Entry, *person, error) {
	row, err := byHandle.Find(tx, handleKey(userHandle))
	if errors.Is(err, storage.ErrNotFound) || err == nil && row.Key != string(forAdmin) {
		return nil, nil, ErrRefused
	}
	if err != nil {
		return nil, nil, err
	}
	list, err := AdminsOf(tx, row.UID)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range list {
		if bytes.Equal(a.Passkey.CredentialID, credentialID) {
			p := &person{handle: row.Record.Handle, credentials: []webauthn.Credential{credentialOf(a.Passkey)}}
			return &Entry{UID: row.UID, id: a.ID}, p, nil
		}
	}
	return nil, nil, ErrRefused
}

// Enter spends an answer, and returns the passkey that has signed it. What Enter refuses after it has looked at the count is told: the
// caller returns the error from the transaction as it is.
//
// Errors: ErrCeremony; ErrNoRole; ErrRefused; ErrTooOften; ErrCopied (kept); ErrBound (kept).
func (s *Service) Enter(tx *storage.Tx, e *Entry, actor audit.Actor) (*Admin, error) {
	if !tx.Now().Before(e.expires) {
		return nil, ErrCeremony
	}
	if err := requireRole(tx, e.UID); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(e.challenge))
	mark := string(spent) + base64.RawURLEncoding.EncodeToString(sum[:])
	switch used, err := ceremonies.Has(tx, e.UID, mark); {
	case err != nil:
		return nil, err
	case used:
		return nil, ErrCeremony
	}
	if err := put(tx, e.UID, "", mark, &ceremony{Expires: e.expires}); err != nil {
		return nil, err
	}
	a, err := admins.Get(tx, e.UID, e.id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !bytes.Equal(a.Passkey.PublicKey, e.publicKey) {
		return nil, ErrRefused
	}
	if err != nil {
		return nil, err
	}
	a.ID = e.id
	verdict, err := judge(tx, e.UID, &a.Passkey, e.answer, actor, audit.Detail{Device: a.Name})
	if err != nil {
		return nil, err
	}
	if verdict == nil {
		a.Used = tx.Now()
	}
	return a, errors.Join(verdict, admins.Put(tx, e.UID, a.ID, a))
}
