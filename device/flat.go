package device

import (
	"encoding/json"

	"tutela/device/push"
)

// flat holds the members that an enrollment of schema 1 had besides those of all types. There was no type then: every
// enrollment was an app.
type flat struct {
	Identifier   string       `json:"identifier"`
	Key          Key          `json:"key"`
	Token        string       `json:"token"`
	PushService  push.Service `json:"push_service"`
	PushToken    []byte       `json:"push_token"`
	TOTPSecret   []byte       `json:"totp_secret"`
	Capabilities []string     `json:"capabilities"`
	Watches      []Watch      `json:"watches"`
	Seen         bool         `json:"seen"`
	BackupID     string       `json:"backup_id"`
}

// readFlat completes an enrollment that was written under schema 1.
func readFlat(e *Enrollment, stored []byte) error {
	if e.Type != "" {
		return nil
	}
	var old flat
	if err := json.Unmarshal(stored, &old); err != nil {
		return err
	}
	e.Type = TypePush
	e.Push = PushBinding{
		Identifier:   old.Identifier,
		Key:          old.Key,
		Token:        old.Token,
		Address:      push.KeptAddress{Service: old.PushService, Token: old.PushToken},
		Capabilities: old.Capabilities,
		Watches:      old.Watches,
		Seen:         old.Seen,
		BackupID:     old.BackupID,
	}
	e.OTP = OneTimeCodes{Secret: old.TOTPSecret}
	return nil
}
