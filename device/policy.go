package device

import (
	"tutela/storage"
	"tutela/storage/setting"
)

// Presence is the policy by which an approval shows that the person who answers is the one who logs in.
type Presence string

// The presences.
const (
	PresenceNumber       Presence = "number"        // only apps that match numbers are asked, or may enrol
	PresencePreferNumber Presence = "prefer-number" // apps that cannot may tap, while the user has none that can
	PresenceTap          Presence = "tap"
)

var presence = setting.OneOf("approval.presence",
	"whether an approval is answered by typing the number that the login shows",
	string(PresencePreferNumber), string(PresenceNumber), string(PresenceTap))

// NumberMatching is the capability of an app that asks for the number and sends it along.
const NumberMatching = "number-matching"

// PresencePolicy is the policy in force.
func PresencePolicy(tx *storage.Tx) (Presence, error) {
	p, err := presence.Get(tx)
	return Presence(p), err
}
