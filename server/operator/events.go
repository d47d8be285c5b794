package operator

import (
	"context"
	"slices"
	"time"

	"tutela/storage"
	"tutela/storage/audit"
)

// ListEvents returns events, oldest first. Errors: user.ErrUnknown; ErrEventType.
var ListEvents = declare("events", (*Local).listEvents)

// ErrEventType reports an unknown type of event.
var ErrEventType = storage.NewError(storage.Invalid, "there is no such type of event")

// EventQuery says which events are wanted: those that follow the event with an id, or else the newest.
type EventQuery struct {
	After  string       `json:"after,omitempty"`
	UserID string       `json:"user_id,omitempty"` // of this user only
	Types  []audit.Type `json:"types,omitempty"`   // of these types only
	Client string       `json:"client,omitempty"`  // of this client only
	Since  time.Time    `json:"since,omitzero"`    // not older
	Before time.Time    `json:"before,omitzero"`   // older
	Take   int          `json:"take"`              // at most this many
}

// Event is an event with what is still known about it.
type Event struct {
	audit.Event
	Detail audit.Detail `json:"detail,omitzero"`
	UserID string       `json:"user_id,omitempty"` // of the user whom it is about, while that user exists
	Damage string       `json:"damage,omitempty"`  // what is wrong with the event in the store
}

func (l *Local) listEvents(ctx context.Context, q EventQuery) ([]Event, error) {
	for _, t := range q.Types {
		if !audit.IsType(t) {
			return nil, ErrEventType.With("there is no type of event %q: tutela events --help lists them", t)
		}
	}
	wanted := audit.Query{
		After:  q.After,
		Types:  q.Types,
		Client: q.Client,
		Since:  q.Since,
		Take:   q.Take,
	}
	if !q.Before.IsZero() {
		wanted.Until = q.Before.Add(-1)
	}
	if q.UserID != "" {
		u, err := l.Admins.ReadUser(ctx, q.UserID)
		if err != nil {
			return nil, ofUser(q.UserID, err)
		}
		wanted.UID = u.UID
	}
	entries, _, err := audit.List(ctx, l.Store, wanted, false)
	if err != nil {
		return nil, err
	}
	if q.After == "" {
		slices.Reverse(entries)
	}
	// Read the users' ids once for all events.
	var uids []storage.UID
	for _, e := range entries {
		if !e.UID.IsZero() && !slices.Contains(uids, e.UID) {
			uids = append(uids, e.UID)
		}
	}
	users, err := l.Admins.UsersOf(ctx, uids)
	events := make([]Event, 0, len(entries))
	for _, e := range entries {
		events = append(events, Event{
			Event:  e.Event,
			Detail: e.Detail,
			UserID: users[e.UID].ID,
			Damage: e.Damage,
		})
	}
	return events, err
}
