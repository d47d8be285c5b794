package signin

import (
	"context"
	"errors"
	"time"

	"tutela/device/passkey"
	"tutela/recovery/admin"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// mostOfRole bounds the admins of each role that are shown.
const mostOfRole = 500

// Passkey is a passkey that opens the dashboard, as admins see it.
type Passkey struct {
	ID       string
	Name     string
	Made     time.Time
	Used     time.Time // zero: never
	BackedUp bool      // it is copied to other devices
}

// Member is a user with a role.
type Member struct {
	User      user.User
	Passkeys  []Passkey
	Sessions  []Session
	Invited   time.Time // until when an invite can be used; zero: there is none
	LastOwner bool      // no other owner can sign in
}

// Team returns the users with a role, the owners first.
func (s *Service) Team(ctx context.Context) (team []Member, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		team = nil
		list, err := user.WithRole(tx, mostOfRole)
		if err != nil {
			return err
		}
		owners := 0
		for _, u := range list {
			m, err := memberOf(tx, u)
			if err != nil {
				return err
			}
			if m.signsInAsOwner() {
				owners++
			}
			team = append(team, m)
		}
		for i := range team {
			team[i].LastOwner = owners == 1 && team[i].signsInAsOwner()
		}
		return nil
	})
	return team, err
}

func (m Member) signsInAsOwner() bool {
	return m.User.Role == user.Owner && !m.User.Blocked && len(m.Passkeys) > 0
}

// MemberOf returns a user as the team sees him.
//
// Errors: user.ErrUnknown.
func (s *Service) MemberOf(ctx context.Context, userID string) (m Member, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err == nil {
			m, err = memberOf(tx, *u)
		}
		return err
	})
	return m, err
}

func memberOf(tx *storage.Tx, u user.User) (m Member, err error) {
	m.User = u
	keys, err := passkey.AdminsOf(tx, u.UID)
	if err != nil {
		return m, err
	}
	for _, k := range keys {
		m.Passkeys = append(m.Passkeys, Passkey{
			ID:       k.ID,
			Name:     k.Name,
			Made:     k.Made,
			Used:     k.Used,
			BackedUp: k.Passkey.BackedUp,
		})
	}
	i, err := invites.Get(tx, u.UID, oneInvite)
	if err == nil && i.Turns == u.Turns {
		m.Invited = i.Expires
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return m, err
	}
	m.Sessions, err = sessionsOf(tx, u.UID)
	return m, err
}

// RemovePasskey removes a passkey of another admin, and so ends the sessions that began with it. An owner who has just shown his own
// does that, and the operator. What would leave no owner who can sign in is the operator's.
//
// Errors: user.ErrUnknown; admin.ErrRefused; admin.ErrProveAgain; passkey.ErrNoAdmin.
func (s *Service) RemovePasskey(ctx context.Context, userID, id string, actor audit.Actor) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		if err := mayInvite(tx, actor, u); err != nil {
			return err
		}
		list, err := passkey.AdminsOf(tx, u.UID)
		if err == nil && len(list) == 1 {
			err = admin.KeepsOwner(tx, actor, u)
		}
		if err != nil {
			return err
		}
		return passkey.RemoveAdmin(tx, u.UID, id, actor)
	})
}
