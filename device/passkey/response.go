package passkey

import (
	"encoding/base64"
	"encoding/json"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"tutela/device"
)

// Bounds of what a browser sends.
const (
	MaxResponseBytes   = 64 << 10
	maxCredentialBytes = 1023 // of a credential's id (Web Authentication Level 3, §4)
	minModulusBytes    = 256  // of a public key of RSA: 2048 bits
	maxKeyBytes        = 1200 // of a public key: one of RSA with 8192 bits fits
)

// transports are the words for how browsers reach an authenticator, of which a row keeps those that it was given.
//
// Source: Web Authentication Level 3, §5.8.4.
var transports = []protocol.AuthenticatorTransport{
	protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal,
}

// Response is what a browser has sent for a challenge, in the form of PublicKeyCredential.toJSON.
type Response []byte

// CredentialID returns the id of the passkey that the response says it comes from; nil when it says none. Nothing of it is verified.
func (r Response) CredentialID() []byte {
	var said struct {
		ID string `json:"id"`
	}
	if len(r) > MaxResponseBytes || json.Unmarshal(r, &said) != nil {
		return nil
	}
	id, err := base64.RawURLEncoding.DecodeString(said.ID)
	if err != nil {
		return nil
	}
	return id
}

// registration reads a response to creation options.
//
// Errors: ErrResponse.
func (r Response) registration() (*protocol.ParsedCredentialCreationData, error) {
	if len(r) > MaxResponseBytes {
		return nil, ErrResponse
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(r)
	if err != nil {
		return nil, ErrResponse
	}
	data := parsed.Response.AttestationObject.AuthData.AttData
	if len(data.CredentialID) == 0 || len(data.CredentialID) > maxCredentialBytes || !verifies(data.CredentialPublicKey) {
		return nil, ErrResponse
	}
	return parsed, nil
}

// verifies reports whether signatures can be verified by a public key. A passkey with any other would be registered, and answer
// nothing.
func verifies(encoded []byte) bool {
	if len(encoded) > maxKeyBytes {
		return false
	}
	key, err := webauthncose.ParsePublicKey(encoded)
	if rsa, ok := key.(webauthncose.RSAPublicKeyData); ok && len(rsa.Modulus) < minModulusBytes {
		return false
	}
	return err == nil
}

// assertion reads a response to request options.
//
// Errors: ErrResponse.
func (r Response) assertion() (*protocol.ParsedCredentialAssertionData, error) {
	if len(r) > MaxResponseBytes {
		return nil, ErrResponse
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(r)
	if err != nil || len(parsed.RawID) > maxCredentialBytes {
		return nil, ErrResponse
	}
	return parsed, nil
}

// registered returns the passkey that a verified response has registered.
func registered(parsed *protocol.ParsedCredentialCreationData, relyingParty string) device.Passkey {
	object := &parsed.Response.AttestationObject
	flags := object.AuthData.Flags
	p := device.Passkey{
		CredentialID:   object.AuthData.AttData.CredentialID,
		PublicKey:      object.AuthData.AttData.CredentialPublicKey,
		RelyingParty:   relyingParty,
		AAGUID:         object.AuthData.AttData.AAGUID,
		Attachment:     string(parsed.AuthenticatorAttachment),
		Format:         format(object.Format),
		SignCount:      object.AuthData.Counter,
		UserVerified:   flags.HasUserVerified(),
		BackupEligible: flags.HasBackupEligible(),
		BackedUp:       flags.HasBackupState(),
		Attestation:    parsed.Raw.AttestationResponse.AttestationObject,
		ClientData:     parsed.Raw.AttestationResponse.ClientDataJSON,
	}
	for _, t := range transports {
		if slices.Contains(parsed.Response.Transports, t) {
			p.Transports = append(p.Transports, string(t))
		}
	}
	if props := parsed.ClientExtensionResults.CredProps; props != nil {
		p.Discoverable = outcome(props.RK)
	}
	if prf := parsed.ClientExtensionResults.PRF; prf != nil {
		p.PRF = outcome(prf.Enabled)
	}
	return p
}

// formats are the formats of attestation that are known.
//
// Source: IANA, "WebAuthn Attestation Statement Format Identifiers".
var formats = []protocol.AttestationFormat{
	protocol.AttestationFormatNone, protocol.AttestationFormatPacked, protocol.AttestationFormatTPM, protocol.AttestationFormatAndroidKey,
	protocol.AttestationFormatAndroidSafetyNet, protocol.AttestationFormatFIDOUniversalSecondFactor, protocol.AttestationFormatApple,
	protocol.AttestationFormatCompound,
}

// format returns the format of an attestation; "" for one that nobody knows.
func format(given string) string {
	if slices.Contains(formats, protocol.AttestationFormat(given)) {
		return given
	}
	return ""
}

func outcome(is *bool) device.Outcome {
	switch {
	case is == nil:
		return device.OutcomeUnknown
	case *is:
		return device.OutcomeYes
	default:
		return device.OutcomeNo
	}
}
