package device

import (
	"slices"
	"unicode/utf8"

	"tutela/device/push"
	"tutela/storage"
)

// The bounds of what an app says about itself, in bytes.
const (
	maxIdentifierBytes = 512
	maxNameBytes       = 256
	maxCapabilities    = 16
)

// Installation is what an app says about itself.
type Installation struct {
	Identifier   string
	Name         string
	Push         push.Address
	Key          Key
	Capabilities []string
}

// ErrInstallation reports an invalid description of an app.
var ErrInstallation = storage.NewError(storage.Invalid, "the description of the app is not valid")

// Validate checks the bounds and the form; the key was checked by ParseKey, the push address by
// push.ParseAddress.
//
// Errors: ErrInstallation.
func (i *Installation) Validate() error {
	switch {
	case !fits(i.Identifier, maxIdentifierBytes):
		return ErrInstallation.With("identifier must be text of 1 to %d bytes", maxIdentifierBytes)
	case !fits(i.Name, maxNameBytes):
		return ErrInstallation.With("name must be text of 1 to %d bytes", maxNameBytes)
	case len(i.Capabilities) > maxCapabilities:
		return ErrInstallation.With("at most %d capabilities", maxCapabilities)
	}
	for _, c := range i.Capabilities {
		if !fits(c, maxNameBytes) {
			return ErrInstallation.With("a capability must be text of 1 to %d bytes", maxNameBytes)
		}
	}
	return nil
}

func fits(s string, most int) bool { return s != "" && len(s) <= most && utf8.ValidString(s) }

// mayAnswer reports whether the presence policy lets the app enrol: whether approvals could ask it. It is a rule on apps; an
// authenticator of another type is asked for no approval.
//
// Errors: ErrInstallation.
func mayAnswer(tx *storage.Tx, in Installation) error {
	policy, err := ReadPresencePolicy(tx)
	if err != nil {
		return err
	}
	if policy == AlwaysNumber && !slices.Contains(in.Capabilities, NumberMatching) {
		return ErrInstallation.With("this installation asks for number matching, which the app does not offer")
	}
	return nil
}
