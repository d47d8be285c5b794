package device

import (
	"time"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

// Presence is how an approval shows that the person who answers it sits at the screen of the login.
type Presence string

// The presences.
const (
	PresenceNumber = Presence(audit.PresenceNumber) // by typing the number that the screen shows
	PresenceTap    = Presence(audit.PresenceTap)    // not at all: the person only taps the approval
)

// PresencePolicy says which presence the approvals of this installation have.
type PresencePolicy string

// The policies.
const (
	AlwaysNumber PresencePolicy = "number"        // only apps that match numbers are asked, or may enrol
	PreferNumber PresencePolicy = "prefer-number" // apps that cannot may tap, while the user uses none that can
	AlwaysTap    PresencePolicy = "tap"
)

var presencePolicy = setting.OneOf("approval.presence",
	"whether an approval is answered by typing the number that the login shows",
	string(PreferNumber), string(AlwaysNumber), string(AlwaysTap))

// The capabilities that rules depend on.
const (
	NumberMatching = "number-matching" // the app asks for the number and sends it along
	ShowsCode      = "recovery-code"   // the app shows the recovery code of an enrolment, which unmodified SDKs drop
)

var stale = setting.Duration("approval.stale",
	"how long after its last signature an app that matches numbers keeps a user's other phones from being asked", 30*24*time.Hour, 24*time.Hour, 365*24*time.Hour)

// Stale returns for how long after its last signature an app that matches numbers counts as in use.
func Stale(tx *storage.Tx) (time.Duration, error) { return stale.Get(tx) }

// ReadPresencePolicy returns the policy in force.
func ReadPresencePolicy(tx *storage.Tx) (PresencePolicy, error) {
	p, err := presencePolicy.Get(tx)
	return PresencePolicy(p), err
}
