package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"tutela/device"
	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/recovery/ways"
	"tutela/storage"
	"tutela/storage/audit"
)

// UserQuery says which users a list shows, and where it goes on.
type UserQuery struct {
	Text  string    // words; for each, some word of the user's id, email, username or name begins with it
	Risk  ways.Risk // only who has it; "": everybody
	After string    // Next of the page before; "": the first page
	Take  int       // 1 to 100
}

// ListedUser is a user in a list of the dashboard.
type ListedUser struct {
	user.User
	State     user.State
	Devices   int              // authenticators that are active
	Suspended int              // authenticators that an admin has suspended
	Back      ways.Standing    // how she would get back in
	Blocks    []recovery.Block // channels that wait after wrong codes
}

// UserList is a page of a list of users.
type UserList struct {
	Users []ListedUser
	Next  string // where the next page begins; "": there is none
}

// ErrPage reports a place in a list that no page has given.
var ErrPage = storage.NewError(storage.Invalid, "there is no such page of this list")

// The bounds of a list. A search looks at so many users at most for one page, those without the risk included.
const (
	mostListed      = 100
	mostSearchWords = 8
	maxSearchBytes  = 256
	maxPlaceBytes   = 4096
	lookedAtRisk    = 2000
)

// listPlace is where a page of a list begins: after an id, after a uid, or in a walk.
type listPlace struct {
	ID   string      `json:"i,omitempty"`
	UID  storage.UID `json:"u,omitzero"`
	Walk user.Place  `json:"w,omitzero"`
}

func (p listPlace) String() string {
	encoded, err := json.Marshal(p)
	if err != nil {
		return "" // it holds texts and numbers alone
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}

// parsePlace reads a place.
//
// Errors: ErrPage.
func parsePlace(s string) (p listPlace, err error) {
	if s == "" {
		return p, nil
	}
	if len(s) > maxPlaceBytes {
		return p, ErrPage
	}
	decoded, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || json.Unmarshal(decoded, &p) != nil || p == (listPlace{}) {
		return listPlace{}, ErrPage
	}
	return p, nil
}

// ListUsers returns a page of the users for whom a query holds, to an admin who is signed in: in the order of their ids; of a search
// in that of the words that were found; of a risk alone in one that stays. A page of a search with a risk may be short, or empty,
// although the list goes on. It is no transaction: users who change meanwhile may or may not be in it.
//
// Errors: ErrRefused, for whoever is no admin any more; ErrPage; ErrCounting, with a risk.
func (s *Service) ListUsers(ctx context.Context, q UserQuery, actor audit.Actor) (list UserList, err error) {
	from, err := parsePlace(q.After)
	if err != nil {
		return list, err
	}
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		err := mayRead(tx, actor)
		if err == nil && q.Risk != "" {
			err = everyoneCounted(tx)
		}
		return err
	})
	if err != nil {
		return list, err
	}
	q.Take = min(max(q.Take, 1), mostListed)
	terms := termsOf(q.Text)
	switch {
	case len(terms) > 0:
		return s.listFound(ctx, terms, q, from.Walk)
	case q.Risk != "":
		return s.listAtRisk(ctx, q, from.UID)
	default:
		return s.listAll(ctx, q, from.ID)
	}
}

// termsOf returns the conditions of a search; none when the text has no word in it.
func termsOf(text string) []user.Term {
	words := strings.Fields(strings.ToValidUTF8(text[:min(len(text), maxSearchBytes)], " "))
	terms := make([]user.Term, 0, len(words))
	for _, word := range words[:min(len(words), mostSearchWords)] {
		if term := (user.Term{Field: user.Words, Value: word}); !slices.Contains(terms, term) {
			terms = append(terms, term)
		}
	}
	return terms
}

