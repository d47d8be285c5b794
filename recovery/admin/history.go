package admin

import (
	"context"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// History is a part of what happened to a user.
type History struct {
	Entries []audit.Entry        // newest first
	More    bool                 // there are older ones
	People  map[string]user.User // the admins whom By of the entries names, and who are there still
}

// mostHistory bounds a part of a history.
const mostHistory = 100

// HistoryOf returns a part of what happened to a user, the newest first: at most take events (100) after the first skip.
//
// Errors: user.ErrUnknown; ErrRefused, for whoever is no admin any more.
func (s *Service) HistoryOf(ctx context.Context, userID string, skip, take int, actor audit.Actor) (h History, err error) {
	take = min(max(take, 1), mostHistory)
	var uid storage.UID
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := look(tx, actor, userID)
		if err == nil {
			uid = u.UID
		}
		return err
	})
	if err != nil {
		return h, err
	}
	q := audit.Query{UID: uid, Skip: max(skip, 0), Take: take + 1}
	h.Entries, _, err = audit.List(ctx, s.store, q, false)
	if err != nil {
		return h, err
	}
	if h.More = len(h.Entries) > take; h.More {
		h.Entries = h.Entries[:take]
	}
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		h.People = map[string]user.User{}
		for _, e := range h.Entries {
			who, err := personBehind(tx, e.By)
			if err != nil {
				return err
			}
			if !who.UID.IsZero() {
				h.People[e.By] = who
			}
		}
		return nil
	})
	return h, err
}
