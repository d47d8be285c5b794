package managementapi

import (
	"context"
	"encoding/base64"
	"encoding/json"

	"tutela/recovery/user"
	"tutela/storage/audit"
)

// usersQuery asks for a list of users.
type usersQuery struct {
	Paging
	Checkpoint
	Selection
	Q      string `query:"q"`
	Engine string `query:"search_engine" doc:"v3 is the only one."`
	Sort   string `query:"sort" doc:"field:1 or field:-1"`
}

func (a *api) listUsers(ctx context.Context, _ audit.Actor, in *usersQuery) (*usersOutput, error) {
	if in.Engine != "" && in.Engine != "v3" {
		return nil, errQuery.With("search_engine is v3, the only one")
	}
	terms, err := userTerms(in.Q)
	if err != nil {
		return nil, err
	}
	order, err := userOrder(in.Sort)
	if err != nil {
		return nil, err
	}
	out := list[picked[profile]]{name: "users"}
	var shown []user.User
	if in.wins() {
		shown, out.shape, err = a.continueUsers(ctx, terms, in.Checkpoint)
	} else {
		shown, out.shape, err = a.pageUsers(ctx, terms, order, in.Paging)
	}
	if err != nil {
		return nil, err
	}
	all, err := a.Admins.Profiles(ctx, shown)
	out.items = profilesOf(all, in.Selection)
	return &usersOutput{out}, err
}

// continueUsers returns the users after a cursor: all in the order of their ids, those that a search finds in one of its own.
func (a *api) continueUsers(ctx context.Context, terms []user.Term, at Checkpoint) (shown []user.User, shape any, err error) {
	if len(terms) > 0 {
		return a.walkUsers(ctx, terms, at)
	}
	after, err := readCursor(at.From)
	if err != nil {
		return nil, nil, err
	}
	shown, err = a.Admins.PageUsers(ctx, after, at.take()+1)
	if err != nil {
		return nil, nil, err
	}
	// What lies past take shows that the list goes on.
	if len(shown) <= at.take() {
		return shown, continued{}, nil
	}
	shown = shown[:at.take()]
	return shown, continued{Next: cursor(shown[len(shown)-1].ID)}, nil
}

// walkUsers goes on with a search. Its cursor is an entry of an index.
func (a *api) walkUsers(ctx context.Context, terms []user.Term, at Checkpoint) (shown []user.User, shape any, err error) {
	var from user.Place
	if at.From != "" {
		place, err := readCursor(at.From)
		if err != nil {
			return nil, nil, err
		}
		if err := json.Unmarshal([]byte(place), &from); err != nil || from.Term < 0 || from.Term >= len(terms) {
			return nil, nil, errQuery.With("from is not the next of an answer to this q")
		}
	}
	shown, next, err := a.Admins.WalkUsers(ctx, terms, from, at.take())
	if err != nil || next == nil {
		return shown, continued{}, err
	}
	place, err := json.Marshal(next)
	return shown, continued{Next: base64.RawURLEncoding.EncodeToString(place)}, err
}

// pageUsers returns a page of the users. Their number is exact; that of those whom a search finds ends with maxPaged.
func (a *api) pageUsers(ctx context.Context, terms []user.Term, order user.Order, p Paging) (shown []user.User, shape any, err error) {
	skip, err := p.skip()
	if err != nil {
		return nil, nil, err
	}
	total := 0
	if len(terms) > 0 {
		part := user.Part{Skip: skip, Take: p.PerPage, Most: maxPaged + p.PerPage}
		if order != byID {
			part.Most = maxListed // else the first by the order could be among those that were not looked at
		}
		shown, total, err = a.Admins.SearchSorted(ctx, terms, order, part)
		total = min(total, maxPaged)
	} else if shown, err = a.Admins.SortedUsers(ctx, order, skip, p.PerPage); err == nil && p.IncludeTotals {
		total, err = a.Admins.CountUsers(ctx)
	}
	if err != nil || !p.IncludeTotals {
		return shown, nil, err
	}
	return shown, totals{
		Start:  skip,
		Limit:  p.PerPage,
		Length: len(shown),
		Total:  total,
	}, nil
}

// byID is the order of a list that names none.
var byID = user.Order{By: user.ID}

// userOrder reads the order of a list.
//
// Errors: errQuery.
func userOrder(sort string) (user.Order, error) {
	if sort == "" {
		return byID, nil
	}
	field, down, err := direction(sort)
	if err != nil {
		return user.Order{}, err
	}
	order := user.Order{By: user.Field(field), Down: down}
	if !user.Orders(order.By) {
		return user.Order{}, errQuery.With("users are not sorted by %q: user_id, email, name, created_at and last_login are there", field)
	}
	return order, nil
}

// maxTerms bounds the conditions of a search, words included.
const maxTerms = 16

// userTerms translates a query into the conditions of a search.
//
// Errors: errQuery.
func userTerms(q string) ([]user.Term, error) {
	if q == "*" {
		return nil, nil
	}
	clauses, err := parseQuery(q)
	if err != nil {
		return nil, err
	}
	var terms []user.Term
	for _, c := range clauses {
		if c.isRange || c.value == "" {
			return nil, errQuery.With("a condition on users is a text")
		}
		switch field := user.Field(c.field); field {
		case user.ID, user.Email, user.Username, user.Name:
			terms = append(terms, user.Term{Field: field, Value: c.value, Prefix: c.prefix})
		case "":
			for _, word := range c.words {
				terms = append(terms, user.Term{Field: user.Words, Value: word})
			}
		default:
			return nil, errQuery.With("users are not searched by %q", c.field)
		}
	}
	if len(terms) > maxTerms {
		return nil, errQuery.With("a query has at most %d conditions, words included", maxTerms)
	}
	return terms, nil
}
