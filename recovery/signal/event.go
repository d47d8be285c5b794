package signal

import (
	"slices"
	"strings"

	"tutela/storage/audit"
)

// The types of events that receivers get. Sources: CAEP 1.0, RISC Profile 1.0; the last is ours.
const (
	CredentialChange = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
	SessionRevoked   = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	AccountDisabled  = "https://schemas.openid.net/secevent/risc/event-type/account-disabled"
	AccountEnabled   = "https://schemas.openid.net/secevent/risc/event-type/account-enabled"
	ChangeRequired   = "https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required"
	RecoveryBegun    = "https://schemas.openid.net/secevent/risc/event-type/recovery-activated"
	MFAReset         = "urn:tutela:params:secevent:mfa-reset"
)

// The types of events about a stream itself. A receiver need not ask for them. Source: SSF 1.0, "Verification", "Stream
// Updated Event".
const (
	Verification  = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	StreamUpdated = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
)

// Supported are the types that receivers can ask for.
func Supported() []string {
	return []string{CredentialChange, SessionRevoked, AccountDisabled, AccountEnabled, ChangeRequired, RecoveryBegun, MFAReset}
}

// Types of credentials and of their changes. Source: CAEP 1.0, "Credential Change"; those that it does not have are ours.
const (
	credentialApp      = "app"
	credentialRoaming  = "fido2-roaming"
	credentialPlatform = "fido2-platform"
	credentialPasskey  = "passkey" // that opens the dashboard: of which kind is not known
	credentialCode     = "recovery-code"

	created = "create"
	updated = "update"
	revoked = "revoke"
	deleted = "delete"
)

// said is what a SET says happened.
type said struct {
	typ        string
	change     string // of a credential
	credential string
}

// rule is what receivers are told of one type of event. Facts and words that a rule names must be those of the event; a fact with
// the word "" must not be there.
type rule struct {
	of   audit.Type
	when audit.Facts
	says []said
}

// rules are all that receivers are told. An event that no rule is for is told to nobody.
//
// docs/shared-signals.md has the same table for people.
var rules = []rule{
	{audit.EnrollComplete, nil, []said{{CredentialChange, created, ""}}},
	{audit.Unenroll, nil, []said{{CredentialChange, deleted, ""}}},
	{audit.UpdateDevice, audit.Facts{audit.FactStatus: audit.StatusSuspended}, []said{{CredentialChange, revoked, ""}}},
	{audit.UpdateDevice, audit.Facts{audit.FactStatus: audit.StatusActive}, []said{{CredentialChange, created, ""}}},
	{audit.PasskeyChanged, audit.Facts{audit.FactPasskey: audit.PasskeyAdded}, []said{{CredentialChange, created, credentialPasskey}}},
	{audit.PasskeyChanged, audit.Facts{audit.FactPasskey: audit.PasskeyRemoved}, []said{{CredentialChange, deleted, credentialPasskey}}},
	{audit.RecoverySucceed, nil, []said{{RecoveryBegun, "", ""}, {CredentialChange, updated, credentialCode}}},
	{audit.CodeReplaced, nil, []said{{CredentialChange, updated, credentialCode}}},
	{audit.ManagementCall, audit.Facts{audit.FactCall: audit.CallRegenerateCode}, []said{{CredentialChange, updated, credentialCode}}},
	{audit.RestoreStarted, nil, []said{{RecoveryBegun, "", ""}}},
	{audit.DeviceMoved, audit.Facts{audit.FactWhy: audit.WhyRestored}, []said{{CredentialChange, deleted, credentialApp}}},
	{audit.ManagementCall, audit.Facts{audit.FactCall: audit.CallBlock}, []said{{AccountDisabled, "", ""}}},
	{audit.ManagementCall, audit.Facts{audit.FactCall: audit.CallUnblock}, []said{{AccountEnabled, "", ""}}},
	{audit.ManagementCall, audit.Facts{audit.FactCall: audit.CallForgetBrowsers}, []said{{SessionRevoked, "", ""}}},
	{audit.Reset, nil, []said{{MFAReset, "", ""}, {ChangeRequired, "", ""}}},
}

// saidOf returns what receivers get for an event.
func saidOf(e audit.Event) (list []said) {
	for _, r := range rules {
		if r.fits(e) {
			list = append(list, r.says...)
		}
	}
	return list
}

func (r rule) fits(e audit.Event) bool {
	if r.of != e.Type {
		return false
	}
	for fact, word := range r.when {
		if e.Facts[fact] != word {
			return false
		}
	}
	return true
}

// typesFor are the types of the log's events of which something is told in a type of SETs.
func typesFor(typ string) (list []audit.Type) {
	for _, r := range rules {
		if slices.ContainsFunc(r.says, func(s said) bool { return s.typ == typ }) {
			list = append(list, r.of)
		}
	}
	return list
}

// Delivered are the types that a stream is told of: of those that it asks for, those that there are.
func (s *Stream) Delivered() []string {
	if s.Requested == nil {
		return Supported()
	}
	list := []string{}
	for _, t := range Supported() {
		if slices.Contains(s.Requested, t) {
			list = append(list, t)
		}
	}
	return list
}

// content is the value of the one member of a SET's events.
type content struct {
	Change     string `json:"change_type,omitempty"`
	Credential string `json:"credential_type,omitempty"`
	By         string `json:"initiating_entity,omitempty"` // CAEP 1.0, "Event-Specific Claims"
	At         int64  `json:"event_timestamp,omitempty"`   // seconds since 1970
}

// contentOf returns the content of the SET for an event.
func (s said) contentOf(e audit.Event) content {
	c := content{
		Change:     s.change,
		Credential: s.credential,
		At:         e.Time.Unix(),
	}
	if strings.Contains(s.typ, "/caep/") || s.typ == MFAReset {
		c.By = initiator(e)
	}
	if s.typ == CredentialChange && c.Credential == "" {
		c.Credential = credentialOf(e.Facts[audit.FactFactor])
	}
	return c
}

// initiator is who brought an event about. Source: CAEP 1.0, initiating_entity.
func initiator(e audit.Event) string {
	if e.By == "" {
		return "user"
	}
	return "admin"
}

// credentialOf is the type of an enrollment's credential: those of phones and of one-time codes are apps.
func credentialOf(factor audit.Word) string {
	switch factor {
	case audit.FactorRoaming:
		return credentialRoaming
	case audit.FactorPlatform:
		return credentialPlatform
	default:
		return credentialApp
	}
}
