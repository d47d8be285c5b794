package admin

import (
	"context"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
)

// Profile is a user as admins see him: the record, and the MFA state that follows from what lies above it.
type Profile struct {
	user.User
	State user.State `json:"mfa_state"`
}

// ReadUser returns a user's profile.
//
// Errors: user.ErrUnknown.
func (s *Service) ReadUser(ctx context.Context, userID string) (p Profile, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		p.User = *u
		p.State, err = device.State(tx, u.UID)
		return err
	})
	return p, err
}

// PageUsers returns users in the order of their ids: those after the id after ("": from the first), passing over skip of
// them, at most take. Their MFA state is not looked up: [Service.Profiles] does that for those that are shown.
func (s *Service) PageUsers(ctx context.Context, after string, skip, take int) ([]user.User, error) {
	return user.Page(ctx, s.store, after, skip, take)
}

// CountUsers returns how many users there are, and stops counting at most.
func (s *Service) CountUsers(ctx context.Context, most int) (int, error) {
	return user.Count(ctx, s.store, most)
}

// SearchUsers is PageUsers for those for whom all of the terms hold, as user.Search finds them.
func (s *Service) SearchUsers(ctx context.Context, terms []user.Term, most int) ([]user.User, error) {
	return user.Search(ctx, s.store, terms, most)
}

// Profiles adds the MFA state to users. Who was deleted meanwhile is a user without any.
func (s *Service) Profiles(ctx context.Context, list []user.User) ([]Profile, error) {
	profiles := make([]Profile, 0, len(list))
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		for _, u := range list {
			state, err := device.State(tx, u.UID)
			if err != nil {
				return err
			}
			profiles = append(profiles, Profile{User: u, State: state})
		}
		return nil
	})
	return profiles, err
}

// UsersOf returns those of the uids that are users, by uid.
func (s *Service) UsersOf(ctx context.Context, uids []storage.UID) (map[storage.UID]user.User, error) {
	return user.ByUID(ctx, s.store, uids)
}
