package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"tutela/device/push"
	"tutela/device/push/fcm"
	"tutela/storage"
	"tutela/storage/audit"
)

// tokenEndpoint is where Google gives access tokens. A key file names one too, which is not read: it would have this server send what
// it signs to wherever the file says.
//
// Source: developers.google.com/identity/protocols/oauth2/service-account.
const tokenEndpoint = "https://oauth2.googleapis.com/token"

// keyFile is what is read of a service account's key file.
type keyFile struct {
	Type     string `json:"type"`
	Project  string `json:"project_id"`
	Email    string `json:"client_email"`
	Key      string `json:"private_key"`
	KeyID    string `json:"private_key_id"`
	TokenURI string `json:"token_uri"` // ours
}

// errNoKeyFile says what a text is not; it quotes nothing of it.
var errNoKeyFile = errors.New("server_credentials is not the key file of a service account, from the Firebase console")

// SetFCM keeps a service account's key file, whatever it is: one that cannot be used is told by an event, the log and /readyz, and FCM
// counts as not set up. nil keeps what was set.
//
// Errors: ErrRole.
func (s *Service) SetFCM(ctx context.Context, actor audit.Actor, file *string) error {
	var given *credential
	if file != nil {
		given = s.readKeyFile(*file)
	}
	var c *credential
	err := s.store.Update(ctx, func(tx *storage.Tx) error {
		if err := maySet(tx, actor); err != nil {
			return err
		}
		before, err := read(tx, push.FCM)
		if err != nil {
			return err
		}
		c = before
		switch {
		case given != nil:
			c = given
		case c == nil:
			return audit.RecordCall(tx, actor, storage.House)
		}
		return put(tx, actor, push.FCM, c)
	})
	if err == nil && c != nil {
		s.tell(push.FCM, c)
	}
	return err
}

// readKeyFile reads what counts of a key file.
func (s *Service) readKeyFile(text string) *credential {
	s.mu.Lock()
	at := s.at
	s.mu.Unlock()
	var f keyFile
	if json.Unmarshal([]byte(text), &f) != nil {
		return &credential{Fault: errNoKeyFile.Error()}
	}
	f.TokenURI = cmp.Or(at.FCMTokens, tokenEndpoint)
	account, err := json.Marshal(f)
	if err != nil {
		return &credential{Fault: errNoKeyFile.Error()}
	}
	carrier, err := fcm.New(fcm.Credentials{JSON: account, Endpoint: at.FCMEndpoint})
	if err != nil {
		return &credential{Fault: err.Error()}
	}
	carrier.Close()
	return &credential{Account: account}
}
