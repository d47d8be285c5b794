package device

import (
	"cmp"
	"slices"

	"tutela/device/push"
	"tutela/storage"
	"tutela/storage/legible"
)

// The bounds of what an app says about itself, in bytes.
const (
	maxIdentifierBytes = 512
	maxNameBytes       = 256
	maxCapabilities    = 16
	maxPlatformBytes   = 32
)

// Installation is what an app says about itself.
type Installation struct {
	Identifier   string
	Name         string
	Push         push.Address
	Key          Key
	Capabilities []string
	Platform     string // what it runs on: android, ios, web and others; "" when the app does not say
}

// ErrInstallation reports an invalid description of an app.
var ErrInstallation = storage.NewError(storage.Invalid, "the description of the app is not valid")

// Validate checks the bounds and the form. It does not check the key and the push address: ParseKey and push.ParseAddress
// have done so.
//
// Errors: ErrInstallation.
func (i *Installation) Validate() error {
	if i.Platform != "" {
		if err := legible.Require("platform", i.Platform, maxPlatformBytes); err != nil {
			return ErrInstallation.With("%v", err)
		}
	}
	return Change{Identifier: &i.Identifier, Name: &i.Name, Capabilities: &i.Capabilities}.validate()
}

// validate checks only what is changed: a value that an earlier release accepted may stay.
//
// Errors: ErrInstallation.
func (c Change) validate() error {
	var err error
	if c.Identifier != nil {
		err = legible.Require("identifier", *c.Identifier, maxIdentifierBytes)
	}
	if c.Name != nil {
		err = cmp.Or(err, legible.Require("name", *c.Name, maxNameBytes))
	}
	if c.Capabilities != nil {
		if len(*c.Capabilities) > maxCapabilities {
			return ErrInstallation.With("at most %d capabilities", maxCapabilities)
		}
		for _, capability := range *c.Capabilities {
			err = cmp.Or(err, legible.Require("a capability", capability, maxNameBytes))
		}
	}
	if err != nil {
		return ErrInstallation.With("%v", err)
	}
	return nil
}

// ClipName makes a phone's name fit to be kept and shown. It refuses none, because a person may be unable to change the
// name of the phone.
func ClipName(name string) string { return legible.Clean(name, maxNameBytes) }

// ClipPlatform does for the app's platform what ClipName does for a name.
func ClipPlatform(platform string) string { return legible.Clean(platform, maxPlatformBytes) }

// mayAnswer returns an error if the presence policy forbids the app to enrol. The rule is for apps only, since
// approvals ask no other type of authenticator.
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
