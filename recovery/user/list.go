package user

import (
	"context"
	"errors"
	"slices"

	"tutela/storage"
)

// readBatch is how many users are read in one view.
const readBatch = 256

// Page returns users in the order of their ids: take of those after the id after ("": from the first), and fewer only at the end of the
// list. It is no transaction: users who are made or deleted meanwhile may or may not be among them.
func Page(ctx context.Context, s *storage.Store, after string, take int) (list []User, err error) {
	span := storage.Span{}
	if after != "" {
		span.After = storage.Place{Value: after}
	}
	return Fill(take, func(take int) (page []User, ended bool, err error) {
		// The index gives the uids; the records are read once it is left.
		var uids []storage.UID
		err = byID.PeekSpan(ctx, s, span, func(at storage.Place) bool {
			uids = append(uids, at.UID)
			span.After = at
			return len(uids) < take
		})
		if err != nil {
			return nil, false, err
		}
		page, err = read(ctx, s, uids)
		return page, len(uids) < take, err
	})
}

// Fill calls next for what is still missing of take, until the list has ended. An index names some who are gone when they are read, so
// that a page which is short does not show the end of the list.
func Fill[T any](take int, next func(take int) (page []T, ended bool, err error)) (list []T, err error) {
	for len(list) < take {
		page, ended, err := next(take - len(list))
		if err != nil {
			return nil, err
		}
		list = append(list, page...)
		if ended {
			break
		}
	}
	return list, nil
}

// Order is an order in which users are listed: by a member of the record. Who does not have it comes last.
type Order struct {
	By   Field
	Down bool
}

// spanner is an index of users.
type spanner interface {
	PeekSpan(ctx context.Context, s *storage.Store, span storage.Span, fn func(storage.Place) bool) error
	Of(tx *storage.Tx, uid storage.UID, key string) ([]string, error)
}

// stretch is a part of an index, of those that make up an order.
type stretch struct {
	index  spanner
	prefix string
}

// orders are the parts of indexes that make up each order: those who have the member, and those who have not.
var orders = map[Field][]stretch{
	ID:        {{index: byID}},
	Email:     {{index: byEmail}, {byOrder, orderNoEmail}},
	Name:      {{index: byName}, {byOrder, orderNoName}},
	Created:   {{byOrder, orderCreated}},
	LastLogin: {{byLogin, hasLoggedIn}, {byLogin, neverLogged}},
}

// Orders reports whether users can be listed in the order of a field.
func Orders(by Field) bool { return orders[by] != nil }

// Sorted returns users in an order, at most take of them after the first skip. It goes through as many entries of an index as
// it skips. It is no transaction.
func Sorted(ctx context.Context, s *storage.Store, o Order, skip, take int) ([]User, error) {
	if err := BuildLists(ctx, s); err != nil {
		return nil, err
	}
	var uids []storage.UID
	for _, part := range orders[o.By] {
		if len(uids) == take {
			break
		}
		err := part.index.PeekSpan(ctx, s, storage.Span{Prefix: part.prefix, Reverse: o.Down}, func(at storage.Place) bool {
			if skip > 0 {
				skip--
				return true
			}
			uids = append(uids, at.UID)
			return len(uids) < take
		})
		if err != nil {
			return nil, err
		}
	}
	return read(ctx, s, uids)
}

// OwnersBut returns the users with role owner who are not blocked, but uid.
func OwnersBut(tx *storage.Tx, uid storage.UID) (others []storage.UID, err error) {
	rows, err := byRole.Find(tx, string(Owner), 0)
	for _, row := range rows {
		if row.UID != uid && !row.Record.Blocked {
			others = append(others, row.UID)
		}
	}
	return others, err
}

// SomeWithRole returns users with a role who are not blocked, at most most of them, in an order that stays.
func SomeWithRole(tx *storage.Tx, role Role, most int) (list []User, err error) {
	rows, err := byRole.Find(tx, string(role), most+mostBlockedPassed)
	for _, row := range rows {
		if !row.Record.Blocked && len(list) < most {
			row.Record.UID = row.UID
			list = append(list, *row.Record)
		}
	}
	return list, err
}

// mostBlockedPassed is how many blocked users SomeWithRole passes over: it is for naming some, and not all.
const mostBlockedPassed = 100

// WithRole returns the users with a role, at most most of each: the owners first.
func WithRole(tx *storage.Tx, most int) (list []User, err error) {
	for _, role := range slices.Backward(ranks[1:]) {
		rows, err := byRole.Find(tx, string(role), most)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			row.Record.UID = row.UID
			list = append(list, *row.Record)
		}
	}
	return list, nil
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

// UIDs returns the uids of all users, in the order of their ids. It is for work that is done once, and is no transaction.
func UIDs(ctx context.Context, s *storage.Store) (uids []storage.UID, err error) {
	err = byID.Peek(ctx, s, "", func(_ string, uid storage.UID, _ string) bool {
		uids = append(uids, uid)
		return true
	})
	return uids, err
}
