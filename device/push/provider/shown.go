package provider

import (
	"context"
	"errors"
	"time"

	"tutela/device/push"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Kept is what is set for a push service, as far as people see it again.
type Kept struct {
	Set     bool
	Bundle  string // APNs: the app
	Sandbox bool
	Changed time.Time
	Expires time.Time // of a certificate; zero: it does not
	Trouble string    // why messages do not go by it; "": they can
}

// Kept returns what is set for FCM and APNs, and whether that counts, and not what the command line says.
func (s *Service) Kept(ctx context.Context) (of map[push.Service]Kept, rules bool, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		of = map[push.Service]Kept{}
		value, err := selected.Get(tx)
		if err != nil {
			return err
		}
		rules = value == Direct
		for _, service := range []push.Service{push.FCM, push.APNs} {
			c, err := read(tx, service)
			if err != nil {
				return err
			}
			if c == nil {
				continue
			}
			of[service] = Kept{
				Set:     c.usable(),
				Bundle:  c.Bundle,
				Sandbox: c.Sandbox,
				Changed: c.Changed,
				Expires: c.Expires,
				Trouble: c.trouble(service, tx.Wall()),
			}
		}
		return nil
	})
	return of, rules, err
}

// ErrRole reports an admin whose role sets no credentials.
var ErrRole = storage.NewError(storage.Denied, "push credentials are set with role admin or owner")

// maySet returns ErrRole for a signed-in admin who is no longer one, or has a lower role. Scopes have decided before
// what a client may call.
//
// Errors: ErrRole.
func maySet(tx *storage.Tx, actor audit.Actor) error {
	if !actor.IsAdmin() {
		return nil
	}
	who, err := user.Get(tx, actor.ActsAs())
	if errors.Is(err, user.ErrUnknown) {
		return ErrRole
	}
	if err == nil && (who.Blocked || user.Admin.Above(who.Role)) {
		err = ErrRole
	}
	return err
}
