package user

import (
	"context"
	"errors"
	"slices"
	"strings"

	"tutela/storage"
	"tutela/storage/legible"
)

// readBatch is how many users are read in one view.
const readBatch = 256

// Page returns users in the order of their ids: at most take of those after the id after ("": from the first), without the
// first skip of them. It is no transaction: users who are made or deleted meanwhile may or may not be among them.
func Page(ctx context.Context, s *storage.Store, after string, skip, take int) ([]User, error) {
	// The index gives the uids; the records are read once it is left.
	var uids []storage.UID
	err := byID.Peek(ctx, s, after, func(id string, uid storage.UID, _ string) bool {
		switch {
		case id == after:
		case skip > 0:
			skip--
		default:
			uids = append(uids, uid)
		}
		return len(uids) < take
	})
	if err != nil || take == 0 {
		return nil, err
	}
	return read(ctx, s, uids)
}

// Count returns the number of users, or most if there are more.
func Count(ctx context.Context, s *storage.Store, most int) (n int, err error) {
	err = byID.Peek(ctx, s, "", func(string, storage.UID, string) bool {
		n++
		return n < most
	})
	return n, err
}

// ByUID returns those of the uids that are users, by uid.
func ByUID(ctx context.Context, s *storage.Store, uids []storage.UID) (map[storage.UID]User, error) {
	list, err := read(ctx, s, uids)
	found := make(map[storage.UID]User, len(list))
	for _, u := range list {
		found[u.UID] = u
	}
	return found, err
}

// read returns the users with these uids, in this order, in several views so that none is long. Who was deleted meanwhile is
// left out.
func read(ctx context.Context, s *storage.Store, uids []storage.UID) (list []User, err error) {
	list = make([]User, 0, len(uids))
	for batch := range slices.Chunk(uids, readBatch) {
		err := s.View(ctx, func(tx *storage.Tx) error {
			for _, uid := range batch {
				u, err := Get(tx, uid)
				if errors.Is(err, ErrUnknown) {
					continue
				}
				if err != nil {
					return err
				}
				list = append(list, *u)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Field is a member of the record by which users are found.
type Field string

// The fields. Case counts in an id alone.
const (
	ID       Field = "user_id"
	Email    Field = "email"
	Username Field = "username"
	Name     Field = "name"
	Any      Field = ""      // each of the others, from its beginning on
	Words    Field = "words" // each of the others, from the beginning of any of its words on; see [IndexWords]
)

// Term is one condition of a search.
type Term struct {
	Field  Field
	Value  string
	Prefix bool // the field begins with Value; else it is Value
}

// Search returns the users for whom all of the terms hold, in the order of their ids. It looks at most at most users for
// whom the first term holds, so that one should be the narrowest. Without terms it finds nobody. It is no transaction.
func Search(ctx context.Context, s *storage.Store, terms []Term, most int) ([]User, error) {
	if len(terms) == 0 {
		return nil, nil
	}
	// An index answers the first term; the others are compared with the records.
	uids, err := terms[0].candidates(ctx, s, most)
	if err != nil {
		return nil, err
	}
	list, err := read(ctx, s, uids)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(u User) bool {
		return slices.ContainsFunc(terms, func(t Term) bool { return !t.holds(&u) })
	})
	slices.SortFunc(list, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// peeker is an index of users.
type peeker interface {
	Peek(ctx context.Context, s *storage.Store, from string, fn func(value string, uid storage.UID, key string) bool) error
}

// candidates returns the uids that the indexes have for a term, each once, at most so many.
func (t Term) candidates(ctx context.Context, s *storage.Store, most int) ([]storage.UID, error) {
	indexes := map[Field][]peeker{
		ID:       {byID},
		Email:    {byEmail},
		Username: {byUsername},
		Name:     {byName},
		Any:      {byID, byEmail, byUsername, byName},
		Words:    {byWord},
	}[t.Field]
	var uids []storage.UID
	seen := map[storage.UID]bool{}
	for _, index := range indexes {
		for _, from := range t.froms(index) {
			err := index.Peek(ctx, s, from, func(value string, uid storage.UID, _ string) bool {
				if !strings.HasPrefix(value, from) || len(uids) == most || value != from && !t.beginning() {
					return false
				}
				if !seen[uid] {
					seen[uid] = true
					uids = append(uids, uid)
				}
				return true
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return uids, nil
}

// froms returns what an index may hold for the term's value. An id is indexed as it is: case counts in it.
func (t Term) froms(index peeker) []string {
	switch index {
	case peeker(byID):
		return []string{t.Value}
	case peeker(byWord):
		return []string{cutWord(folded(t.Value))}
	}
	return slices.Compact([]string{folded(t.Value), foldedBefore(t.Value)})
}

// beginning reports whether the value need only begin the field.
func (t Term) beginning() bool { return t.Prefix || t.Field == Any || t.Field == Words }

// holds reports whether the term holds for a user.
func (t Term) holds(u *User) bool {
	if t.Field == Words {
		return holdsWord(u, t.Value)
	}
	values := map[Field]string{
		ID:       u.ID,
		Email:    u.Email,
		Username: u.Username,
		Name:     u.Name,
	}
	for field, value := range values {
		if t.Field != Any && t.Field != field {
			continue
		}
		wanted := t.Value
		if field != ID {
			value = legible.Fold(value)
			wanted = legible.Fold(wanted)
		}
		if value == wanted || t.beginning() && strings.HasPrefix(value, wanted) {
			return true
		}
	}
	return false
}
