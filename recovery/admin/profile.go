package admin

import (
	"context"
	"strings"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
)

// Profile is a user as admins see him: the record and the MFA state.
type Profile struct {
	user.User
	State user.State `json:"mfa_state"`
	InUse bool       `json:"-"` // the user has an enrollment in use; one that has left still satisfies logins, but does not count
}

// readState sets the fields that follow from the user's enrollments.
func (p *Profile) readState(tx *storage.Tx, uid storage.UID) error {
	set, err := device.All(tx, uid)
	if err != nil {
		return err
	}
	return p.setState(tx, uid, set)
}

func (p *Profile) setState(tx *storage.Tx, uid storage.UID, set device.Set) (err error) {
	p.InUse = len(set.Active()) > 0
	p.State, err = set.State(tx, uid)
	return err
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
		return p.readState(tx, u.UID)
	})
	return p, err
}

// PageUsers returns users in the order of their ids, as [user.Page] does. It does not read their MFA state: [Service.Profiles]
// does that, for the users who are shown.
func (s *Service) PageUsers(ctx context.Context, after string, take int) ([]user.User, error) {
	return user.Page(ctx, s.store, after, take)
}

// SortedUsers returns users in an order, as [user.Sorted] does.
func (s *Service) SortedUsers(ctx context.Context, o user.Order, skip, take int) ([]user.User, error) {
	return user.Sorted(ctx, s.store, o, skip, take)
}

// CountUsers returns the number of users.
func (s *Service) CountUsers(ctx context.Context) (int, error) {
	return user.Count(ctx, s.store)
}

// SearchWords finds users by words, and returns them in the order of their ids. For each word of text, some word of the user's
// id, email, username or name must begin with it. It returns at most most users; see [user.Search].
func (s *Service) SearchWords(ctx context.Context, text string, most int) ([]user.User, error) {
	words := strings.Fields(text)
	terms := make([]user.Term, 0, len(words))
	for _, word := range words {
		terms = append(terms, user.Term{Field: user.Words, Value: word})
	}
	return user.Search(ctx, s.store, terms, most)
}

// SearchUsers returns the users who match all of the terms, as [user.Search] does.
func (s *Service) SearchUsers(ctx context.Context, terms []user.Term, most int) ([]user.User, error) {
	return user.Search(ctx, s.store, terms, most)
}

// SearchSorted returns a part of the users who match all of the terms in an order, and how many were found, as
// [user.SearchSorted] does.
func (s *Service) SearchSorted(ctx context.Context, terms []user.Term, o user.Order, part user.Part) ([]user.User, int, error) {
	return user.SearchSorted(ctx, s.store, terms, o, part)
}

// WalkUsers goes on with a walk through all users who match the terms, as [user.Walk] does.
func (s *Service) WalkUsers(ctx context.Context, terms []user.Term, from user.Place, take int) ([]user.User, *user.Place, error) {
	return user.Walk(ctx, s.store, terms, from, take)
}

// Profiles adds the MFA state to users. It shows a user who was deleted meanwhile as new.
func (s *Service) Profiles(ctx context.Context, list []user.User) ([]Profile, error) {
	profiles := make([]Profile, 0, len(list))
	err := s.store.View(ctx, func(tx *storage.Tx) error {
		for _, u := range list {
			p := Profile{User: u}
			if err := p.readState(tx, u.UID); err != nil {
				return err
			}
			profiles = append(profiles, p)
		}
		return nil
	})
	return profiles, err
}

// UsersOf returns the users with these uids, by uid. It leaves out uids that belong to nobody.
func (s *Service) UsersOf(ctx context.Context, uids []storage.UID) (map[storage.UID]user.User, error) {
	return user.ByUID(ctx, s.store, uids)
}
