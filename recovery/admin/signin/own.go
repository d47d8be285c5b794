package signin

import (
	"context"
	"encoding/json"

	"tutela/device/passkey"
	"tutela/recovery/admin"
	"tutela/storage"
	"tutela/storage/audit"
)

// What an admin does to his own passkeys takes a session in which he has just shown one.

// proved returns the session of a secret whose admin has just shown a passkey.
//
// Errors: ErrNoSession; admin.ErrProveAgain.
func (s *Service) proved(tx *storage.Tx, secret string) (*found, error) {
	f, err := s.find(tx, secret)
	if err == nil && !f.session(tx).Fresh {
		err = admin.ErrProveAgain
	}
	return f, err
}

// BeginPasskey draws a challenge for another passkey of the admin who is signed in; see [passkey.Service.BeginAdmin].
//
// Errors: ErrNoSession; admin.ErrProveAgain; passkey.ErrNoDomain; passkey.ErrTooOften.
func (s *Service) BeginPasskey(ctx context.Context, secret string) (options json.RawMessage, err error) {
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		f, err := s.proved(tx, secret)
		if err == nil {
			options, err = s.passkeys.BeginAdmin(tx, f.UID, f.Key)
		}
		return err
	})
	return options, err
}

// AddPasskey gives the admin who is signed in the passkey that his browser has made.
//
// Errors: ErrNoSession; admin.ErrProveAgain; those of passkey.Service.VerifyAdmin and AddAdmin.
func (s *Service) AddPasskey(ctx context.Context, secret, name string, r passkey.Response, actor audit.Actor) error {
	var uid storage.UID
	var key string
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		f, err := s.proved(tx, secret)
		if err == nil {
			uid = f.UID
			key = f.Key
		}
		return err
	})
	if err != nil {
		return err
	}
	registration, err := s.passkeys.VerifyAdmin(ctx, uid, key, r)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		if _, err := s.proved(tx, secret); err != nil {
			return err
		}
		_, err := s.passkeys.AddAdmin(tx, registration, name, false, actor)
		return err
	})
}

// RemoveOwnPasskey removes a passkey of the admin who is signed in, but his last. Sessions that began with it end.
//
// Errors: ErrNoSession; admin.ErrProveAgain; admin.ErrRefused; passkey.ErrNoAdmin.
func (s *Service) RemoveOwnPasskey(ctx context.Context, secret, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		f, err := s.proved(tx, secret)
		if err != nil {
			return err
		}
		list, err := passkey.AdminsOf(tx, f.UID)
		if err != nil {
			return err
		}
		if len(list) == 1 {
			return admin.ErrRefused.With("this is your only passkey: add another before you remove it")
		}
		return passkey.RemoveAdmin(tx, f.UID, id, actor)
	})
}