func (s *Service) listAll(ctx context.Context, q UserQuery, after string) (list UserList, err error) {
	// One more than is shown says whether there are more.
	users, err := user.Page(ctx, s.store, after, q.Take+1)
	if err != nil {
		return list, err
	}
	if len(users) > q.Take {
		users = users[:q.Take]
		list.Next = listPlace{ID: users[q.Take-1].ID}.String()
	}
	list.Users, err = s.describe(ctx, users)
	return list, err
}

func (s *Service) listAtRisk(ctx context.Context, q UserQuery, after storage.UID) (list UserList, err error) {
	uids, err := ways.Page(ctx, s.store, q.Risk, after, q.Take+1)
	if err != nil {
		return list, err
	}
	if len(uids) > q.Take {
		uids = uids[:q.Take]
		list.Next = listPlace{UID: uids[q.Take-1]}.String()
	}
	found, err := user.ByUID(ctx, s.store, uids)
	if err != nil {
		return list, err
	}
	users := make([]user.User, 0, len(uids))
	for _, uid := range uids {
		if u, there := found[uid]; there {
			users = append(users, u)
		}
	}
	list.Users, err = s.describe(ctx, users)
	return list, err
}

func (s *Service) listFound(ctx context.Context, terms []user.Term, q UserQuery, from user.Place) (list UserList, err error) {
	looked := 0
	next := &from
	for next != nil && len(list.Users) < q.Take && looked < lookedAtRisk {
		want := q.Take - len(list.Users)
		var users []user.User
		users, next, err = user.Walk(ctx, s.store, terms, *next, want)
		if err != nil {
			return list, err
		}
		described, err := s.describe(ctx, users)
		if err != nil {
			return list, err
		}
		for _, u := range described {
			if q.Risk == "" || slices.Contains(u.Back.Risks, q.Risk) {
				list.Users = append(list.Users, u)
			}
		}
		looked += max(len(users), 1)
		if len(users) == 0 {
			break // Walk has looked at as many as it does at once: the next page goes on
		}
	}
	if next != nil {
		list.Next = listPlace{Walk: *next}.String()
	}
	return list, nil
}

// describe adds to users what a list shows of them. Who was deleted meanwhile is left out.
func (s *Service) describe(ctx context.Context, users []user.User) (list []ListedUser, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		list = make([]ListedUser, 0, len(users))
		for _, u := range users {
			l := ListedUser{User: u}
			err := l.read(tx)
			if errors.Is(err, user.ErrUnknown) {
				continue
			}
			if err != nil {
				return err
			}
			list = append(list, l)
		}
		return nil
	})
	return list, err
}

func (l *ListedUser) read(tx *storage.Tx) error {
	if _, err := user.Get(tx, l.UID); err != nil {
		return err
	}
	set, err := device.All(tx, l.UID)
	if err != nil {
		return err
	}
	for _, e := range set {
		switch e.Status {
		case device.Active, device.Left:
			l.Devices++
		case device.Suspended:
			l.Suspended++
		}
	}
	if l.State, err = set.State(tx, l.UID); err != nil {
		return err
	}
	if l.Back, err = ways.Of(tx, l.UID); err != nil {
		return err
	}
	l.Blocks, err = recovery.Blocks(tx, l.UID)
	return err
}

// UserTotals is how many users there are, and how many have each risk.
type UserTotals struct {
	Users   int
	Back    ways.Totals
	Counted bool // Back is known; not while the users of an earlier release are being counted
}

// CountedUsers returns how many users there are, and how many have each risk, to an admin who is signed in.
//
// Errors: ErrRefused, for whoever is no admin any more.
func (s *Service) CountedUsers(ctx context.Context, actor audit.Actor) (totals UserTotals, err error) {
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		err := mayRead(tx, actor)
		if err != nil {
			return err
		}
		if totals.Counted, err = ways.EveryoneCounted(tx); err != nil {
			return err
		}
		totals.Back, err = ways.ReadTotals(tx)
		return err
	})
	if err == nil {
		totals.Users, err = user.Count(ctx, s.store)
	}
	return totals, err
}
