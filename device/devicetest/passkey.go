package devicetest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/descope/virtualwebauthn"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"tutela/device/passkey"
	"tutela/storage/storagetest/check"
)

// Authenticator is an authenticator with one passkey, and the browser before it.
type Authenticator struct {
	virtualwebauthn.Authenticator
	Credential virtualwebauthn.Credential
	Party      virtualwebauthn.RelyingParty

	Forged     bool           // the signature of its attestation is of something else
	Format     string         // of the attestation; "": packed, signed by the passkey itself
	Extensions map[string]any // clientExtensionResults
	Attachment string         // authenticatorAttachment

	t testing.TB
}

// NewAuthenticator makes an authenticator whose browser shows a page of the first public URL. It verifies its user, makes passkeys
// that cannot be copied, and does not count.
func NewAuthenticator(t testing.TB) *Authenticator {
	t.Helper()
	return &Authenticator{
		Authenticator: virtualwebauthn.NewAuthenticator(),
		Credential:    newCredential(),
		Party:         virtualwebauthn.RelyingParty{ID: "localhost", Origin: PublicURL},
		t:             t,
	}
}

// newCredential makes a passkey. The library writes a coordinate of its key without leading zeros, which no authenticator does: such a
// key is drawn again.
func newCredential() virtualwebauthn.Credential {
	const whole = 77 // bytes of a key with two coordinates of 32
	for {
		made := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
		if len(made.Key.AttestationData()) == whole {
			return made
		}
	}
}

// Create answers creation options.
func (a *Authenticator) Create(options []byte) passkey.Response {
	a.t.Helper()
	parsed, err := virtualwebauthn.ParseAttestationOptions(string(options))
	check.Must(a.t, err)
	a.Options.UserHandle = []byte(parsed.UserID)
	made := virtualwebauthn.CreateAttestationResponse(a.Party, a.Authenticator, a.Credential, *parsed)
	return a.complete(made, a.attested)
}

// attested puts the attestation into its format.
func (a *Authenticator) attested(response map[string]any) {
	if a.Format == "" {
		return
	}
	encoded, _ := response["attestationObject"].(string)
	object, err := base64.RawURLEncoding.DecodeString(encoded)
	check.Must(a.t, err)
	var members map[string]any
	check.Must(a.t, webauthncbor.Unmarshal(object, &members))
	members["fmt"] = a.Format
	if a.Format == "none" {
		members["attStmt"] = map[string]any{}
	}
	if statement, ok := members["attStmt"].(map[any]any); ok && a.Forged {
		signed, err := a.Credential.Key.Sign(make([]byte, sha256.Size))
		check.Must(a.t, err)
		statement["sig"] = signed
	}
	object, err = webauthncbor.Marshal(members)
	check.Must(a.t, err)
	response["attestationObject"] = base64.RawURLEncoding.EncodeToString(object)
}

// Get answers request options.
func (a *Authenticator) Get(options []byte) passkey.Response {
	a.t.Helper()
	parsed, err := virtualwebauthn.ParseAssertionOptions(string(options))
	check.Must(a.t, err)
	return a.complete(virtualwebauthn.CreateAssertionResponse(a.Party, a.Authenticator, a.Credential, *parsed), func(map[string]any) {})
}

// complete adds what a browser adds to an authenticator's answer.
func (a *Authenticator) complete(made string, change func(response map[string]any)) passkey.Response {
	a.t.Helper()
	var whole map[string]any
	check.Must(a.t, json.Unmarshal([]byte(made), &whole))
	response, _ := whole["response"].(map[string]any)
	change(response)
	whole["clientExtensionResults"] = a.Extensions
	if a.Extensions == nil {
		whole["clientExtensionResults"] = map[string]any{}
	}
	if a.Attachment != "" {
		whole["authenticatorAttachment"] = a.Attachment
	}
	encoded, err := json.Marshal(whole)
	check.Must(a.t, err)
	return encoded
}
