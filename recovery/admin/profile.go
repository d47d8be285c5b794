package admin

import (
	"cmp"
	"context"
	"slices"
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
func (s *Service) PageUsers(ctx context.Context, after string, skip, take int) ([]user.User, error) {
	return user.Page(ctx, s.store, after, skip, take)
}

// CountUsers returns the number of users, or most if there are more.
func (s *Service) CountUsers(ctx context.Context, most int) (int, error) {
	return user.Count(ctx, s.store, most)
}

// SearchWords finds users by words, and returns them in the order of their ids. For each word of text, some word of the user's
// id, email, username or name must begin with it. It reads at most most users, among those who match the longest word. The
// first search after an update from a release without this index builds it.
func (s *Service) SearchWords(ctx context.Context, text string, most int) ([]user.User, error) {
	words := strings.Fields(text)
	slices.SortStableFunc(words, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	terms := make([]user.Term, 0, len(words))
	for _, word := range words {
		terms = append(terms, user.Term{Field: user.Words, Value: word})
	}
	if err := user.IndexWords(ctx, s.store); err != nil {
		return nil, err
	}
	return user.Search(ctx, s.store, terms, most)
}

// SearchUsers returns the users who match all of the terms, as [user.Search] does.
func (s *Service) SearchUsers(ctx context.Context, terms []user.Term, most int) ([]user.User, error) {
	return user.Search(ctx, s.store, terms, most)
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
