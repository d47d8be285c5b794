package access

import (
	"errors"
	"slices"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// sessionMayGive is mayGive for an admin who is signed in. His role is read anew: the session is older than the call. He gives the
// scopes that he has himself, and those of logins, which open no management call. For whom a client acts, and presence tap, an owner
// sets.
//
// Errors: ErrBeyondCaller.
//
// Source: management-api.md "Who may".
func sessionMayGive(tx *storage.Tx, actor audit.Actor, c Client) error {
	who, err := user.Get(tx, actor.ActsAs())
	if err != nil && !errors.Is(err, user.ErrUnknown) {
		return err
	}
	if err != nil || who.Blocked || user.Admin.Above(who.Role) || !actor.Has(ScopeManageClients) {
		return ErrBeyondCaller.With("clients are for those to set who are signed in as admin or owner")
	}
	for _, scope := range c.Scopes {
		if !slices.Contains(loginScopes, scope) && !actor.Has(scope) {
			return ErrBeyondCaller.With("you give a client no scope that you lack: %s", scope)
		}
	}
	if (!c.ActsAs.IsZero() || c.Presence == device.PresenceTap) && who.Role != user.Owner {
		return ErrBeyondCaller.With("for whom a client acts, and presence tap, are set by an owner")
	}
	return nil
}
