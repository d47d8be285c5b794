package passkey

import (
	"crypto/rand"
	"encoding/base64"
	"errors"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
)

// kind is what passkeys are for. The two kinds have user handles of their own: an authenticator keeps one discoverable passkey of a
// handle, and would put one kind in the place of the other.
type kind string

const (
	forLogin kind = "login" // of enrollments
	forAdmin kind = "admin" // that open the dashboard
)

// handle is the random id by which authenticators know a user.
//
// Source: Web Authentication Level 3, §14.6.1 "User Handle Contents".
type handle struct {
	Handle []byte `json:"handle"`
}

var (
	handles = storage.Declare(storage.Spec[handle]{
		Name:  "passkey_handle",
		Class: storage.MFA,
		Most:  2,
	})
	byHandle = handles.Unique("handle", func(h *handle) []string { return []string{handleKey(h.Handle)} })
)

const handleBytes = 32

func handleKey(h []byte) string { return base64.RawURLEncoding.EncodeToString(h) }

// handleOf returns the user's handle of a kind. If there is none it makes one.
func handleOf(tx *storage.Tx, uid storage.UID, k kind) ([]byte, error) {
	h, err := handles.Get(tx, uid, string(k))
	if err == nil {
		return h.Handle, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	h = &handle{Handle: make([]byte, handleBytes)}
	_, _ = rand.Read(h.Handle) // never fails: see crypto/rand
	return h.Handle, handles.Put(tx, uid, string(k), h)
}

// person is a user as the library wants her.
type person struct {
	handle      []byte
	name        string
	display     string
	credentials []webauthn.Credential
}

// WebAuthnID returns the user's handle.
func (p *person) WebAuthnID() []byte { return p.handle }

// WebAuthnName returns what tells the user's accounts apart.
func (p *person) WebAuthnName() string { return p.name }

// WebAuthnDisplayName returns the user's name.
func (p *person) WebAuthnDisplayName() string { return p.display }

// WebAuthnCredentials returns the passkeys that may answer.
func (p *person) WebAuthnCredentials() []webauthn.Credential { return p.credentials }

// personOf returns a user with her passkeys of a kind.
func personOf(tx *storage.Tx, uid storage.UID, k kind, passkeys []device.Passkey) (*person, error) {
	u, err := user.Get(tx, uid)
	if err != nil {
		return nil, err
	}
	p := &person{name: u.ID, display: u.ID}
	if u.Email != "" {
		p.name = u.Email
	}
	if u.Name != "" {
		p.display = u.Name
	}
	for _, one := range passkeys {
		p.credentials = append(p.credentials, credentialOf(one))
	}
	p.handle, err = handleOf(tx, uid, k)
	return p, err
}

// credentialOf returns a passkey as the library wants it.
func credentialOf(p device.Passkey) webauthn.Credential {
	c := webauthn.Credential{
		ID:        p.CredentialID,
		PublicKey: p.PublicKey,
		Flags: webauthn.CredentialFlags{
			BackupEligible: p.BackupEligible,
			BackupState:    p.BackedUp,
			UserVerified:   p.UserVerified,
		},
		Authenticator: webauthn.Authenticator{AAGUID: p.AAGUID, SignCount: p.SignCount},
	}
	for _, t := range p.Transports {
		c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
	}
	return c
}

// passkeysOf returns the passkeys of enrollments.
func passkeysOf(set device.Set) []device.Passkey {
	list := make([]device.Passkey, 0, len(set))
	for _, e := range set {
		list = append(list, e.WebAuthn)
	}
	return list
}
