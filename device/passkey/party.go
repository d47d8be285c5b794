package passkey

import (
	"fmt"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"

	"tutela/device"
	"tutela/storage"
	"tutela/storage/setting"
)

// The settings of passkeys.
var (
	relyingParty = setting.Text("passkey.rp_id",
		"the domain that passkeys belong to; it counts only when the public URL's host is it, or lies below it, and is that host when empty",
		"a domain such as example.com", checkDomain).Guard(mayMove)

	verification = setting.OneOf("passkey.user_verification",
		"whether a security key also asks for its PIN or a fingerprint; passkeys of phones and computers always do",
		string(protocol.VerificationPreferred), string(protocol.VerificationRequired), string(protocol.VerificationDiscouraged))

	attestationPolicy = setting.OneOf("passkey.attestation",
		"whether a new passkey is asked which model of authenticator made it, and must prove what it says",
		AttestationNone, AttestationAny)

	clonePolicy = setting.OneOf("passkey.clone",
		"what becomes of a login by a passkey whose count says that there may be a copy of it", CloneRefuse, CloneAccept)
)

// The values of the policies.
const (
	AttestationNone = "none" // it is not asked, and what it says is kept and not looked at
	AttestationAny  = "any"  // it is asked, and what it says must be signed as its format demands

	CloneRefuse = "refuse"
	CloneAccept = "accept" // its person and the admins are told
)

// ErrInUse reports a change of the relying party that would lock passkeys out.
var ErrInUse = storage.NewError(storage.Conflict,
	"there are passkeys, and none of them would work under another domain: force the change if that is meant")

// checkDomain reads a domain.
func checkDomain(typed string) (string, error) {
	domain := strings.ToLower(strings.TrimSuffix(strings.TrimSpace(typed), "."))
	if !isDomain(domain) || !strings.Contains(domain, ".") && domain != "localhost" {
		return "", fmt.Errorf("%q is none", typed)
	}
	return domain, nil
}

// mayMove guards the relying party: passkeys work only under the one for which they were made.
//
// Errors: ErrInUse.
func mayMove(tx *storage.Tx, from, to string) error {
	if from == to {
		return nil
	}
	some, err := device.HasPasskeys(tx)
	if err == nil && some {
		err = ErrInUse
	}
	return err
}

// RelyingParty returns the domain that new passkeys belong to: the one that is set, when the public host is it or lies below it,
// else the public host.
//
// Errors: ErrNoDomain.
func (s *Service) RelyingParty(tx *storage.Tx) (string, error) {
	if s.host == "" {
		return "", ErrNoDomain
	}
	set, err := relyingParty.Get(tx)
	if err != nil || !below(s.host, set) {
		set = s.host
	}
	return set, err
}

// below reports whether a host is a domain, or lies below it.
func below(host, domain string) bool {
	return domain != "" && (host == domain || strings.HasSuffix(host, "."+domain))
}

// accepts returns the origins of which the pages may answer for a relying party, of those that an answer names: the public URLs, and
// origin when it is one of a client that lies under the relying party.
func (s *Service) accepts(tx *storage.Tx, relyingParty, origin string) ([]string, error) {
	if s.registered == nil {
		return s.origins, nil
	}
	named, host := originOf(origin)
	if named != origin || !below(host, relyingParty) {
		return s.origins, nil
	}
	is, err := s.registered(tx, origin)
	if err != nil || !is {
		return s.origins, err
	}
	return append([]string{origin}, s.origins...), nil
}

// RelatedOrigins returns the origins whose pages may use the installation's passkeys, of the public URLs and of registered ones. A
// browser asks for them at /.well-known/webauthn of the relying party.
//
// Source: Web Authentication Level 3, §5.11 "Using Web Authentication across related origins".
func (s *Service) RelatedOrigins(tx *storage.Tx, registered []string) ([]string, error) {
	relyingParty, err := s.RelyingParty(tx)
	if err != nil {
		return nil, err
	}
	origins := append([]string{}, s.origins...)
	for _, origin := range registered {
		if _, host := originOf(origin); below(host, relyingParty) {
			origins = append(origins, origin)
		}
	}
	return origins, nil
}

// userVerification returns what the setting asks of passkeys of a type. What a phone or computer keeps always asks its user.
func userVerification(tx *storage.Tx, typ device.Type) (protocol.UserVerificationRequirement, error) {
	if typ == device.TypePlatform {
		return protocol.VerificationRequired, nil
	}
	set, err := verification.Get(tx)
	return protocol.UserVerificationRequirement(set), err
}
